// What all charts have in common. A page's script calls
//   plimsoll.chart(figure, {data, series, x, y, describe, height})
// for a <figure> with a .plot in it and, if wanted, a .readout and buttons with data-zoom. Lines take their colours from the theme's
// custom properties, by name, so that they follow it. A series with a dot is dots alone, one with marks is a line with dots.
"use strict";
const plimsoll = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const charts = [];
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);

  // A custom property's colour in the theme in force.
  const colour = name => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const faint = (name, share) => colour(name).replace("rgb(", "rgba(").replace(")", `, ${share})`);

  // Seconds as an offset in the form that --window takes, to the second.
  const offset = seconds => {
    let rest = Math.round(seconds), text = "";
    for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
      const whole = Math.floor(rest / length);
      if (whole > 0) text += (text ? " " : "") + whole + unit;
      rest %= length;
    }
    return text || "0";
  };

  const number = value => value == null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: Math.abs(value) < 100 ? 3 : 12, maximumFractionDigits: 3 });

  const SECONDS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 432000, 604800, 1209600, 2592000, 7776000];

  const WHOLE = [1, 2, 5].flatMap(n => [n, 10 * n, 100 * n, 1000 * n]).sort((a, b) => a - b);

  const zoom = (chart, how) => {
    const xs = chart.data[0], first = xs[0], last = xs[xs.length - 1];
    let { min, max } = chart.scales.x;
    const width = max - min, middle = (min + max) / 2;
    if (how === "in") [min, max] = [middle - width / 4, middle + width / 4];
    if (how === "out") [min, max] = [middle - width, middle + width];
    if (how === "earlier") [min, max] = [min - width / 2, max - width / 2];
    if (how === "later") [min, max] = [min + width / 2, max + width / 2];
    if (how === "all" || max - min >= last - first) [min, max] = [first, last];
    if (min < first) [min, max] = [first, first + max - min];
    if (max > last) [min, max] = [last - (max - min), last];
    chart.setScale("x", { min, max });
  };

  // Ordinates of y with areWhole are counts.
// Abscissas are seconds unless x shows them otherwise; with isTime they still are, of a clock.
  const chart = (figure, { data, series, x, y: { areWhole, ...y } = {}, describe, height = 320 }) => {
    const plot = figure.querySelector(".plot"), readout = figure.querySelector(".readout");
    const line = { grid: { stroke: () => colour("rule"), width: 1 }, ticks: { stroke: () => colour("rule"), width: 1, size: 4 }, stroke: () => colour("soft"), font: "12px system-ui, sans-serif" };
    const size = () => ({ width: plot.clientWidth, height: Math.min(height, Math.max(200, plot.clientWidth * 0.6)) });
    const drawn = new uPlot({
      ...size(),
      legend: { show: false },
      scales: { x: { time: false }, y },
      axes: [
        { ...line, size: 32, ...(x && !x.isTime ? {} : { incrs: SECONDS }), space: 90, values: (_, ticks) => ticks.map(x ? x.show : offset) },
        { ...line, ...(areWhole ? { incrs: WHOLE } : {}), size: (_, ticks) => 16 + 7 * Math.max(1, ...(ticks || []).map(tick => tick.length)), values: (_, ticks) => ticks.map(y.show || number) },
      ],
      ...(x && x.isTime ? { padding: [null, 28, null, null] } : {}),
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
      series: [{}, ...series.map(({ colour: name, dot, marks, shade, ...rest }) => ({
        stroke: () => colour(name),
        ...rest,
        points: dot || marks ? { show: true, size: dot || marks, width: 0, stroke: () => colour(name), fill: () => colour(name) } : { show: false },
        ...(shade ? { fill: () => faint(name, shade) } : {}),
        ...(dot ? { paths: () => null } : {}),
      }))],
      hooks: {
        setCursor: [u => { if (readout && u.cursor.idx != null) readout.textContent = describe(u, u.cursor.idx); }],
      },
    }, data, plot);
    // The wheel is the reader's for scrolling; zooming is by dragging and by buttons, so that it needs no mouse.
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => zoom(drawn, button.dataset.zoom));
    }
    new ResizeObserver(() => {
      if (plot.clientWidth > 0 && plot.clientWidth !== drawn.width) drawn.setSize(size());
    }).observe(plot);
    charts.push(drawn);
    return drawn;
  };

  // A chart whose figure goes.
  const remove = chart => {
    charts.splice(charts.indexOf(chart), 1);
    chart.destroy();
  };

  const repaint = () => charts.forEach(chart => chart.redraw(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new MutationObserver(repaint).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  // Paper is light, whatever the screen.
  let theme;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    repaint();
  });
  addEventListener("afterprint", () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  });
  return { data, chart, remove, offset, number };
})();
