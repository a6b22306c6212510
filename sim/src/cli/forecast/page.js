"use strict";
(() => {
  const { data, chart, offset, number } = plimsoll;
  const { lines, misses, days, report } = data;
  const course = uPlot.join([[lines.at_s, lines.bound, lines.load, lines.middle], [misses.at_s, misses.peak]]);
  chart(document.getElementById("course"), {
    data: course,
    y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] },
    series: [
      { colour: "bound", width: 1.5, shade: 0.1 },
      { colour: "load", width: 1 },
      { colour: "middle", width: 1, dash: [5, 3] },
      // Where there are hundreds they are to leave the lines to be seen.
      { colour: "miss", dot: misses.at_s.length > 300 ? 3.5 : 5.5 },
    ],
    describe: (u, i) => {
      const [at, bound, load, middle, peak] = u.data.map(column => column[i]);
      const parts = [["load", load], ["middle", middle], ["bound", bound], ["missed:", peak]];
      return offset(at) + "   " + parts.filter(([, value]) => value != null).map(([name, value]) => `${name} ${number(value)}`).join("   ");
    },
  });

  if (days.number.length === 0) return;
  const percent = share => `${(100 * share).toFixed(1)} %`;
  const least = Math.min(report.quantile, ...days.coverage);
  const range = [Math.max(0, least - 0.2 * (1 - least) - 0.005), 1.002];
  const half = 43200;
  const first = days.number[0] * 86400, last = (days.number[days.number.length - 1] + 1) * 86400;
  const middles = days.number.map(day => day * 86400 + half);
  chart(document.getElementById("by-day"), {
    data: [[first, ...middles, last], [null, ...days.coverage, null], [first, ...middles, last].map(() => report.quantile)],
    height: 220,
    y: { range: () => range, show: share => `${+(100 * share).toFixed(1)} %` },
    series: [
      { colour: "bound", dot: 7 },
      { colour: "soft", width: 1.25, dash: [5, 3] },
    ],
    describe: (u, i) => u.data[1][i] == null ? "" : `day ${days.number[i - 1]}   ${percent(u.data[1][i])}`,
  });
})();
