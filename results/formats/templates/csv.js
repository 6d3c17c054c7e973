"use strict";
// CSV as ours is written: every cell quoted, a line feed behind every line.
function writeCsv(lines) {
  return lines.map((line) => line.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(",") + "\n").join("");
}
// Also with semicolons or tabs, as spreadsheets save in some languages. Lines of cells.
function readCsv(text) {
  const head = text.replace(/^\ufeff/, "");
  const ends = (/^(?:"(?:[^"]|"")*"|[^,;\t\r\n]*)([,;\t])/.exec(head) || [])[1] || ",";
  const lines = [[]];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < head.length; at += 1) {
    const letter = head[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (head[at + 1] === '"') { cell += '"'; at += 1; } else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === ends) { lines.at(-1).push(cell); cell = ""; }
    else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && head[at + 1] === "\n") at += 1;
      lines.at(-1).push(cell);
      cell = "";
      lines.push([]);
    } else cell += letter;
  }
  if (cell !== "" || lines.at(-1).length) lines.at(-1).push(cell);
  return lines.filter((line) => line.length > 0 && line.some((each) => each !== ""));
}
