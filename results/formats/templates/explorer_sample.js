"use strict";
// One sample: the request, and the answers of all defenses side by side.
function make(tag, attributes = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...inside.filter((each) => each !== null));
  return node;
}

function said(label, text, level = "h3") {
  return text ? [make(level, {}, label), make("pre", {}, text)] : [];
}

function pictures(all, count) {
  const shown = all.filter((names) => names.length);
  const parts = shown.map((names, place) => {
    const image = make("img", { src: `images/${names[0]}`, loading: "lazy", alt: `picture ${place + 1} of the request, larger` });
    return make("button", { type: "button", onclick: () => zoom(names.at(-1)) }, image);
  });
  const lost = count - shown.length;
  const note = lost > 0 ? [make("p", { class: "soft" }, `${lost} picture${lost > 1 ? "s" : ""} not shown: left out, or not in the log.`)] : [];
  return [...(parts.length ? [make("div", { class: "pictures" }, ...parts)] : []), ...note];
}

function zoom(name) {
  document.getElementById("large").src = `images/${name}`;
  document.getElementById("zoom").showModal();
}

function verdicts(all) {
  const parts = [];
  const labels = all.flatMap(({ lines }) => lines.map(([label]) => label));
  for (const { scorer, lines, why } of all) {
    for (const [label, text, tone] of lines) {
      // Two scorers may give a verdict of one name.
      const name = labels.indexOf(label) === labels.lastIndexOf(label) ? label : `${label} (${scorer})`;
      parts.push(make("p", {}, `${name}: `, make("span", { class: tone ? `tone-${tone}` : null }, text)));
    }
    if (why.length > 400) {
      parts.push(make("details", { class: "why" }, make("summary", {}, `Reason (${scorer})`), make("pre", {}, why)));
    } else if (why) {
      parts.push(make("pre", { class: "why" }, `${scorer}: ${why}`));
    }
  }
  return make("div", { class: "verdicts" }, ...parts);
}

// The answers of a run; `sent` is shown unless it stands above for all.
function answers(content, sentAbove) {
  const parts = [];
  for (const answer of content.answers) {
    const number = content.answers.length > 1 ? ` ${answer.epoch}` : "";
    parts.push(make("div", { class: "did" }, ...answer.did.map((each) => make("span", { class: "tag" }, each))));
    const hidden = [
      ...(sentAbove ? [] : [...said(`Sent${number}`, answer.sent), ...pictures(answer.images, answer.images.length)]),
      ...said("Added by the defense", answer.added), ...said(`Rewritten request${number}`, answer.rewritten),
      make("h3", {}, `Answer${number}`), make("pre", {}, answer.answer || "(empty)"),
      ...said("Error", answer.error),
    ];
    parts.push(make("div", { class: "content" }, ...hidden));
    const [lines, reasons] = [answer.verdicts.map((each) => ({ ...each, why: "" })), answer.verdicts.map((each) => ({ ...each, lines: [] }))];
    parts.push(verdicts(lines));
    parts.push(make("div", { class: "content" }, verdicts(reasons)));
  }
  return parts;
}

function changes(bits) {
  const tags = [["unsafe", "unsafe", "bad"], ["over_refused", "harmless request refused", "bad"], ["better", "better than undefended", "good"], ["worse", "worse than undefended", "bad"]];
  return tags.flatMap(([name, text, tone]) => (bits & bit(name) ? [make("span", { class: `tag ${tone}` }, text)] : []));
}

function card(run, contents, place, sentAbove) {
  const { defense } = data.runs[run];
  const parts = [make("h3", { class: "defense" }, defense), make("div", { class: "did" }, ...changes(data.samples[place][BITS][run]))];
  const plain = state.attack ? runsUnder("", defense)[0] : undefined;
  if (state.attack) parts.push(make("h4", {}, `Under ${state.attack}`));
  parts.push(...answers(contents.get(run), sentAbove));
  if (plain !== undefined && contents.get(plain)) {
    parts.push(make("h4", {}, "Without an attack"), make("div", { class: "did" }, ...changes(data.samples[place][BITS][plain])), ...answers(contents.get(plain), true));
  } else if (state.attack) {
    parts.push(make("h4", {}, "Without an attack"), make("p", { class: "soft" }, "not run"));
  }
  return make("article", { class: `card answer${state.defense === defense ? " chosen" : ""}` }, ...parts);
}

// The request, and under an attack what was sent where all defenses got the same.
function asked(content, contents, runs) {
  const parts = [...said("Request", content.request), ...pictures(content.images, content.pictures)];
  const sent = runs.flatMap((run) => contents.get(run).answers.map(({ sent: text, images }) => JSON.stringify([text, images])));
  const alike = state.attack !== "" && new Set(sent).size === 1;
  if (alike) {
    const [text, images] = JSON.parse(sent[0]);
    parts.push(...said(`Sent under ${state.attack}`, text), ...pictures(images, images.length));
    if (!text) parts.push(make("p", { class: "soft" }, "The attack left this request as it is."));
  }
  return [make("div", { class: "card asked" }, make("div", { class: "content" }, ...parts)), alike];
}

let shows = 0;
// Show a sample; what was asked for last wins.
async function showSample(place, veiled, controls) {
  const number = ++shows;
  const node = document.getElementById("sample");
  const sample = data.samples[place];
  const runs = runsUnder(state.attack).filter((run) => sample[BITS][run] !== data.lacking);
  const wanted = [...new Set([holder(place), ...runs, ...(state.attack ? runsUnder("") : [])])];
  const contents = new Map();
  try {
    await Promise.all(wanted.map(async (run) => contents.set(run, await told(run, place))));
  } catch (error) {
    if (number === shows) node.replaceChildren(make("p", { class: "caveat" }, error.message));
    return;
  }
  if (number !== shows) return;
  const [request, alike] = asked(contents.get(holder(place)).asked, contents, runs);
  const about = [data.words.category[sample[CATEGORY]], data.words.subset[sample[SUBSET]], data.words.expected[sample[EXPECTED]] && `expected: ${data.words.expected[sample[EXPECTED]]}`];
  node.className = veiled ? "veiled" : "";
  node.replaceChildren(
    make("div", { class: "top" }, make("h2", {}, sample[ID]), ...controls),
    make("p", { class: "soft" }, about.filter(Boolean).join(" · ")),
    request,
    make("div", { class: "answers" }, ...runs.map((run) => card(run, contents, place, alike))),
  );
  // What is blurred is for nobody yet: neither for screen readers nor for the keyboard.
  if (veiled) for (const each of node.querySelectorAll(".content")) each.inert = true;
}
