"""Parts of tables, and cells without what says how certain they are."""

import pytest

from vlmguard.results.formats.sheets import Sheet, brief, part_of


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        ("7.67\n+3.67 ▲\n[+1.00, +6.33]", ["7.67 ▲"]),
        ("7.67\n-3.67 ▼", ["7.67 ▼"]),
        ("7.67\n+0.10\n[-1.00, +1.20]", ["7.67"]),
        ("5 of 6\n3 images\n[4.1, 5.8]", ["5 of 6"]),
        ("6 of 6\nfailed 16.7 %", ["6 of 6", "failed 16.7 %"]),
        ("95.9\nscored 5 of 6\n+1.0\n4 pairs", ["95.9", "scored 5 of 6"]),
        ("+5.8 ▲\n[+4.7, +6.8]", ["+5.8 ▲"]),
        ("", [""]),
    ],
)
def test_a_brief_cell_keeps_its_mark_and_its_remarks(cell: str, lines: list[str]) -> None:
    assert brief(cell) == lines


def test_a_part_keeps_blocks_and_best_cells() -> None:
    spans = [("", 2), ("Pots", 2), ("Pans", 1)]
    sheet = Sheet("Board", ["Target", "Defense", "a", "b", "c"], [], spans, ["A note."])
    sheet.rows = [["t", "none", "1", "2", ""], ["t", "guard", "3", "4", "5"], ["u", "none", *"678"]]
    sheet.starts, sheet.best, sheet.second = {0, 2}, {(1, 2), (1, 4)}, {(0, 3), (2, 4)}
    pots, pans = part_of(sheet, [0, 1, 2, 3]), part_of(sheet, [0, 1, 4])
    assert pots.header == ["Target", "Defense", "a", "b"]
    assert (pots.starts, pots.best, pots.second) == ({0, 2}, {(1, 2)}, {(0, 3)})
    assert pans.rows == [["t", "guard", "5"], ["u", "none", "8"]]
    assert (pans.starts, pans.best, pans.second) == ({0, 1}, {(0, 2)}, {(1, 2)})
    both = part_of(sheet, [1, 2, 4])
    assert both.spans == [("", 1), ("Pots", 1), ("Pans", 1)]
    assert both.labels == 1
    last = part_of(sheet, rows=[1, 2])
    assert (last.starts, last.best, last.second) == ({0, 1}, {(0, 2), (0, 4)}, {(1, 4)})
