"use strict";
(() => {
  const { data, chart, remove, offset, number } = plimsoll;
  data.courses.forEach((course, place) => {
    const figure = document.querySelector(`figure[data-course="${place}"]`);
    if (!figure) return;
    const costs = document.querySelector(`figure[data-cost="${place}"]`);
    const [one, other] = ["one", "other"].map(name => document.getElementById(`${name}-${place}`));
    [one.value, other.value] = course.shown;
    let drawn = [];
    const draw = () => {
      drawn.forEach(remove);
      const [a, b] = [course.policies[one.value], course.policies[other.value]];
      const steps = uPlot.paths.stepped({ align: 1 });
      drawn = [chart(figure, {
        data: uPlot.join([[course.at_s, course.load, a.ready, b.ready], [b.short_at_s, b.short_load]]),
        y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] },
        series: [
          { colour: "load", width: 1, shade: 0.15, spanGaps: true },
          { colour: "middle", width: 1.5, dash: [5, 3], paths: steps, spanGaps: true },
          { colour: "bound", width: 1.75, paths: steps, spanGaps: true },
          { colour: "miss", dot: b.short_at_s.length > 300 ? 3 : 5 },
        ],
        describe: (u, i) => {
          const [at, load, first, second, short] = u.data.map(column => column[i]);
          const parts = [["load", load], [a.name, first], [b.name, second], ["short, load", short]];
          return offset(at) + "   " + parts.filter(([, value]) => value != null).map(([name, value]) => `${name} ${number(value)}`).join("   ");
        },
      })];
      if (!costs) return;
      const days = a.day.map(day => day * 86400);
      drawn.push(chart(costs, {
        data: uPlot.join([[days, a.cost], [b.day.map(day => day * 86400), b.cost]]),
        height: 220,
        y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1], show: value => `${number(value)} ${course.currency}`.trim() },
        series: [{ colour: "middle", width: 1.5, dash: [5, 3], marks: 5 }, { colour: "bound", width: 1.75, marks: 5 }],
        describe: (u, i) => `day ${Math.round(u.data[0][i] / 86400)}   ${a.name} ${number(u.data[1][i])}   ${b.name} ${number(u.data[2][i])}`,
      }));
    };
    one.addEventListener("change", draw);
    other.addEventListener("change", draw);
    draw();
  });
})();
