"use strict";
// What the reader chose, which samples that leaves, and texts that are loaded when they are needed.
const data = JSON.parse(document.getElementById("data").textContent);
const [ID, CATEGORY, SUBSET, EXPECTED, RISKY, BITS] = [0, 1, 2, 3, 4, 5];
const bit = (name) => 1 << data.flags.indexOf(name);
const KINDS = [
  ["all", "All", 0], ["flipped", "Flipped", bit("better") | bit("worse")], ["better", "Better", bit("better")],
  ["worse", "Worse", bit("worse")], ["unsafe", "Unsafe", bit("unsafe")],
  ["over_refused", "Over-refused", bit("over_refused")], ["refused", "Refused", bit("refused")],
  ["blocked", "Blocked by the defense", bit("blocked")], ["failed", "Guard failed", bit("failed")],
  ["unscored", "Verdict missing", bit("unscored")],
];
// In the place of a defense's name: all of them, without the undefended answers.
const DEFENDED = "*";
const NAMES = ["show", "defense", "attack", "category", "q"];
const state = { sample: "", show: "all", defense: "", attack: "", category: "", q: "" };
// The runs in whose texts of a sample stands what is searched for, by the sample's place; null without
// a search.
let hits = null;

// The fragment: #siuo/1001?show=unsafe&defense=ecso
function readFragment() {
  const whole = location.hash.slice(1);
  const cut = whole.indexOf("?");
  const chosen = new URLSearchParams(cut < 0 ? "" : whole.slice(cut + 1));
  for (const name of NAMES) state[name] = chosen.get(name) ?? "";
  if (!KINDS.some(([name]) => name === state.show)) state.show = "all";
  if (!data.attacks.includes(state.attack)) state.attack = data.attacks[0];
  if (state.defense !== DEFENDED && !data.runs.some((run) => run.defense === state.defense)) state.defense = "";
  if (!data.words.category.includes(state.category)) state.category = "";
  try { state.sample = decodeURIComponent(cut < 0 ? whole : whole.slice(0, cut)); } catch { state.sample = ""; }
}

function fragmentOf(sample) {
  const chosen = new URLSearchParams();
  for (const name of NAMES) {
    const usual = name === "show" ? "all" : name === "attack" ? data.attacks[0] : "";
    if (state[name] !== usual) chosen.set(name, state[name]);
  }
  const query = chosen.toString();
  return `#${encodeURIComponent(sample).replaceAll("%2F", "/")}${query ? `?${query}` : ""}`;
}

// Places of the runs under an attack, of the chosen defense or of all.
function runsUnder(attack, defense = "") {
  return data.runs.flatMap((run, place) =>
    data.attacks[run.attack] === attack && (!defense || run.defense === defense) ? [place] : []);
}

// Places of the runs that count for a choice of defense: a control, which is only a yardstick, by its name alone.
function counted(defense) {
  if (defense && defense !== DEFENDED) return runsUnder(state.attack, defense);
  const roles = defense === DEFENDED ? ["defense"] : ["defense", "undefended"];
  return runsUnder(state.attack).filter((place) => roles.includes(data.runs[place].role));
}

// The places of the samples that fit; each choice can be tried in the place of the reader's own.
function fitting({ show = state.show, defense = state.defense, category = state.category } = {}) {
  const mask = KINDS.find(([name]) => name === show)[2];
  const runs = counted(defense);
  // Without a choice all samples are there, those that only a control has too.
  const having = defense ? runs : runsUnder(state.attack);
  const of = data.words.category.indexOf(category);
  const found = [];
  data.samples.forEach((sample, place) => {
    if (category && sample[CATEGORY] !== of) return;
    if (hits && !runs.some((run) => hits.get(place)?.has(run))) return;
    const has = (run) => sample[BITS][run] !== data.lacking;
    if (having.some(has) && (!mask || runs.some((run) => has(run) && sample[BITS][run] & mask))) found.push(place);
  });
  return found;
}

const files = new Map();
let received = null;
function explorerChunk(content) { received = content; }

function load(file) {
  if (!files.has(file)) {
    files.set(file, new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = `data/${file}`;
      // It runs and tells so before any other script does.
      script.onload = () => { done(received); received = null; script.remove(); };
      script.onerror = () => { files.delete(file); fail(new Error(`data/${file} cannot be loaded: keep the folder whole.`)); };
      document.head.append(script);
    }));
  }
  return files.get(file);
}

// What a run has of a sample: its answers, and the request if it is the first run that has it.
async function told(run, place) {
  const { chunks } = data.runs[run];
  const at = chunks.findLastIndex(([, first]) => first <= place);
  if (at < 0) return null;
  const content = await load(chunks[at][0]);
  return content[place - chunks[at][1]] ?? null;
}

// The first run that has a sample: its texts hold the request.
function holder(place) {
  return data.samples[place][BITS].findIndex((bits) => bits !== data.lacking);
}

let searches = 0;
// Search all texts of the runs under the chosen attack; `say` hears how far it is.
async function search(say) {
  const number = ++searches;
  const wanted = state.q.trim().toLowerCase();
  if (!wanted) { hits = null; return true; }
  const found = new Map();
  const runs = runsUnder(state.attack);
  for (let place = 0; place < data.samples.length; place++) {
    if (place % 25 === 0) { say(`searching: ${Math.round(100 * place / data.samples.length)} %`); await null; }
    const parts = await Promise.all([holder(place), ...runs].map((run) => told(run, place)));
    if (number !== searches) return false;
    const [first, ...others] = parts;
    const holds = (texts) => textsOf(texts).some((text) => text.toLowerCase().includes(wanted));
    // The request is that of all runs.
    const isAsked = holds([data.samples[place][ID], first?.asked]);
    found.set(place, new Set(runs.filter((_, number) => isAsked || holds(others[number]?.answers))));
  }
  hits = found;
  return true;
}

// All texts in what was loaded, but not the names of files.
function textsOf(value) {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsOf);
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([name, each]) => (name === "images" ? [] : textsOf(each)));
}
