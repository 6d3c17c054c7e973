// Tables are copied as they are shown: the rows that are left, in their order, as Python writes them.
async function copyText(text, what, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages of plain http may not copy, nor may some that are opened from a disk.
    const dialog = byId("by-hand");
    const area = dialog.querySelector("textarea");
    dialog.showModal();
    area.value = text;
    area.select();
    return;
  }
  const before = button.textContent;
  byId("found").textContent = `Copied ${what}.`;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}

// The lines of a table's text in the order of its rows: what belongs to no row stays where it is.
function ordered(lines, order, format) {
  const found = [];
  for (let place = 0; place < lines.length;) {
    const run = new Map();
    while (place < lines.length && lines[place][0] !== null) run.set(lines[place][0], lines[place++][1]);
    found.push(...order.filter((number) => run.has(number)).map((number) => run.get(number)));
    if (place < lines.length) found.push(lines[place++][1]);
  }
  return `${found.join("\n").trimEnd()}\n${remark(lines, order, format)}`;
}

// What is best was found among all rows: a text of some of them says so.
function remark(lines, order, format) {
  const all = new Set(lines.map(([number]) => number).filter((number) => number !== null)).size;
  if (order.length >= all || format === "csv") return "";
  const said = `${order.length} of ${all} rows; best and second best are those of all rows`;
  return format === "latex" ? `% ${said}\n` : `\n- ${said}.\n`;
}

function copyOf(table, format) {
  const picked = state.picked.benchmark;
  const parts = table.copies.filter(({ group }) => group && picked.has(group));
  return (parts.length ? parts : table.copies.slice(0, 1)).map((part) => ordered(part[format], table.order, format)).join("\n");
}

function makeCopying() {
  for (const table of tables.values()) {
    const place = table.section.querySelector(".copy");
    place.hidden = false;
    for (const button of place.querySelectorAll("[data-copy]")) {
      const format = button.dataset.copy;
      button.addEventListener("click", () => copyText(copyOf(table, format), `${table.order.length} rows of "${table.title}" as ${button.textContent}`, button));
    }
  }
}
