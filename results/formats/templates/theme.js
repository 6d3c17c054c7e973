"use strict";
// The theme that the address asks for (#theme=dark), else that of the reader's system, until the button says otherwise.
(() => {
  const button = document.getElementById("theme");
  const show = (name) => {
    document.documentElement.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
  };
  const settle = () => {
    const asked = new URLSearchParams(location.hash.slice(1)).get("theme");
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    show(["dark", "light"].includes(asked) ? asked : system);
  };
  settle();
  addEventListener("popstate", settle);
  button.addEventListener("click", () => show(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
})();
