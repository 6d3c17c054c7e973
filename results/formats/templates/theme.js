"use strict";
// The theme of the reader's system, until the button says otherwise.
(() => {
  const button = document.getElementById("theme");
  const show = (name) => {
    document.documentElement.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
  };
  show(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  button.addEventListener("click", () => show(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
})();
