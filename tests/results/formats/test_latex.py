"""Foreign names cannot change the LaTeX."""

import re

from vlmguard.results.formats import sheets
from vlmguard.results.formats.latex import latex
from vlmguard.results.leaderboard.model import Leaderboard


def test_latex_escapes_and_balances(evil: Leaderboard) -> None:
    text = latex(sheets.main_sheet(evil))
    assert r"\textless{}/script\textgreater{}" in text
    assert r"\_\%\&\$\textbackslash{}\{" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "shortstack" in line]
    widths = {len(re.findall(r"(?<!\\)&", line)) for line in rows}
    assert widths == {len(sheets.main_sheet(evil).header) - 1}
