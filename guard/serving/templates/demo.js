"use strict";

// What comes from a server, a file or a model is only ever put into text, never into markup.
const at = (id) => document.getElementById(id);
const show = (id, text) => {
  at(id).textContent = text;
};

let own = null; // The user's picture as a data URI.

const scenes = () => [...document.querySelectorAll("input[name=scene]")];
const scene = () => scenes().find((each) => each.checked);

function image() {
  if (own !== null) return own;
  const chosen = scene();
  return chosen ? chosen.parentElement.querySelector("img").src : null;
}

function take(file) {
  show("error", "");
  if (!file.type.startsWith("image/")) {
    show("error", `${file.name} is no picture. Choose a PNG, JPEG or WebP file.`);
    return;
  }
  const reader = new FileReader();
  reader.addEventListener("load", () => {
    own = reader.result;
    at("picture").src = own;
    at("preview").hidden = false;
    for (const each of scenes()) each.checked = false;
  });
  reader.addEventListener("error", () => show("error", `${file.name} cannot be read.`));
  reader.readAsDataURL(file);
}

function forget() {
  own = null;
  at("file").value = "";
  at("preview").hidden = true;
  at("picture").removeAttribute("src");
}

at("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target.files[0]);
});
at("remove").addEventListener("click", () => {
  forget();
  at("file").focus();
});
for (const each of scenes()) {
  each.addEventListener("change", () => {
    forget();
    at("request").value = each.value;
  });
}

// A file that is dropped beside the place would otherwise be opened instead of this page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
at("drop").addEventListener("dragover", () => at("drop").classList.add("over"));
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});

let busy = false;

function working(now) {
  busy = now;
  // Not `disabled`, which would take the keyboard's focus away.
  at("try").setAttribute("aria-disabled", String(now));
  show("status", now ? "Both answers are on their way …" : "");
}

function missing() {
  if (at("request").value.trim() === "") return ["request", "Write a request first."];
  if (at("model").value.trim() === "") return ["model", "Name the model first."];
  return null;
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  show("error", "");
  at("result").hidden = true;
  const lacks = missing();
  if (lacks !== null) {
    show("error", lacks[1]);
    at(lacks[0]).focus();
    return;
  }
  working(true);
  try {
    const response = await fetch("/demo/try", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: at("model").value.trim(),
        image: image(),
        request: at("request").value.trim(),
      }),
    });
    const said = await response.json();
    if (response.ok) tell(said);
    else show("error", said.error.message);
  } catch {
    show("error", "The server did not answer. Is it still running?");
  } finally {
    working(false);
  }
});

function tell(said) {
  show("did", said.did);
  show("cost", said.cost);
  show("asked", said.request);
  for (const name of ["reasoning", "sent"]) {
    show(name, said[name]);
    at(`${name}-row`).hidden = said[name] === "";
  }
  for (const name of ["undefended", "guarded"]) {
    show(name, said[name].text);
    show(`${name}-remark`, said[name].remark);
  }
  at("result").hidden = false;
  at("did").focus();
}

const names = at("models");
if (names !== null) {
  fetch("/v1/models")
    .then((response) => response.json())
    .then((said) => {
      for (const model of said.data) names.append(new Option(model.id, model.id));
    })
    .catch(() => {}); // The list only helps with typing.
}
