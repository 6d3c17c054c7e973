"""LaTeX tables: balanced, escaped, marked, with a label and the footnotes that they use."""

import re

from vlmguard.results.formats.latex import latex, latex_lines
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.model import Leaderboard


def widths(table: str) -> set[int]:
    """Numbers of columns: of the frame, and of each line that ends a row."""
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", table)
    found = {len(columns)}
    for line in table.splitlines():
        if line.endswith(r"\\"):
            spanned = sum(int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", line))
            found.add(len(re.findall(r"(?<!\\)&", line)) + 1 + spanned)
    return found


def tables_in(text: str) -> list[str]:
    return re.findall(r"\\begin\{table\*?\}.*?\\end\{table\*?\}", text, re.DOTALL)


def test_each_line_has_the_columns_of_its_table(evil: Leaderboard) -> None:
    for intervals in (False, True):
        for sheet in (tables.main_sheet(evil), *tables.group_sheets(evil)):
            text = latex(sheet, intervals=intervals)
            found = tables_in(text)
            assert found
            assert all(len(widths(each)) == 1 for each in found)
            assert text.count(r"\begin") == text.count(r"\end") == 2 * len(found)
            lines = latex_lines(sheet)
            assert [row for row, _ in lines if row is not None] == [*range(len(sheet.rows))]
            assert widths("\n".join(line for _, line in lines)) == {len(sheet.header)}
    # The short name of the target begins behind its first stroke.
    assert r"script\textgreater{}" in text
    assert r"\_\%" in text


def test_cells_have_one_line_unless_intervals_are_wanted() -> None:
    sheet = Sheet("A & B", ["Target", "Defense", "Safety ↑", "Scored"], [])
    sheet.rows = [
        ["t", "none", "2.00", "6 of 6\n3 images"],
        ["t", "guard²", "7.67\n+5.67 ▲\n[+1.00, +6.33]", "5 of 6\n3 images\nfailed 16.7 %"],
        ["t", "other", "6.00\n-1.00", "6 of 6"],
    ]
    sheet.best, sheet.second, sheet.caption = {(1, 2)}, {(2, 2)}, "Judge: j_1."
    lines = latex_lines(sheet, ["not here", "guard (a=1)"])
    rows = [line for row, line in lines if row is not None]
    assert rows[1] == (
        r"t & guard\textsuperscript{2} & \textbf{7.67}\rlap{\textsuperscript{$\blacktriangle$}} & "
        r"5 of 6 {\scriptsize (failed 16.7 \%)} \\"
    )
    assert rows[2] == r"t & other & \underline{6.00} & 6 of 6 \\"
    text = latex(sheet, ["not here", "guard (a=1)"], intervals=True)
    assert text.split(r"5 of 6 \\" + "\n")[1].splitlines()[:2] == [
        r" &  & {\scriptsize +5.67\rlap{\textsuperscript{$\blacktriangle$}}} & "
        r"{\scriptsize 3 images} \\",
        r" &  & {\scriptsize [+1.00, +6.33]} & {\scriptsize failed 16.7 \%} \\",
    ]
    assert r"\caption{A \& B. Judge: j\_1.}" in text
    assert r"\label{tab:a-b}" in text
    assert r"\textsuperscript{2} guard (a=1)" in text
    assert "not here" not in text


def test_what_is_too_wide_or_too_long_is_divided() -> None:
    names = [f"measure {number}" for number in range(12)]
    spans = [("", 2), ("Pots", 6), ("Pans", 6)]
    sheet = Sheet("Board", ["Target", "Defense", *names], [], spans, starts={0, 30})
    sheet.rows = [[f"t{line // 30}", f"d{line}", *["100.0"] * 12] for line in range(60)]
    found = tables_in(latex(sheet))
    captions = [re.findall(r"\\caption\{(.*)\}", each)[0] for each in found]
    assert captions == [
        "Board: Pots (part 1 of 2).",
        "Board: Pots (part 2 of 2).",
        "Board: Pans (part 1 of 2).",
        "Board: Pans (part 2 of 2).",
    ]
    assert len(set(re.findall(r"\\label\{.*\}", "".join(found)))) == 4
    assert r"\textit{t0}" in found[0]
    assert r"\textit{t1}" not in found[0]
    assert sum(each.count("100.0 &") for each in found) == 60 * (12 - 2)
