r"""LaTeX tables as one file, to be put into a paper by `\input{leaderboard}`."""

import re
from collections.abc import Sequence
from typing import Final

from vlmguard.results.formats.latex import latex
from vlmguard.results.formats.latex_text import FOREIGN
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.sanitize import one_line

__all__ = ["latex_file"]

_HEAD: Final = r"""% Put these tables into a paper by \input{leaderboard}; its preamble needs
% \usepackage{booktabs,graphicx,amssymb}
% A document of their own, for pdflatex, lualatex or xelatex:
% \documentclass[twocolumn]{article}\usepackage{booktabs,graphicx,amssymb}\extrafloats{200}
% \begin{document}\input{leaderboard}\end{document}
% A table that is wider than a column is a table* (as wide as a table in a paper of one column).
"""
_FOREIGN: Final = rf"""%
% Some names hold letters that pdflatex lacks: it prints their numbers in Unicode. lualatex and
% xelatex print the letters if the document's font has them (\usepackage{{luatexja}} for Chinese).
\ifdefined{FOREIGN}\else\DeclareRobustCommand{FOREIGN}[2]{{\ifdefined\Umathchar#1\else[#2]\fi}}\fi
"""
_LABEL: Final = re.compile(r"(?<=\\label\{tab:)([^}]*)")


def latex_file(
    sheets: Sequence[Sheet],
    notes: Sequence[str] = (),
    footnotes: Sequence[str] = (),
    intervals: bool = False,
) -> str:
    """Sheets as LaTeX tables in one file; what it needs stands in comments at its head.

    Args:
        sheets: Tables; their notes become comments.
        notes: Remarks on all tables, as comments.
        footnotes: What the raised numbers behind names stand for.
        intervals: Whether differences and intervals stand below the means.
    """
    remarks = "".join(f"% {one_line(note)}\n" for note in notes)
    tables = [
        "".join(f"% {one_line(note)}\n" for note in sheet.notes)
        + latex(sheet, footnotes, intervals)
        for sheet in sheets
    ]
    body = _with_own_labels("\n".join(tables))
    return f"{remarks}{_HEAD}{_FOREIGN if FOREIGN in body else ''}\n{body}"


def _with_own_labels(text: str) -> str:
    """The tables with a number behind a label that an earlier one has."""
    used: set[str] = set()

    def own(found: re.Match[str]) -> str:
        name, number = found[1], 1
        while name in used:
            number += 1
            name = f"{found[1]}-{number}"
        used.add(name)
        return name

    return _LABEL.sub(own, text)
