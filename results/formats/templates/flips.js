"use strict";
(() => {
  const bar = document.getElementById("bar");
  if (!bar) return; // nothing flipped
  const byId = (id) => document.getElementById(id);
  const all = [...document.querySelectorAll("#flips > article")];
  const chips = [...bar.querySelectorAll(".chip")];
  const texts = new Map(all.map((article) => [article, article.innerText.toLowerCase()]));
  const place = (article) => Number(article.dataset.place);
  const orders = {
    worst: (a, b) => place(a) - place(b),
    best: (a, b) => place(b) - place(a),
    sample: (a, b) => a.dataset.sample.localeCompare(b.dataset.sample, undefined, { numeric: true }) || place(a) - place(b),
    category: (a, b) => a.dataset.category.localeCompare(b.dataset.category) || place(a) - place(b),
  };
  const chosen = { direction: "", kind: "", order: "worst", words: "" };

  function show() {
    const words = chosen.words.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const article of all) {
      article.hidden = (chosen.direction !== "" && article.dataset.direction !== chosen.direction)
        || (chosen.kind !== "" && !JSON.parse(article.dataset.changes).includes(chosen.kind))
        || !words.every((word) => texts.get(article).includes(word));
      count += article.hidden ? 0 : 1;
    }
    byId("flips").append(...[...all].sort(orders[chosen.order]));
    byId("shown").textContent = count === all.length ? `${count} flips` : `${count} of ${all.length} flips`;
    for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.direction === chosen.direction));
    for (const name of ["kind", "order", "words"]) if (byId(name).value !== chosen[name]) byId(name).value = chosen[name];
  }
  function choose(name, value) {
    chosen[name] = value;
    // What is chosen stands in the address, so that it can be sent to others.
    const told = Object.entries(chosen).filter(([key, each]) => each !== (key === "order" ? "worst" : ""));
    history.replaceState(null, "", told.length ? `#${new URLSearchParams(told)}` : location.pathname + location.search);
    show();
  }
  function read() {
    const told = new URLSearchParams(location.hash.slice(1));
    const known = (name, values) => (values.includes(told.get(name)) ? told.get(name) : "");
    chosen.direction = known("direction", chips.map((chip) => chip.dataset.direction));
    chosen.kind = known("kind", [...byId("kind").options].map((each) => each.value));
    chosen.order = known("order", Object.keys(orders)) || "worst";
    chosen.words = told.get("words") || "";
    show();
  }
  for (const chip of chips) chip.addEventListener("click", () => choose("direction", chip.dataset.direction));
  byId("kind").addEventListener("change", (event) => choose("kind", event.target.value));
  byId("order").addEventListener("change", (event) => choose("order", event.target.value));
  byId("words").addEventListener("input", (event) => choose("words", event.target.value));
  window.addEventListener("hashchange", read);
  bar.hidden = false;
  read();
})();
