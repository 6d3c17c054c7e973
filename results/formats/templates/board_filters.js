// The search and the names that all tables are filtered by.
const LABELS = { benchmark: "Benchmark", target: "Target", defense: "Defense", attack: "Attack" };
const FEW = 12;

function makeFilters() {
  const place = byId("filters");
  const type = (event) => change(() => { state.words = event.target.value; }, false);
  const clear = () => change(() => { state.words = ""; for (const kind of KINDS) state.picked[kind].clear(); });
  const link = (event) => copyText(location.href, "the address of this view", event.target);
  place.append(
    make("input", { id: "search", type: "search", placeholder: "Search all tables", "aria-label": "Search all tables", oninput: type }),
    make("button", { type: "button", id: "clear", onclick: clear }, "Show all"),
    make("button", { type: "button", id: "link", onclick: link }, "Copy link to this view"),
  );
  const kinds = KINDS.filter((kind) => data.names[kind]);
  if (!kinds.length) return place;
  const counted = kinds.map((kind) => `${data.names[kind].length} ${LABELS[kind].toLowerCase()}s`).join(", ");
  const all = kinds.reduce((sum, kind) => sum + data.names[kind].length, 0);
  place.append(make("details", { id: "names", open: all <= FEW && innerWidth > 700 },
    make("summary", {}, "Filter ", make("span", { class: "soft" }, `by ${counted}`)), ...kinds.map(chips)));
  return place;
}

function chips(kind) {
  return make("fieldset", {}, make("legend", {}, LABELS[kind]), ...data.names[kind].map((name) => make("button", {
    type: "button", class: "chip", "data-kind": kind, "data-name": name, title: name,
    onclick: () => change(() => { if (!state.picked[kind].delete(name)) state.picked[kind].add(name); }),
  }, name)));
}

function showFilters() {
  const search = byId("search");
  if (search.value !== state.words) search.value = state.words;
  for (const chip of document.querySelectorAll(".chip")) {
    chip.setAttribute("aria-pressed", String(state.picked[chip.dataset.kind].has(chip.dataset.name)));
  }
  byId("clear").hidden = !isFiltered();
  if (byId("names") && KINDS.some((kind) => state.picked[kind].size)) byId("names").open = true;
}
