"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
// Names and texts come from models and logs: they only ever become text nodes.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
// A narrow page breaks a name between its words.
function breakable(name) {
  return name.split(/(?<=[_=,/])/).flatMap((part, place) => (place ? [make("wbr"), part] : [part]));
}
function show(measure, value, signed = false) {
  if (value === null || value === undefined) return "–";
  const scaled = measure.share ? value * 100 : value;
  const digits = measure.share ? 1 : 2;
  // The hair more rounds halves up, as the other formats do.
  const text = (Math.abs(scaled) + 1e-9).toFixed(digits);
  const sign = scaled < 0 && Number(text) !== 0 ? "−" : signed ? "+" : "";
  return sign + text;
}
const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
// As the other formats do.
const showP = (value) => (value === null ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3));
const percent = (value) => (value === null ? "–" : (value * 100).toFixed(1) + " %");
const marks = { better: " ▲", worse: " ▼" };

// Names that were picked; nothing picked shows everything.
const only = { benchmark: new Set(), target: new Set(), defense: new Set() };
const picked = (kind, name) => only[kind].size === 0 || only[kind].has(name);
const openRows = new Set();
let sorted = null;
let descending = true;
const titles = data.groups.map((group) => group.title);
const entries = new Map(data.entries.map((entry) => [JSON.stringify([entry.target, entry.defense, entry.group]), entry]));
const find = (target, defense, group) => entries.get(JSON.stringify([target, defense, group]));
const shownGroups = () => data.groups.map((_, place) => place).filter((place) => picked("benchmark", titles[place]));

function chips(kind, label, names) {
  if (names.length < 2) return null;
  return make("fieldset", {}, make("legend", {}, label), ...names.map((name) =>
    make("button", {
      type: "button", class: "chip", "data-filter": kind, "data-name": name,
      "aria-pressed": String(only[kind].has(name)), title: `show ${name} alone, or with others that are picked`,
      onclick: () => { only[kind].has(name) ? only[kind].delete(name) : only[kind].add(name); render(); },
    }, name)), only[kind].size ? make("button", { type: "button", class: "chip", onclick: () => { only[kind].clear(); render(); } }, "× all") : null);
}
function filters() {
  const unique = (place) => [...new Set(data.rows.map((row) => row[place]))];
  byId("filters").replaceChildren(...[
    chips("benchmark", "Benchmark", [...new Set(titles)]),
    chips("target", "Target", unique(0)),
    chips("defense", "Defense", unique(1)),
  ].filter(Boolean));
}
function rows() {
  const kept = data.rows.filter(([target, defense]) => picked("target", target) && picked("defense", defense));
  if (!sorted) return kept;
  const value = ([target, defense]) => {
    if (sorted === "target") return target;
    if (sorted === "defense") return defense;
    const [place, name] = sorted;
    const entry = find(target, defense, place);
    return entry && entry.cells[name] ? entry.cells[name].mean : null;
  };
  return [...kept].sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === null || right === null) return (left === null) - (right === null);
    const order = typeof left === "string" ? left.localeCompare(right) : left - right;
    return descending ? -order : order;
  });
}
function heading(label, key, classes = "") {
  const active = JSON.stringify(sorted) === JSON.stringify(key);
  const sort = () => { descending = active ? !descending : typeof key !== "string"; sorted = key; render(); };
  return make("th", { class: "sort " + classes, scope: "col", "aria-sort": active ? (descending ? "descending" : "ascending") : "none" },
    make("button", { type: "button", onclick: sort }, label, active ? make("span", { class: "order" }, descending ? "▾" : "▴") : null));
}
// Below ten images there is none.
const between = (measure, found) => (found.low === null ? "no interval" : `${show(measure, found.low, true)} to ${show(measure, found.high, true)}`);
function cell(measure, found, first) {
  const node = make("td", { class: first ? "first" : "" });
  if (!found) {
    node.classList.add("none");
    node.title = "not run";
    node.append("·");
    return node;
  }
  node.append(show(measure, found.mean));
  if (found.difference) {
    const text = show(measure, found.difference.mean, true) + (marks[found.verdict] || "");
    const interval = `95 % interval: ${between(measure, found.difference)}; ${found.difference.pairs} pairs, ${found.difference.clusters} images; ` + (found.p === null ? "not tested" : `p (adjusted) ${showP(found.p)}`);
    node.append(make("span", { class: "delta " + found.verdict, title: interval }, text));
  }
  return node;
}
function render() {
  filters();
  const places = shownGroups();
  const grouped = sorted === null || sorted === "target";
  const top = make("tr", {}, heading("Target", "target", "text"));
  const head = make("tr", {}, heading("Defense", "defense", "text"));
  for (const place of places) {
    const measures = primary(place);
    top.append(make("th", { class: "span", colspan: measures.length + 1, scope: "colgroup" }, titles[place],
      make("span", { class: "judge" }, [kinds[data.groups[place].kind], data.groups[place].judge ? `judge ${data.groups[place].judge}` : "no judge"].filter(Boolean).join("; "))));
    measures.forEach((measure, index) => head.append(heading(measure.heading, [place, measure.name], index ? "" : "first")));
    head.append(make("th", { scope: "col" }, "Scored"));
  }
  const body = make("tbody");
  let before = null;
  for (const [target, defense] of rows()) {
    const key = JSON.stringify([target, defense]);
    const open = openRows.has(key);
    const toggle = () => { open ? openRows.delete(key) : openRows.add(key); render(); };
    if (grouped && before !== target) body.append(make("tr", { class: "target" }, make("td", { class: "text", colspan: 99 }, target)));
    before = target;
    const line = make("tr", { class: "row" + (defense === "undefended" ? " base" : ""), onclick: toggle },
      make("td", { class: "text" }, make("span", { class: "open" }, open ? "▾" : "▸"),
        make("button", { type: "button", style: "all:unset;cursor:pointer;display:inline-block;max-width:calc(100% - 1.2em);vertical-align:top", "aria-expanded": String(open) }, ...breakable(defense)),
        isControl(defense) ? make("span", { class: "tag" }, "control") : null,
        unpaired(target, defense),
        grouped ? null : make("span", { class: "delta under" }, target)));
    for (const place of places) {
      const entry = find(target, defense, place);
      primary(place).forEach((measure, index) =>
        line.append(cell(measure, entry && entry.cells[measure.name], index === 0)));
      line.append(make("td", { class: "soft", title: entry ? worst(entry, place) : false }, entry ? scored(entry, place) : "",
        entry && entry.failures ? make("span", { class: "delta", title: "samples in which the guard's output could not be used" }, `failed ${percent(entry.failures)}`) : null,
        entry && entry.skipped ? make("span", { class: "delta", title: "samples that the defense did not look at" }, `skipped ${percent(entry.skipped)}`) : null));
    }
    body.append(line);
    if (open) body.append(make("tr", {}, make("td", { class: "detail", colspan: 99 }, ...places.map((place) => detail(find(target, defense, place), place)))));
  }
  if (!body.children.length) body.append(make("tr", {}, make("td", { class: "empty text", colspan: 99 }, "Everything is filtered out.")));
  byId("board").replaceChildren(make("thead", {}, top, head), body);
}
// Said in the row itself, if no harm set of it has any harmless requests beside it.
function unpaired(target, defense) {
  const harm = data.entries.filter((entry) => entry.target === target && entry.defense === defense && ["risky", "mixed"].includes(data.groups[entry.group].kind));
  const said = [...new Set(harm.map((entry) => entry.unpaired))];
  return defense !== "undefended" && said.length && !said.includes("") ? make("span", { class: "delta under" }, said.join("; ")) : null;
}
const isControl = (defense) => data.controls.includes(defense.split(" ", 1)[0]);
const primary = (place) => data.groups[place].measures.filter((measure) => measure.primary);
// Of the headline measure, and whether another one has gaps of its own.
function scored(entry, place) {
  const headline = data.groups[place].headline;
  if (!headline) return "";
  const { scored, total } = entry.counts;
  const gaps = primary(place).some((measure) => measure.name !== headline && entry.cells[measure.name].coverage.scored < entry.cells[measure.name].coverage.of);
  return `${scored} of ${total}` + (gaps ? " *" : "");
}
const reasons = (cover) => Object.entries(cover.reasons).map(([reason, count]) => `${reason} ${count}`).join(", ");
function worst(entry, place) {
  const gaps = primary(place).map((measure) => [measure, entry.cells[measure.name].coverage]).filter(([, cover]) => cover.scored < cover.of);
  if (!gaps.length) return "all scored";
  return "If the rest were worst or best: " + gaps.map(([measure, cover]) => `${measure.label} (${cover.scored} of ${cover.of}; ${reasons(cover)}) ${show(measure, cover.low)} to ${show(measure, cover.high)}`).join("; ");
}
function breakdown(heading, measures, lines) {
  return make("table", {}, make("tr", {}, make("th", { class: "text" }, heading), ...measures.map((measure) => make("th", {}, measure.heading)), make("th", {}, "n")),
    ...lines.map(([name, cells, n]) => make("tr", {}, make("th", { class: "text" }, name), ...cells.map((text) => make("td", {}, text)), make("td", {}, String(n)))));
}
const headlineLabel = (group) => group.measures.find((measure) => measure.name === group.headline).label;
const kinds = { risky: "risky requests", harmless: "harmless requests", mixed: "risky and harmless requests" };
function detail(entry, place) {
  if (!entry) return null;
  const measures = data.groups[place].measures;
  const group = data.groups[place];
  const plain = (text, first) => make(first ? "th" : "td", { class: first ? "text" : "" }, text);
  const scores = make("table", {}, make("tr", {}, ...["Measure", "Mean", "95 % interval", "Scored", "Worst case", "Difference", "95 % interval", "p (adjusted)"].map((name) => make("th", {}, name))),
    ...measures.map((measure) => {
      const found = entry.cells[measure.name];
      const cover = found.coverage;
      const change = found.difference;
      return make("tr", {}, plain(measure.heading, true), plain(show(measure, found.mean)),
        plain(found.low === null ? "–" : `${show(measure, found.low)} to ${show(measure, found.high)}`), plain(`${cover.scored} of ${cover.of}, ${found.clusters} images` + (cover.scored < cover.of ? ` (${reasons(cover)})` : "")),
        plain(cover.scored === cover.of ? "–" : `${show(measure, cover.low)} to ${show(measure, cover.high)}`),
        plain(change ? show(measure, change.mean, true) + (marks[found.verdict] || "") : "–"),
        plain(change ? between(measure, change) : "–"),
        plain(showP(found.p)));
    }));
  const names = Object.keys(entry.categories).filter((name) => name !== "");
  const categories = breakdown("Category", measures, names.map((name) => {
    const found = measures.map((measure) => entry.categories[name][measure.name]);
    return [name, found.map((each, index) => show(measures[index], each[0])), Math.max(...found.map((each) => each[1]))];
  }));
  const slices = breakdown("Slice (difference, 95 % interval; not tested)", measures, Object.entries(entry.slices).map(([name, cells]) => [
    name,
    measures.map((measure) => {
      const { mean, difference } = cells[measure.name];
      return show(measure, mean) + (difference && difference.low !== null ? ` (${show(measure, difference.mean, true)}, ${show(measure, difference.low, true)} to ${show(measure, difference.high, true)})` : "");
    }),
    Math.max(...measures.map((measure) => cells[measure.name].coverage.scored)),
  ]));
  const cost = entry.overhead;
  const facts = [`Task ${group.column.benchmark} ${group.column.version}`, `data ${group.column.data}`, `judge ${group.judge || "none"}`, `templates and phrases: ${group.templates || "none"}`,
    `guard failures ${percent(entry.failures)}`, `intervened ${percent(entry.triggered)}`,
    ...(entry.skipped ? [`not looked at ${Object.entries(entry.skip_reasons).map(([reason, count]) => `${reason} ${count}`).join(", ")}`] : []),
    ...(entry.outputs.blocked ? [`blocked by the defense ${entry.outputs.blocked} of ${Object.values(entry.outputs).reduce((sum, count) => sum + count, 0)}` + ("model" in entry.refusals ? `, refused by the model ${entry.refusals.model}` : "")] : []),
    `${number(cost.calls, 2)} calls, ${number(cost.tokens, 0)} tokens a sample` + (cost.throughput === null ? "" : `, ${cost.throughput.toPrecision(3)}${cost.shared ? " *" : ""} answers/s`) + (cost.latency === null ? "" : `, latency ${cost.latency.toPrecision(3)} s (n ${cost.latency_of})`) + (cost.cost === null ? "" : `, cost ${number(cost.cost, 6)}`)];
  return make("div", {}, make("h3", {}, titles[place]), make("p", { class: "soft" }, facts.join(" · ")),
    cost.gap ? make("p", { class: "soft" }, `Cost: ${cost.gap}.`) : null,
    entry.note ? make("p", { class: "soft" }, `Note: ${entry.note}.`) : null,
    entry.unpaired ? make("p", { class: "soft" }, `Beside it: ${entry.unpaired}.`) : null,
    group.headline ? make("p", { class: "soft counts" }, `${headlineLabel(group)}: ` + Object.entries(entry.counts).map(([kind, count]) => `${kind} ${count}`).join(", ") + ".") : null,
    make("div", { class: "pair" }, scores, Object.keys(entry.slices).length ? slices : null, names.length ? categories : null));
}
// Rows of the published table that hold every word.
function search(field) {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of byId("published").tBodies[0].rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}
function start() {
  const field = byId("search");
  if (field) field.addEventListener("input", () => search(field));
  // Where all runs are under attack, nothing is ranked.
  if (byId("board")) render();
}
start();
