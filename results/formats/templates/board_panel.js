// A row that is opened shows its runs: means with intervals, slices, categories, cost, the run itself.
const made = new Map();

function makeOpening() {
  document.querySelectorAll("#main tr.opens").forEach((row) => {
    const number = Number(row.dataset.row);
    const key = rowKeys[number];
    const toggle = () => change(() => { if (!state.open.delete(key)) state.open.add(key); });
    const name = row.cells[0].firstElementChild;
    const button = make("button", { type: "button", class: "opener", "aria-expanded": "false", "aria-controls": `panel-${number}`, onclick: (event) => { event.stopPropagation(); toggle(); } });
    button.append(...[...name.childNodes].filter((node) => node.nodeName !== "SUP"));
    name.prepend(button);
    // A click anywhere in the row opens it, unless it is on a link or selects text.
    row.addEventListener("click", (event) => {
      if (!event.target.closest("a, button") && !String(getSelection())) toggle();
    });
  });
}

function showPanels() {
  document.querySelectorAll("#main tr.opens").forEach((row) => {
    const number = Number(row.dataset.row);
    const isOpen = state.open.has(rowKeys[number]) && !row.hidden;
    if (isOpen && !made.has(number)) made.set(number, panel(number));
    const shown = made.get(number);
    row.querySelector(".opener").setAttribute("aria-expanded", String(isOpen));
    if (!shown) return;
    if (isOpen) row.after(shown); else shown.remove();
    for (const part of shown.querySelectorAll("[data-part]")) {
      part.hidden = !isPicked("benchmark", [part.dataset.part]);
    }
  });
}

function panel(number) {
  const { target, defense, parts } = data.panels[number];
  const few = parts.length <= 2;
  return make("tr", { class: "panel", id: `panel-${number}` }, make("td", { colspan: 999 }, make("div", { class: "within" },
    make("div", { class: "own", role: "group", "aria-label": `${target}, ${defense}: its runs` }, ...parts.map((part) => run(part, few))))));
}

function run(part, isOpen) {
  return make("details", { "data-part": part.benchmark, open: isOpen },
    make("summary", {}, make("strong", {}, ...named(part.title)), part.summary ? make("span", { class: "soft" }, ` ${part.summary}`) : null),
    ...part.notes.map((note) => make("p", { class: "soft" }, note)),
    ...part.tables.map(small),
    facts("Cost of a sample", part.cost),
    facts("The run", part.facts, links(part)),
    part.command ? command(part.command) : null);
}

function small({ title, header, rows }) {
  const [first, ...lines] = header;
  const body = rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row", class: "text" }, name), ...cells.map((text, place) => make("td", { class: lines[place].startsWith("Marked") ? "text said" : "" }, ...stacked(text)))));
  return make("figure", {}, make("figcaption", {}, title), make("p", { class: "hint", hidden: true }), make("div", { class: "wide", role: "group", "aria-label": title },
    make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "text" }, first), ...lines.map((text) => make("th", { scope: "col", class: text.startsWith("Marked") ? "text" : "" }, text)))), make("tbody", {}, ...body))));
}

// As the tables of the page show their cells.
function stacked(text) {
  const kind = (line) => (line.endsWith("▲") ? "better" : line.endsWith("▼") ? "worse" : "");
  return text.split("\n").map((line, place) => make("span", { class: `${place ? "delta " : ""}${kind(line)}` }, line));
}

// The number behind a name leads to its note.
function named(text) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return text.split(/([⁰¹²³⁴⁵⁶⁷⁸⁹]+)/).filter(Boolean).map((part) => {
    const number = [...part].map((letter) => digits.indexOf(letter)).join("");
    return digits.includes(part[0]) && byId(`note-${number}`) ? make("sup", {}, make("a", { href: `#note-${number}` }, number)) : part;
  });
}

function facts(title, said, more = []) {
  const entries = Object.entries(said);
  if (!entries.length && !more.length) return null;
  const pair = ([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text));
  return make("figure", {}, make("figcaption", {}, title), make("dl", {}, ...entries.map(pair), ...more));
}

// Only addresses of files and of the web: a log's place comes from a folder's name. A name alone is
// that of a log elsewhere.
function links({ log, pages }) {
  const isSafe = (place) => place.includes("/") && (!/^[a-z][a-z0-9+.-]*:/i.test(place) || /^(https?|file):/i.test(place));
  const link = (name, place, text) => make("div", {}, make("dt", {}, name), make("dd", {}, isSafe(place) ? make("a", { href: place.split("/").map((part) => (/^(https?|file):$/i.test(part) ? part : encodeURIComponent(part))).join("/") }, text) : text));
  return [pages ? link("Samples", pages, "its requests, answers and verdicts") : null, log ? link("Log", log, log) : null].filter(Boolean);
}

function command(text) {
  return make("figure", { class: "command" }, make("figcaption", {}, "Its command"), make("pre", { tabindex: "0" }, text),
    make("button", { type: "button", onclick: (event) => copyText(text, "the command", event.target) }, "Copy command"));
}
