// The console: a list that follows the board, and one object with its past. The address says which: #/namespace/name.
"use strict";
(() => {
  const number = value => value.toLocaleString("en", Math.abs(value) < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 });
  const byId = id => document.getElementById(id);
  const known = value => value == null ? "–" : number(value);
  const whole = value => value == null ? "–" : String(value);
  const clock = seconds => new Date(1000 * seconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const instant = seconds => new Date(1000 * seconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const replicas = count => count === 1 ? "1 replica" : `${count} replicas`;

  // An element. Texts are texts, whatever is in them.
  const el = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value != null) element.setAttribute(name, value);
    }
    element.append(...children.filter(child => child != null));
    return element;
  };
  const row = (...cells) => el("tr", {}, ...cells);
  const cell = (text, name) => el("td", name ? { class: name } : {}, text);

  const mustSignOn = plimsoll.data?.signOn === true;

  const pathOf = ({ namespace, name }) => `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;

  // How full the pods are: load, of capacity times pods.
  const filling = ({ load, capacity, current }) => load == null || !capacity || !current ? null : load / (capacity * current);

  const gauge = share => {
    if (share == null) return "–";
    const bar = el("span", { class: share > 1 ? "bar-of full" : "bar-of", "aria-hidden": "true" }, el("i", { style: `width: ${Math.min(100, 100 * share).toFixed(1)}%` }));
    return el("span", {}, bar, `${Math.round(100 * share)} %`);
  };

  const showList = ({ now, version, objects }) => {
    const troubled = objects.filter(object => object.isTroubled).length;
    const count = objects.length === 1 ? "One autoscaler" : `${objects.length} autoscalers`;
    byId("summary").textContent = objects.length === 0
      ? "There is no autoscaler yet, or this adapter stands by while another leads."
      : `${count}${troubled === 0 ? ", all well." : `, ${troubled} with something to look at.`}`;
    byId("live").dataset.version = version;
    byId("objects").hidden = objects.length === 0;
    byId("objects").tBodies[0].replaceChildren(...objects.map(object => {
      const age = object.at == null ? "never" : `${Math.max(0, Math.round(now - object.at))} s ago`;
      return row(
        el("th", { scope: "row" }, el("a", { href: `#/${pathOf(object)}` }, `${object.namespace}/${object.name}`)),
        cell(known(object.load)), cell(gauge(filling(object))), cell(known(object.bound)), cell(whole(object.current)),
        cell(`${whole(object.desired)} of ${whole(object.min)}–${whole(object.max)}`), cell(whole(object.reactive)), cell(whole(object.proactive)),
        cell(object.mode ?? "–"), cell(object.why ?? "nothing was decided yet", object.isTroubled ? "left bad" : "left"), cell(age),
      );
    }));
  };

  // --- one object

  const x = { show: clock, isTime: true };
  let shown = null;

  const figure = (title, keys, caption) => {
    const key = el("ul", { class: "key" }, ...keys.map(([name, text]) => el("li", { class: name }, text)));
    const readout = el("output", { class: "readout" });
    return el("figure", {}, el("h2", {}, title), el("div", { class: "bar" }, key, readout), el("div", { class: "plot", role: "img", "aria-label": `${title}: ${caption}` }), el("figcaption", {}, caption));
  };

  // Points of a line whose abscissas ascend.
  const ascending = (xs, ys) => {
    const kept = [[], []];
    xs.forEach((at, i) => {
      const last = kept[0][kept[0].length - 1];
      if (at != null && (last == null || at > last)) { kept[0].push(at); kept[1].push(ys[i]); }
    });
    return kept;
  };

  // How far back the charts of load and replicas look; ?day in the address begins with the day.
  const asked = new URLSearchParams(location.search);
  let isOfDay = asked.has("day");
  const pastOf = object => isOfDay ? object.day : object.history;

  const loadData = ({ at, load, bound, boundUntil }) => uPlot.join([[at, load], ascending(boundUntil, bound)]);
  const replicaData = ({ at, current, desired, proactive, reactive }) => [at, current, desired, proactive, reactive];
  // The classes that carry most of the load now, as the load that each is.
  const heaviest = classes => {
    const sum = ({ weight, rates }) => rates.reduce((total, rate) => total + weight * (rate ?? 0), 0);
    return [...classes].sort((a, b) => sum(b) - sum(a)).slice(0, 4);
  };
  const classData = ({ history, classes }) => [history.at, ...heaviest(classes).map(({ weight, rates }) => rates.map(rate => rate == null ? null : weight * rate))];
  const kindOf = object => JSON.stringify([object.row.namespace, object.row.name, heaviest(object.classes).map(({ name }) => name)]);

  const build = object => {
    const step = uPlot.paths.stepped({ align: 1 });
    const section = byId("one");
    section.replaceChildren();
    const facts = el("div", { "aria-live": "polite" });
    const load = figure("Load", [["load", "load"], ["bound", "upper bound, at the time that it was for"]], "Where the bound goes on to the right of the load, that is what is expected: replicas are there for it. Where the load is above it, it came as a surprise.");
    const count = figure("Replicas", [["there", "there"], ["wanted", "wanted"], ["proactive", "for the bound"], ["reactive", "for the load"]], "What is wanted is the larger of the two, within the bounds and what else holds it.");
    const heavy = heaviest(object.classes);
    const mix = figure("Load by duration of the requests", heavy.map(({ name }, i) => [`class${i}`, name]), "Requests per second times what one of them weighs: completed ones, the heaviest classes.");
    const tables = el("div", { class: "two" });
    const log = el("div");
    const choice = el("select", { id: "past" }, el("option", { value: "hour" }, "the last hour"), el("option", { value: "day" }, "the last day, by 5 min"));
    choice.value = isOfDay ? "day" : "hour";
    choice.addEventListener("change", () => { isOfDay = choice.value === "day"; show(shown.object); });
    section.append(facts, el("p", {}, el("label", { for: "past" }, "Show "), choice), load, count, heavy.length > 1 ? mix : "", tables, log);
    const told = (u, i, names) => [instant(u.data[0][i]), ...names.map((name, k) => u.data[k + 1][i] == null ? null : `${name} ${number(u.data[k + 1][i])}`)].filter(part => part).join(" · ");
    const from0 = { range: (u, min, max) => [0, Math.max(1, 1.08 * (max ?? 1))] };
    const charts = [
      plimsoll.chart(load, {
        data: loadData(pastOf(object)), x, y: from0, height: 300,
        series: [{ colour: "load", width: 2, shade: 0.12 }, { colour: "bound", width: 2.5 }],
        describe: (u, i) => told(u, i, ["load", "bound"]),
      }),
      plimsoll.chart(count, {
        data: replicaData(pastOf(object)), x, y: { ...from0, areWhole: true }, height: 260,
        series: [{ colour: "ink", width: 3, paths: step }, { colour: "middle", width: 2, paths: step }, { colour: "bound", width: 1.5, dash: [6, 4], paths: step }, { colour: "miss", width: 1.5, dash: [6, 4], paths: step }],
        describe: (u, i) => told(u, i, ["there", "wanted", "for the bound", "for the load"]),
      }),
    ];
    if (heavy.length > 1) {
      charts.push(plimsoll.chart(mix, {
        data: classData(object), x, y: from0, height: 260,
        series: heavy.map((_, i) => ({ colour: ["bound", "middle", "miss", "load"][i], width: 2 })),
        describe: (u, i) => told(u, i, heavy.map(({ name }) => name)),
      }));
    }
    shown = { kind: kindOf(object), facts, tables, log, charts };
  };

  const table = (caption, heads, rows) => el("div", { class: "scroll" }, el("table", {}, el("caption", {}, caption), el("thead", {}, row(...heads.map(([head, name]) => el("th", { scope: "col", class: name }, head)))), el("tbody", {}, ...rows)));

  const sentences = ({ row: object, leadTime }) => {
    const { desired, current } = object;
    const wants = desired == null ? "No opinion about the replicas" : `${replicas(desired)} ${desired === 1 ? "is" : "are"} wanted`;
    const there = current == null ? "" : desired === current ? ", and there" : `; there ${current === 1 ? "is 1" : `are ${current}`}`;
    const lead = `${wants}${there}.${object.mode === "Observe" ? " It observes, and moves nothing." : ""}`;
    if (object.load == null) return [lead, `The load is not known: ${object.why ?? "nothing was decided yet"}.`];
    const each = object.current ? `, ${number(object.load / object.current)} a pod` : "";
    const now = `The load is ${number(object.load)} MetricsQPS${each}. One pod should carry ${number(object.capacity)}, which takes ${replicas(object.reactive)}.`;
    const ahead = object.proactive == null ? "" : ` Until replicas that are asked for now serve${leadTime ? `, in ${plimsoll.offset(leadTime[0])},` : ""} it should stay below ${number(object.bound)}, which takes ${replicas(object.proactive)}.`;
    return [lead, now + ahead];
  };

  const percent = share => share == null ? "–" : `${number(100 * share)} %`;

  const details = ({ decision, leadTime, horizon }) => {
    if (!decision) return null;
    const { capacity, learned, forecast } = decision;
    const pairs = [];
    if (capacity) {
      const between = capacity.interval ? `, between ${number(capacity.interval[0])} and ${number(capacity.interval[1])}` : "";
      pairs.push(["One pod should carry", `${number(capacity.perPod)} MetricsQPS (${{ Given: "given", Cpu: "by its CPU", Latency: "by its latency" }[capacity.source] ?? capacity.source}${between})`]);
    }
    if (leadTime) pairs.push(["From a decision until pods serve", `${plimsoll.offset(leadTime[0])}, of which starting ${plimsoll.offset(leadTime[1])}`]);
    if (learned) {
      const { metricsqps, qps } = learned.scores ?? {};
      pairs.push(["Weights", `version ${learned.version}; they predict ${percent(metricsqps?.r2)} of the CPU's variance, counting requests ${percent(qps?.r2)}${learned.driftSince ? "; requests cost other than then" : ""}`]);
    }
    if (forecast) {
      pairs.push(["Bound", `quantile ${number(forecast.quantile)} over ${plimsoll.offset(horizon)}; it counts ${percent(forecast.earned)}`]);
      if (forecast.coverage != null) pairs.push(["Bounds of the last day that held", percent(forecast.coverage)]);
      if (forecast.skill != null) pairs.push(["Better than the present", percent(forecast.skill)]);
      if (forecast.experts?.length) pairs.push(["Carried by", forecast.experts.map(({ expert, weight }) => `${expert} ${percent(weight)}`).join(", ")]);
    }
    return pairs.length === 0 ? null : table("What it rests on", [["", "left"], ["", "left"]], pairs.map(([name, value]) => row(el("th", { scope: "row", class: "left" }, name), cell(value, "left"))));
  };

  const WAYS = { Fixed: "As many pods as now, always", Reactive: "By the load now: an HPA at its best", Plimsoll: "Plimsoll, mode Auto", Clairvoyant: "With knowledge of the future" };

  const proof = ({ backtest }) => {
    if (!backtest) return null;
    const rows = backtest.ways.map(({ kind, podHours, shortMinutes, most }) => row(el("th", { scope: "row" }, WAYS[kind] ?? kind), cell(number(podHours)), cell(number(shortMinutes)), cell(String(most))));
    const length = backtest.hours < 72 ? `${Math.round(backtest.hours)} hours` : `${number(backtest.hours / 24)} days`;
    return table(`What each way would have made of the last ${length}: a pod carries what it should, and takes as long to serve as it does`, [["Way"], ["Pod-hours"], ["Minutes short"], ["Most pods"]], rows);
  };

  const show = object => {
    if (!shown || shown.kind !== kindOf(object)) {
      clear();
      build(object);
    }
    const { row: about, steps, conditions, classes, log } = object;
    const [lead, ...more] = sentences(object);
    shown.facts.replaceChildren(
      el("h2", {}, `${about.namespace}/${about.name}`),
      el("p", { class: about.desired == null ? "lead bad" : "lead" }, lead),
      ...more.map(text => el("p", {}, text)),
    );
    shown.object = object;
    shown.charts[0].setData(loadData(pastOf(object)));
    shown.charts[1].setData(replicaData(pastOf(object)));
    if (shown.charts[2]) shown.charts[2].setData(classData(object));
    const last = rates => [...rates].reverse().find(rate => rate != null);
    const total = classes.reduce((sum, { weight, rates }) => sum + weight * (last(rates) ?? 0), 0);
    shown.tables.replaceChildren(...[
      steps.length ? table("How the number came about", [["Replicas"], ["Because", "left"]], steps.map(({ replicas: count, reason }) => row(cell(String(count)), cell(reason, "left")))) : null,
      details(object),
      proof(object),
      classes.length ? table("Requests", [["Duration"], ["A second"], ["Each weighs"], ["Share of the load"]], classes.map(({ name, weight, rates }) => row(el("th", { scope: "row" }, name), cell(known(last(rates))), cell(number(weight)), cell(total > 0 ? percent(weight * (last(rates) ?? 0) / total) : "–")))) : null,
      conditions.length ? table("Conditions", [["Condition"], ["Is", "left"], ["", "left"]], conditions.map(({ type, status, reason, message, isBad }) => row(el("th", { scope: "row" }, type), cell(`${status}: ${reason}`, isBad ? "left bad" : "left"), cell(message, "left")))) : null,
    ].filter(part => part));
    shown.log.replaceChildren(el("h2", {}, "What changed"), el("div", { class: "log" }, table("The newest first: decisions for other replicas, or for other reasons, than the one before", [["At"], ["Replicas"], ["Because", "left"]], log.map(({ at, replicas: count, reasons }) => row(el("th", { scope: "row" }, instant(at)), cell(whole(count)), cell(reasons.join(" → "), "left"))))));
  };

  const clear = () => {
    if (shown) shown.charts.forEach(plimsoll.remove);
    shown = null;
    byId("one").replaceChildren();
  };

  const wanted = () => location.hash.startsWith("#/") ? location.hash.slice(2) : null;

  // Where people sign on, the token is in this page's memory alone. Looks are numbered by who has signed on.
  let token = null, isSignedOn = false, looks = 0;
  const PATIENCE = 20000;
  // The answer and its text; null where there is none, or none that ends.
  const get = async path => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    try {
      const response = await fetch(path, { headers, signal: AbortSignal.timeout(PATIENCE) });
      const text = await response.text();
      return { status: response.status, text, answer: response.ok ? JSON.parse(text) : null };
    } catch {
      return null;
    }
  };
  // What the adapter says may be an object of Kubernetes; people want its message.
  const messageOf = text => { try { return JSON.parse(text).message ?? text; } catch { return text; } };

  const ask = async path => {
    const number = looks;
    const response = await get(`console/objects/${path}`);
    // Meanwhile somebody else may have signed on.
    if (path !== wanted() || number !== looks) return;
    if (!response || response.status >= 500) return lost();
    if (response.answer) return show(response.answer);
    if (response.status === 401) return refuse(messageOf(response.text));
    clear();
    byId("one").append(el("p", { class: "lead bad" }, messageOf(response.text)), el("p", {}, el("a", { href: "#" }, "All autoscalers")));
  };

  // One question at a time: who is slow to answer is not asked more and more.
  let isAsking = false, isAsked = false;
  const follow = async () => {
    const path = wanted();
    const isOut = mustSignOn && !isSignedOn;
    byId("fleet").hidden = isOut || path != null;
    byId("one").hidden = isOut || path == null;
    document.title = path == null ? "Plimsoll" : `${path.split("/").map(decodeURIComponent).join("/")} · Plimsoll`;
    isAsked = path != null && !isOut;
    if (!isAsked) clear();
    while (isAsked && !isAsking) {
      [isAsking, isAsked] = [true, false];
      try {
        await ask(wanted());
      } finally {
        isAsking = false;
      }
    }
  };

  const live = byId("live");
  const lost = () => { live.textContent = "The adapter does not answer: what is shown is old."; live.className = "bad"; };
  const tell = list => {
    live.className = "soft";
    live.textContent = `Version ${list.version}, as of ${instant(list.now)}`;
    showList(list);
    follow();
  };

  // An event source shows no token: where there is one, the list is asked for again and again.
  const LOOK = 2000;
  const look = async (number, isFirst = false) => {
    if (!document.hidden || isFirst) {
      const response = await get("console/objects");
      if (number !== looks) return;
      if (response?.answer) signedOn(response.answer);
      // Who shows nothing is not told that it is not good.
      else if (response?.status === 401) return refuse(token ? messageOf(response.text) : "");
      else lost();
    }
    setTimeout(() => { if (number === looks) look(number); }, LOOK);
  };
  const signedOn = list => {
    isSignedOn = true;
    byId("sign").hidden = true;
    tell(list);
  };

  const refuse = text => {
    [token, isSignedOn] = [null, false];
    looks += 1;
    clear();
    live.textContent = "";
    byId("refused").textContent = text;
    byId("sign").hidden = false;
    follow();
    byId("token").focus();
  };

  if (mustSignOn) {
    byId("sign").addEventListener("submit", event => {
      event.preventDefault();
      const text = byId("token").value.trim();
      byId("token").value = "";
      if (!/^[\x21-\x7e]+$/.test(text)) return refuse(text === "" ? "" : "That is no token: it has other characters in it.");
      token = text;
      looks += 1;
      look(looks, true);
    });
    // A client certificate of the cluster is good without a token.
    follow();
    look(looks, true);
  } else {
    // Who takes a picture wants one that stays.
    const isOnce = asked.has("once");
    const events = new EventSource(`console/events${isOnce ? "?once" : ""}`);
    events.onmessage = ({ data }) => tell(JSON.parse(data));
    if (isOnce) events.addEventListener("message", () => events.close());
    events.onerror = lost;
  }
  addEventListener("hashchange", () => { follow(); scrollTo(0, 0); });
})();
