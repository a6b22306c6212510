"use strict";
(() => {
  const { data, chart, number } = plimsoll;
  const style = policy => {
    if (policy.startsWith("plimsoll")) return { colour: "bound", width: policy.startsWith("plimsoll-reactive") ? 1.25 : 2.5, dash: policy.startsWith("plimsoll-reactive") ? [2, 3] : [] };
    return policy.startsWith("clairvoyant") ? { colour: "middle", width: 1.5, dash: [5, 3] } : { colour: "load", width: 1 };
  };
  for (const figure of document.querySelectorAll("figure[data-field]")) {
    const drawn = data.frontiers[+figure.dataset.field][+figure.dataset.chart];
    // Others first, so that the lines that matter lie on top.
    const rank = line => line.policy.startsWith("plimsoll") ? 2 : line.policy.startsWith("clairvoyant") ? 1 : 0;
    const lines = [...drawn.lines].sort((a, b) => rank(a) - rank(b));
    if (lines.length === 0) continue;
    const readout = figure.querySelector(".readout");
    const u = chart(figure, {
      data: uPlot.join(lines.map(line => [line.pods, line.short_percent])),
      height: 420,
      x: { show: number },
      y: { range: (_, __, most) => [0, Math.max(0.1, most * 1.05)], show: value => `${number(value)} %` },
      series: lines.map(line => ({ ...style(line.policy), spanGaps: true, marks: 4 })),
      describe: () => "",
    });
    // The point nearest to the pointer, of any line: with so many lines a key of colours would tell nothing.
    u.over.addEventListener("mousemove", event => {
      const box = u.over.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let nearest;
      for (const line of lines) {
        line.pods.forEach((pods, i) => {
          const distance = Math.hypot(u.valToPos(pods, "x") - x, u.valToPos(line.short_percent[i], "y") - y);
          if (!nearest || distance < nearest.distance) nearest = { distance, line, i };
        });
      }
      const { line, i } = nearest;
      readout.textContent = `${line.policy} at ${number(line.knob[i])}   ${number(line.pods[i])} pods   ${number(line.short_percent[i])} % short`;
    });
  }
})();
