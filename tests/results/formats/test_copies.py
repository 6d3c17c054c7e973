"""What a page copies of a table."""

import csv
import io

from vlmguard.results.formats.copies import copies, csv_lines
from vlmguard.results.formats.latex import latex_lines
from vlmguard.results.formats.markdown import markdown
from vlmguard.results.formats.sheets import Sheet

SHEET = Sheet(
    "Board",
    ["Target", "Defense", "Safe %\n↑", "Change"],
    [
        ["=t", "none", "40.0", "-"],
        ["=t", "guard\n(control)", "98.3 ▲\nscored 5 of 6", "-1.20\n[-2.00, +0.40]"],
    ],
    [("", 2), ("=Pots", 2)],
)


def test_csv_has_numbers_and_no_formula() -> None:
    lines = csv_lines(SHEET)
    assert [row for row, _ in lines] == [None, 0, 1]
    assert list(csv.reader(io.StringIO("\n".join(text for _, text in lines)))) == [
        [
            *("Target", "Defense", "'=Pots: Safe %: ↑", "'=Pots: Safe %: ↑: below"),
            *("'=Pots: Safe %: ↑: mark", "'=Pots: Change", "'=Pots: Change: below"),
        ],
        ["'=t", "none", "40.0", "", "", "", ""],
        ["'=t", "guard; (control)", "98.3", "scored 5 of 6", "▲", "-1.20", "[-2.00, +0.40]"],
    ]


def test_csv_has_large_numbers_as_numbers() -> None:
    sheet = Sheet("Costs", ["Defense", "Extra tokens"], [["guard", "+12,345"]], labels=1)
    assert csv_lines(sheet)[1][1] == '"guard","12345"'


def test_all_rows_in_their_order_are_what_files_hold() -> None:
    found = {
        name: "\n".join(text for _, text in lines) for name, lines in copies(SHEET, SHEET).items()
    }
    assert found["latex"] == "\n".join(text for _, text in latex_lines(SHEET))
    assert found["markdown"].rstrip() + "\n" == markdown(SHEET)
