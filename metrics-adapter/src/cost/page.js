"use strict";
(() => {
  const { data, chart, remove, number } = plimsoll;
  const figure = document.getElementById("days");
  const one = document.getElementById("one");
  const first = Date.parse(data.from) / 1000;
  const day = seconds => new Date(1000 * seconds).toISOString().slice(0, 10);
  const at = data.days.map((_, i) => first + 86400 * i);
  const money = value => `${number(value)} ${data.currency}`.trim();
  let drawn;
  const draw = () => {
    if (drawn) remove(drawn);
    const chosen = data.autoscalers[one.value];
    drawn = chart(figure, {
      data: [at, data.days, chosen.days],
      x: { isTime: true, show: day },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1], show: money },
      series: [{ colour: "bound", width: 2, marks: 5 }, { colour: "middle", width: 1.5, dash: [5, 3], marks: 4 }],
      describe: (u, i) => `${day(u.data[0][i])}   all ${money(u.data[1][i])}   ${chosen.name} ${money(u.data[2][i])}`,
    });
  };
  one.addEventListener("change", draw);
  draw();
})();
