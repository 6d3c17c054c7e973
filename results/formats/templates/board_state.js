// What the reader chose. It is kept in the address: a copied link shows the same, and Back goes back.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const KINDS = ["benchmark", "target", "defense", "attack"];
const state = { words: "", picked: {}, sorts: new Map(), open: new Set(), theme: "", at: "" };
const keyOf = (panel) => `${panel.target}|${panel.defense}`;
const rowKeys = data.panels.map(keyOf);

// Names and texts come from models and logs: they only ever become text nodes.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Whatever an address holds that this page does not know is passed over.
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  state.words = asked.get("search") || "";
  for (const kind of KINDS) {
    const known = data.names[kind] || [];
    state.picked[kind] = new Set(asked.getAll(kind).filter((name) => known.includes(name)));
  }
  state.sorts = new Map();
  for (const text of asked.getAll("sort")) {
    const found = /^(.+):(\d+):(up|down)$/.exec(text);
    if (found && tables.has(found[1]) && tables.get(found[1]).heads.has(Number(found[2]))) {
      state.sorts.set(found[1], { column: Number(found[2]), down: found[3] === "down" });
    }
  }
  state.open = new Set(asked.getAll("open").filter((key) => rowKeys.includes(key)));
  const theme = asked.get("theme");
  state.theme = ["dark", "light"].includes(theme) ? theme : "";
  const at = asked.get("at") || "";
  state.at = at && byId(at) ? at : "";
}

function address() {
  const said = new URLSearchParams();
  if (state.words) said.append("search", state.words);
  for (const kind of KINDS) for (const name of state.picked[kind]) said.append(kind, name);
  for (const [name, { column, down }] of state.sorts) said.append("sort", `${name}:${column}:${down ? "down" : "up"}`);
  for (const key of state.open) said.append("open", key);
  if (state.theme) said.append("theme", state.theme);
  if (state.at) said.append("at", state.at);
  return `#${said}`;
}

// A step that Back undoes; while a word is typed, the address follows without steps.
function change(edit, isStep = true) {
  edit();
  if (isStep) history.pushState(null, "", address());
  else history.replaceState(null, "", address());
  show();
}
