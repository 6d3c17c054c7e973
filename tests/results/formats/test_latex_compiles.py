"""What is written as LaTeX compiles, and nothing stands out of the margin."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vlmguard.results.formats.latex_file import latex_file
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.leaderboard.publish import board_sheets
from vlmguard.results.leaderboard.typeset import typeset

HOSTILE = "[1] * \\end{table} %&$#_{}~^<>|\"`' ?` é ẽ ő ß ł ² ≥ ≤ → ± × µ α λ “q” – 中文用户 Ж 🙂 ▲"
LONG = "sha256:" + "0123456789abcdef" * 4 + "/a/rather/long/path_to_something=1"


def hostile_sheet() -> Sheet:
    sheet = Sheet(
        HOSTILE, ["Target ≥", "Defense", "Safety ↑", "中文 %"], [], [("", 2), (HOSTILE, 2)]
    )
    sheet.caption, sheet.notes, sheet.starts = f"Judge: {LONG}.", [f"{HOSTILE}\n{LONG}"], {0, 1}
    for name in (HOSTILE, LONG, "中文²"):
        sheet.rows.append([name, name, f"7.0\n+1.0 ▲\n[-1.0, +2.0]\n{HOSTILE[:30]}", "-"])
    sheet.best, sheet.second = {(0, 2), (1, 3)}, {(1, 2)}
    return sheet


@pytest.fixture(scope="module")
def written(evil: Leaderboard, board: Leaderboard) -> str:
    """All tables of both layouts, brief and with intervals, and a sheet of hostile names."""
    sheets = [tables.main_sheet(evil), *board_sheets(board), *paper_sheets(board), hostile_sheet()]
    shown = [sheet for sheet in sheets if sheet.rows]
    brief = [typeset(sheet) for sheet in shown]
    whole = [typeset(sheet, True) for sheet in shown]
    footnotes = ["first", f"{HOSTILE} {LONG}"]
    return latex_file(brief, [HOSTILE], footnotes) + latex_file(whole, [], footnotes, True)


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
@pytest.mark.parametrize("options", ["twocolumn", "11pt,twocolumn"])
def test_all_tables_compile(engine: str, options: str, written: str, tmp_path: Path) -> None:
    if not (shutil.which(engine) and shutil.which("kpsewhich")):
        pytest.skip(f"{engine} is not installed")
    if engine == "lualatex" and options != "twocolumn":
        pytest.skip("one size is enough: fonts alone differ")
    # The same table stands there twice, brief and with intervals.
    text = re.sub(r"\\label\{.*?\}", "", written)
    (tmp_path / "leaderboard.tex").write_text(text, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[{options}]{{article}}"
        r"\usepackage[textwidth=455pt,columnsep=17pt]{geometry}"
        r"\usepackage{booktabs,graphicx,amssymb}\extrafloats{200}"
        "\n" + r"\begin{document}\input{leaderboard}\end{document}" + "\n"
    )
    ran = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=300,
    )
    log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert ran.returncode == 0, re.findall(r"(?m)^!.*(?:\n.*){6}", log)
    widest = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert max(widest, default=0) < 3
    assert "Float too large" not in log
