// A table that is wider than the screen says so, and can be scrolled by keys; printed, it shrinks to the page.
const PAPER = 1040;
const watched = new Map();

function hint(place) {
  const rest = place.scrollWidth - place.clientWidth;
  const isWide = rest > 1;
  place.classList.toggle("left", isWide && place.scrollLeft > 1);
  place.classList.toggle("right", isWide && place.scrollLeft < rest - 1);
  if (isWide || place.classList.contains("folded")) place.setAttribute("tabindex", "0"); else place.removeAttribute("tabindex");
  const text = place.previousElementSibling;
  if (!text || !text.classList.contains("hint")) return;
  const edge = place.getBoundingClientRect().right;
  const hidden = [...place.querySelectorAll(":scope > table > thead > tr:last-child > th")].filter((cell) => !cell.hidden && cell.getBoundingClientRect().right > edge + 1);
  text.hidden = !isWide;
  text.textContent = hidden.length ? `${hidden.length} more ${hidden.length === 1 ? "column" : "columns"} to the right: scroll the table →` : "← scroll the table back";
}

const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => hint(target)));

function watchWide() {
  for (const place of document.querySelectorAll(".wide")) {
    if (!watched.has(place)) {
      watched.set(place, true);
      place.addEventListener("scroll", () => hint(place), { passive: true });
      resized.observe(place);
    }
    hint(place);
  }
}

function beforePrint() {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.dataset.closed = "";
    details.open = true;
  }
  for (const table of document.querySelectorAll(".wide table")) {
    table.style.zoom = Math.min(1, PAPER / table.scrollWidth);
  }
}

function afterPrint() {
  for (const details of document.querySelectorAll("details[data-closed]")) {
    delete details.dataset.closed;
    details.open = false;
  }
  for (const table of document.querySelectorAll(".wide table")) table.style.zoom = "";
}
