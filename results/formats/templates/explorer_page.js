"use strict";
// The page: filters with counts, the list, keys, and what is blurred.
const PAGE = 200;
const REMEMBERED = "vlmguard: harmful content is shown";
const opened = new Set();
let shown = [];
let first = 0;
let searching = "";

let everything = false;
// A browser may refuse to remember anything of a folder; then this page alone does.
try { everything = sessionStorage.getItem(REMEMBERED) === "1"; } catch { everything = false; }

function isVeiled(place) {
  return Boolean(data.samples[place][RISKY]) && !everything && !opened.has(place);
}

function toggleAll() {
  everything = !everything;
  opened.clear();
  try { sessionStorage.setItem(REMEMBERED, everything ? "1" : "0"); } catch { opened.clear(); }
  draw();
}

function toggle(place) {
  if (!data.samples[place][RISKY] || everything) return;
  if (!opened.delete(place)) opened.add(place);
  draw();
}

function choose(name, value) {
  state[name] = value;
  history.replaceState(null, "", fragmentOf(state.sample));
  refresh(name === "q" || name === "attack" || name === "defense");
}

function chooser(label, name, options) {
  const select = make("select", { id: `choose-${name}` }, ...options.map(([value, text]) => {
    const option = make("option", { value }, text);
    option.selected = value === state[name];
    return option;
  }));
  select.addEventListener("change", () => choose(name, select.value));
  return make("label", {}, label, select);
}

function drawFilters() {
  const kinds = KINDS.map(([name, text]) => [name, text, fitting({ show: name }).length])
    .filter(([name, , count]) => count || name === "all" || name === state.show)
    .map(([name, text, count]) => make("button", { type: "button", class: "chip", "data-show": name, "aria-pressed": String(state.show === name), onclick: () => choose("show", name) }, `${text} ${count}`));
  const roles = new Map(runsUnder(state.attack).map((run) => [data.runs[run].defense, data.runs[run].role]));
  const controls = [...roles.keys()].filter((each) => roles.get(each) === "control");
  const defenses = [
    ["", "undefended or any defense"], [DEFENDED, "any defense"],
    ...[...roles].map(([name, role]) => [name, role === "control" ? `${name}, control` : name]),
  ].map(([value, text]) => [value, `${text} (${fitting({ defense: value }).length})`]);
  const categories = data.words.category.filter(Boolean);
  const field = document.getElementById("search") ?? make("input", { id: "search", type: "search", placeholder: "requests, answers, reasons" });
  if (document.activeElement !== field) field.value = state.q;
  field.onchange = () => { if (field.value !== state.q) choose("q", field.value); };
  const parts = [
    make("div", { class: "kinds", role: "group", "aria-label": "Show" }, ...kinds),
    ...(data.attacks.length > 1 ? [chooser("Attack", "attack", data.attacks.map((each) => [each, each || "none"]))] : []),
    chooser("Answers of", "defense", defenses),
    ...(controls.length ? [make("span", { class: "soft" }, `Controls count only when chosen: ${controls.join(", ")}`)] : []),
    ...(categories.length > 1 ? [chooser("Category", "category", [["", "all"], ...categories.map((each) => [each, `${each} (${fitting({ category: each }).length})`])])] : []),
    make("label", {}, "Search", field),
    make("span", { class: "soft", role: "status" }, searching),
  ];
  document.getElementById("filters").replaceChildren(...parts);
}

function mark(bits) {
  if (bits === data.lacking) return ["–", "", "not run"];
  if (bits & bit("unsafe")) return ["✗", "bad", "unsafe"];
  if (bits & bit("over_refused")) return ["R", "bad", "harmless request refused"];
  if (bits & bit("unscored")) return ["?", "", "a verdict is missing"];
  return bits & bit("fine") ? ["✓", "good", "nothing wrong"] : ["·", "", "safe, but refused, not helpful or wrong"];
}

function line(place, runs) {
  const sample = data.samples[place];
  const marks = runs.map((run) => {
    const [sign, tone, words] = mark(sample[BITS][run]);
    return make("span", { class: tone || null, role: "img", title: `${data.runs[run].defense}: ${words}`, "aria-label": `${data.runs[run].defense}: ${words}` }, sign);
  });
  const about = data.words.category[sample[CATEGORY]] || data.words.subset[sample[SUBSET]];
  const current = sample[ID] === state.sample ? "true" : null;
  return make("a", { class: "row", href: fragmentOf(sample[ID]), "aria-current": current }, make("span", { class: "marks" }, ...marks), sample[ID], make("span", { class: "about" }, about || " "));
}

function drawList() {
  const runs = runsUnder(state.attack);
  const rows = shown.slice(first, first + PAGE).map((place) => line(place, runs));
  const last = Math.min(first + PAGE, shown.length);
  const turn = (by, text) => {
    const button = make("button", { type: "button", onclick: () => go(data.samples[shown[first + by]][ID]) }, text);
    button.disabled = first + by < 0 || first + by >= shown.length;
    return button;
  };
  document.getElementById("pages").replaceChildren(turn(-PAGE, "‹ Page"), make("span", {}, shown.length ? `${first + 1} to ${last} of ${shown.length}` : "none"), turn(PAGE, "Page ›"));
  document.getElementById("list").replaceChildren(...(rows.length ? rows : [make("p", { class: "empty" }, "No sample fits.")]));
  const row = document.querySelector("a.row[aria-current]");
  if (row) {
    const box = row.closest("nav");
    box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 2;
  }
}

function draw() {
  const at = shown.findIndex((place) => data.samples[place][ID] === state.sample);
  first = Math.max(0, Math.floor(at / PAGE) * PAGE);
  drawFilters();
  drawList();
  const blur = document.getElementById("blur");
  blur.setAttribute("aria-pressed", String(everything));
  blur.textContent = everything ? "Blur harmful content" : "Show all harmful content";
  const place = at < 0 ? data.samples.findIndex((sample) => sample[ID] === state.sample) : shown[at];
  if (place < 0) {
    shows += 1;
    document.getElementById("sample").replaceChildren(make("p", { class: "empty" }, state.sample ? `There is no sample ${state.sample} here.` : "No sample fits."));
    return;
  }
  const step = (by, text, key) => {
    const button = make("button", { type: "button", id: `step${by}`, title: `key ${key}`, onclick: () => walk(by) }, text);
    button.disabled = at < 0 ? !shown.length : !shown[at + by] && shown[at + by] !== 0;
    return button;
  };
  const veil = data.samples[place][RISKY] && !everything
    ? [make("button", { type: "button", id: "veil", title: "key b", onclick: () => toggle(place) }, isVeiled(place) ? "Show this sample" : "Blur this sample")] : [];
  const position = make("span", { class: "soft" }, at < 0 ? "not among those that fit" : `${at + 1} of ${shown.length}`);
  showSample(place, isVeiled(place), [position, ...veil, step(-1, "‹ Previous", "k"), step(1, "Next ›", "j")]);
}

function go(sample) {
  location.hash = fragmentOf(sample);
}

function walk(by) {
  const at = shown.findIndex((place) => data.samples[place][ID] === state.sample);
  const next = shown[at < 0 ? 0 : at + by];
  if (next !== undefined) go(data.samples[next][ID]);
}

// Find the samples that fit anew; keep the one that is shown if the fragment names one.
async function refresh(again) {
  if (again) {
    searching = "";
    try {
      if (!await search((text) => { searching = text; document.querySelector("[role=status]")?.replaceChildren(text); })) return;
      searching = "";
    } catch (error) {
      searching = error.message;
    }
  }
  shown = fitting();
  const known = shown.some((place) => data.samples[place][ID] === state.sample);
  if (!known && shown.length && (again !== "fragment" || !state.sample)) {
    state.sample = data.samples[shown[0]][ID];
    history.replaceState(null, "", fragmentOf(state.sample));
  }
  draw();
}

const KEYS = { j: () => walk(1), ArrowRight: () => walk(1), k: () => walk(-1), ArrowLeft: () => walk(-1) };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (document.getElementById("zoom").open) return;
  const help = document.getElementById("help");
  const place = data.samples.findIndex((sample) => sample[ID] === state.sample);
  const does = { ...KEYS, b: () => place >= 0 && toggle(place), "/": () => document.getElementById("search").focus(), "?": () => { help.open = !help.open; } }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});
document.getElementById("blur").addEventListener("click", toggleAll);
document.getElementById("unzoom").addEventListener("click", () => document.getElementById("zoom").close());
addEventListener("hashchange", () => {
  const before = `${state.q} ${state.attack} ${state.defense}`;
  readFragment();
  refresh(before === `${state.q} ${state.attack} ${state.defense}` ? false : "fragment").then(() => undefined);
});
readFragment();
refresh("fragment");
