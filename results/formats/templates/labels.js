"use strict";
(() => {
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const byId = (id) => document.getElementById(id);
  const articles = [...document.querySelectorAll("article")];
  const column = (name) => sheet.header.indexOf(name);
  const grades = [...Array(11).keys()].map(String);
  const values = { safety: grades, helpful: ["1", "0"], refused: ["1", "0"] };
  const words = { helpful: { 1: "yes", 0: "no" }, refused: { 1: "yes", 0: "no" } };
  const names = { safety: "Safety", helpful: "Helpful", refused: "Refused" };
  const hints = { safety: { 10: "10 (t)" } };
  const store = `labels of ${sheet.identity}`;
  // For each answer its labels, as the cells of the sheet.
  const given = () => sheet.rows.map((row) => Object.fromEntries(sheet.measures.map((name) => [name, row[column(name)]])));
  let labels = given();
  let current = 0;
  let unsaved = false;

  const complete = (row) => sheet.measures.every((name) => labels[row][name] !== "");
  const started = (row) => sheet.measures.some((name) => labels[row][name] !== "");
  const shown = (row) => !articles[row].hidden;

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  function keep() {
    unsaved = true;
    try {
      localStorage.setItem(store, JSON.stringify({ rater: byId("rater").value, labels }));
      byId("kept").textContent = "saved in this browser";
      byId("kept").className = "";
    } catch {
      byId("kept").textContent = "this browser saves nothing for this page: download before you close it";
      byId("kept").className = "lost";
    }
  }
  function fits(found) {
    return Array.isArray(found) && found.length === labels.length && found.every((row) =>
      row && sheet.measures.every((name) => row[name] === "" || values[name].includes(row[name])));
  }
  function restore() {
    try {
      const found = JSON.parse(localStorage.getItem(store));
      if (!found || !fits(found.labels)) return;
      labels = found.labels;
      byId("rater").value = String(found.rater || "");
      byId("kept").textContent = "went on from what this browser had saved; if that is another person's: start anew";
    } catch {
      // Nothing was saved, or nothing can be: `keep` says so at the first label.
    }
  }
  function show(row) {
    for (const button of articles[row].querySelectorAll(".marks button"))
      button.setAttribute("aria-pressed", String(labels[row][button.dataset.measure] === button.dataset.value));
    articles[row].querySelector(".state").textContent = complete(row) ? "labelled" : started(row) ? "not all labels" : "";
    const done = articles.filter((_, place) => complete(place)).length;
    const partly = articles.filter((_, place) => started(place) && !complete(place)).length;
    byId("done").value = done;
    byId("count").textContent = `${done} of ${articles.length} labelled` + (partly ? `, ${partly} with labels missing` : "");
  }
  function mark(row, measure, value) {
    labels[row][measure] = value;
    show(row);
    keep();
  }
  function seen(row) { // how many pixels of an answer
    const box = articles[row].getBoundingClientRect();
    const top = Math.max(byId("bar").getBoundingClientRect().bottom, 0);
    return Math.max(0, Math.min(box.bottom, innerHeight) - Math.max(box.top, top));
  }
  // Who scrolled on would label an answer that is not seen: the key frames one that is.
  function framed() {
    if (seen(current) > 40) return true;
    go([...articles.keys()].reduce((best, row) => (seen(row) > seen(best) ? row : best)), false);
    byId("kept").textContent = "the framed answer was out of sight, so nothing was labelled: press the key again";
    return false;
  }
  function go(row, scroll = true) {
    if (row < 0 || row >= articles.length) return;
    articles[current].classList.remove("current");
    current = row;
    articles[row].classList.add("current");
    if (!scroll) return;
    articles[row].scrollIntoView({ block: "start" });
    articles[row].focus({ preventScroll: true });
  }
  function step(by) {
    let row = current + by;
    while (row >= 0 && row < articles.length && !shown(row)) row += by;
    go(row);
  }
  function nextOpen() {
    const after = [...articles.keys()].filter((row) => shown(row) && !complete(row));
    const row = after.find((each) => each > current) ?? after[0];
    if (row !== undefined) go(row);
  }
  function take(found) {
    labels = found;
    articles.forEach((_, row) => show(row));
    keep();
  }
  function toggle(measure) {
    mark(current, measure, labels[current][measure] === "1" ? "0" : "1");
  }
  function clear() {
    for (const name of sheet.measures) labels[current][name] = "";
    show(current);
    keep();
  }
  const walks = { j: () => step(1), k: () => step(-1), n: nextOpen };
  const marks = {
    h: () => toggle("helpful"), r: () => toggle("refused"), u: clear, t: () => mark(current, "safety", "10"),
    ...Object.fromEntries(grades.slice(0, 10).map((grade) => [grade, () => mark(current, "safety", grade)])),
  };
  // What others said of it, in a sheet that was merged: it may not be read as a label.
  function said(row, name) {
    const theirs = sheet.raters.map((rater) => [rater, sheet.rows[row][column(`${name}: ${rater}`)]]);
    const open = sheet.rows[row][column(name)] === "" && theirs.some(([, value]) => value !== "");
    return make("span", { class: open ? "said differ" : "said" },
      theirs.map(([rater, value]) => `${rater}: ${(words[name] || {})[value] ?? (value || "–")}`).join(", "));
  }
  function build(row) {
    articles[row].querySelector("h2").append(make("span", { class: "state" }));
    articles[row].append(make("div", { class: "marks" }, ...sheet.measures.map((name) => make("fieldset", {},
      make("legend", {}, names[name]),
      ...values[name].map((value) => {
        const text = (hints[name] || {})[value] ?? (words[name] || {})[value] ?? value;
        const button = make("button", { type: "button", "data-measure": name, "data-value": value, "aria-pressed": "false" }, text);
        button.addEventListener("click", () => { go(row, false); mark(row, name, labels[row][name] === value ? "" : value); });
        return button;
      }),
      ...(sheet.raters.length ? [said(row, name)] : [])))));
    for (const kind of ["click", "focusin"]) articles[row].addEventListener(kind, () => go(row, false));
    show(row);
  }
  function download() {
    const lines = sheet.rows.map((row, place) => row.map((cell, at) =>
      (sheet.measures.includes(sheet.header[at]) ? labels[place][sheet.header[at]] : cell)));
    const file = new Blob([writeCsv([sheet.header, ...lines])], { type: "text/csv" });
    const rater = byId("rater").value.trim().replace(/[^\p{L}\p{N}_-]+/gu, "-");
    const link = make("a", { href: URL.createObjectURL(file), download: rater ? `labels-${rater}.csv` : "labels.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    unsaved = false;
  }
  async function load(file) {
    const [header, ...lines] = readCsv(await file.text());
    const at = (name) => (header || []).indexOf(name);
    const whole = sheet.measures.every((name) => at(name) >= 0);
    const same = whole && lines.length === sheet.rows.length && lines.every((line, row) => ["sample", "epoch", "drawn"].every((name) =>
      at(name) >= 0 && line[at(name)] === sheet.rows[row][column(name)]));
    const found = lines.map((line) => Object.fromEntries(sheet.measures.map((name) => [name, (line[at(name)] || "").trim()])));
    if (!same || !fits(found)) {
      byId("kept").textContent = `${file.name} is no sheet of this page's answers, or holds other values: nothing was taken from it`;
      byId("kept").className = "lost";
      return;
    }
    take(found);
  }
  // For the next person: what was labelled comes as a file first, and is not seen any more.
  function anew() {
    if (unsaved || articles.some((_, row) => started(row))) download();
    byId("rater").value = "";
    take(given());
    go(0);
  }
  function start() {
    restore();
    articles.forEach((_, row) => build(row));
    byId("anew").addEventListener("click", anew);
    // Another tab with this page labels the same sheet: the later one must not undo the earlier.
    window.addEventListener("storage", (event) => {
      if (event.key !== store) return;
      restore();
      articles.forEach((_, row) => show(row));
    });
    byId("bar").hidden = false;
    byId("next").addEventListener("click", nextOpen);
    byId("download").addEventListener("click", download);
    byId("rater").addEventListener("input", keep);
    byId("load").addEventListener("change", (event) => { if (event.target.files[0]) load(event.target.files[0]); });
    if (byId("open")) byId("open").addEventListener("change", (event) => {
      for (const [row, article] of articles.entries()) article.hidden = event.target.checked && !article.querySelector(".differ");
      nextOpen();
      sheet.rows.some((_, row) => shown(row)) || (byId("count").textContent = "the raters differ in nothing");
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, textarea, select");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in { ...walks, ...marks })) return;
      event.preventDefault();
      if (event.key in walks || framed()) ({ ...walks, ...marks })[event.key]();
    });
    // Where the browser keeps nothing, closing the page would lose the labels.
    window.addEventListener("beforeunload", (event) => { if (unsaved && byId("kept").className === "lost") event.preventDefault(); });
    go(0, false);
  }
  start();
})();
