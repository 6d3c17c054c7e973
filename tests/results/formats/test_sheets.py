"""Foreign names cannot change Markdown and LaTeX."""

import re

from vlmguard.results.formats.sheets import latex, markdown
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.model import Leaderboard


def test_markdown_has_one_cell_for_each_heading(evil: Leaderboard) -> None:
    text = markdown(tables.main_sheet(evil))
    table = [line for line in text.splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert len(counts) == 1
    assert "<b>" not in text
    assert "7.67<br>+3.67" in text


def test_latex_escapes_and_balances(evil: Leaderboard) -> None:
    text = latex(tables.main_sheet(evil))
    assert r"\textless{}/script\textgreater{}" in text
    assert r"\_\%\&\$\textbackslash{}\{" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "shortstack" in line]
    widths = {len(re.findall(r"(?<!\\)&", line)) for line in rows}
    assert widths == {len(tables.main_sheet(evil).header) - 1}
