function show() {
  showTables();
  showFilters();
  showPanels();
  watchWide();
}

// A link within the page is a step like any other: it keeps what was chosen.
function go(id) {
  const place = byId(id);
  const folded = place.closest("details") || (place.nodeName === "DETAILS" ? place : null);
  if (folded) folded.open = true;
  place.scrollIntoView();
  if (place.hasAttribute("tabindex")) place.focus({ preventScroll: true });
}

function start() {
  readTables();
  makeFilters().hidden = false;
  for (const each of document.querySelectorAll(".scripted")) each.hidden = false;
  for (const table of tables.values()) makeSortable(table);
  makeOpening();
  makeCopying();
  const read = () => { readAddress(); show(); if (state.at) go(state.at); };
  addEventListener("popstate", read);
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
  byId("theme").addEventListener("click", () => change(() => { state.theme = document.documentElement.dataset.theme; }, false));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link) return;
    event.preventDefault();
    const id = link.getAttribute("href").slice(1);
    change(() => { state.at = id; });
    go(id);
  });
  read();
}
start();
