// All tables of the page: which rows and columns are shown, and in which order.
const tables = new Map();
const MISSING = new Set(["", "-", "–", "·", "?", "none", "not run", "not known"]);

function readTables() {
  for (const section of document.querySelectorAll("section.table")) {
    const rows = [...section.querySelectorAll("tr[data-row]")];
    const { about, copies } = data.tables[section.id];
    const heads = new Map();
    const table = { section, copies, heads, bodies: [], title: section.querySelector("h2, h3").textContent };
    const cells = [...section.querySelectorAll("tr.heads > th")];
    const above = [...section.querySelectorAll("th.span")].map((cell) => cell.firstChild.textContent).join(" ");
    cells.forEach((cell, place) => heads.set(place, cell));
    for (const body of section.querySelectorAll("tbody")) {
      const title = body.querySelector("tr.target");
      const own = rows.filter((row) => row.parentNode === body).map((row) => ({
        row, number: Number(row.dataset.row), about: about[Number(row.dataset.row)],
        text: [table.title, above, title ? title.textContent : "", row.textContent].join(" ").toLowerCase(),
      }));
      table.bodies.push({ body, title, rows: own });
    }
    tables.set(section.id, table);
  }
}

const isPicked = (kind, names) => !state.picked[kind].size || !names || names.some((name) => state.picked[kind].has(name));
const isFiltered = () => state.words.trim() !== "" || KINDS.some((kind) => state.picked[kind].size);

function isShown({ text, about }) {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => text.includes(word)) && KINDS.every((kind) => isPicked(kind, about[kind]));
}

// The first line of a cell: below it stand differences and intervals.
const firstLine = (cell) => cell.firstElementChild.textContent.trim();

// A cell's number; null if it has none.
function worth(text, whole) {
  if (MISSING.has(text)) return null;
  const found = /^([<≥≤]?) ?([+−-]?\d[\d,]*(?:\.\d+)?)(.*)$/.exec(text);
  if (!found || (whole && !/^( ?[▲▼*%])*$/.test(found[3]))) return null;
  const value = Number(found[2].replace("−", "-").replaceAll(",", ""));
  return found[1] === "<" ? value - 1e-9 : value;
}

// Missing values come last whichever way a table is sorted; blocks stay together.
function sortedRows(table, rows) {
  const sort = state.sorts.get(table.section.id);
  if (!sort) return [...rows].sort((a, b) => a.number - b.number);
  const isText = table.heads.get(sort.column).classList.contains("text");
  const all = table.bodies.flatMap((body) => body.rows).map(({ row }) => firstLine(row.cells[sort.column]));
  const isNumber = all.some((text) => worth(text, isText) !== null) && all.every((text) => MISSING.has(text) || !isText || worth(text, true) !== null);
  const value = ({ row }) => {
    const text = firstLine(row.cells[sort.column]);
    return isNumber ? worth(text, false) : MISSING.has(text) ? null : text;
  };
  const order = (a, b) => (isNumber ? a - b : a.localeCompare(b, "en", { numeric: true }));
  return rows.map((each) => [value(each), each]).sort(([a, one], [b, other]) => {
    if (a === null || b === null) return (a === null) - (b === null) || one.number - other.number;
    return (sort.down ? -order(a, b) : order(a, b)) || one.number - other.number;
  }).map(([, each]) => each);
}

function showTables() {
  let [found, of, places] = [0, 0, 0];
  for (const table of tables.values()) {
    let count = 0;
    table.order = [];
    for (const { body, title, rows } of table.bodies) {
      const kept = sortedRows(table, rows.filter(isShown));
      for (const { row } of rows) row.hidden = true;
      for (const { row } of kept) row.hidden = false;
      const hidden = rows.filter(({ row }) => row.hidden).map(({ row }) => row);
      body.append(...[title, ...kept.map(({ row }) => row), ...hidden].filter(Boolean));
      body.hidden = !kept.length;
      count += kept.length;
      of += rows.length;
      table.order.push(...kept.map(({ number }) => number));
    }
    showColumns(table);
    found += count;
    places += count ? 1 : 0;
    table.section.hidden = !count;
    for (const [column, head] of table.heads) markSorted(table, column, head);
  }
  const attacked = byId("attacked");
  if (attacked) {
    attacked.hidden = ![...attacked.querySelectorAll("section.table")].some((section) => !section.hidden);
    if (isFiltered() && (state.words.trim() || state.picked.attack.size)) attacked.open = true;
  }
  byId("found").textContent = !isFiltered() ? "" : found ? `${found} of ${of} rows, in ${places} ${places === 1 ? "table" : "tables"}.` : "No row of any table has all of this.";
}

function showColumns({ section }) {
  for (const cell of section.querySelectorAll("[data-benchmark]")) {
    cell.hidden = !isPicked("benchmark", cell.dataset.benchmark ? [cell.dataset.benchmark] : null);
  }
}

function markSorted(table, column, head) {
  const sort = state.sorts.get(table.section.id);
  const isThis = Boolean(sort) && sort.column === column;
  head.setAttribute("aria-sort", isThis ? (sort.down ? "descending" : "ascending") : "none");
}

// Each heading becomes a button: best first, then the other way round, then as it was.
function makeSortable(table) {
  for (const [column, head] of table.heads) {
    const isText = head.classList.contains("text");
    const first = !isText && !head.textContent.includes("↓");
    const press = () => change(() => {
      const sort = state.sorts.get(table.section.id);
      if (!sort || sort.column !== column) state.sorts.set(table.section.id, { column, down: first });
      else if (sort.down === first) state.sorts.set(table.section.id, { column, down: !first });
      else state.sorts.delete(table.section.id);
    });
    const button = make("button", { type: "button", onclick: press });
    // A link to a note stays beside the button.
    button.append(...[...head.childNodes].filter((node) => node.nodeName !== "SUP"));
    head.prepend(button);
  }
}
