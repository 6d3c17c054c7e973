"""Foreign names cannot change Markdown; best values are bold."""

import re
from dataclasses import replace

from vlmguard.results.formats.markdown import markdown, markdown_lines
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.model import Leaderboard


def test_markdown_has_one_cell_for_each_heading(evil: Leaderboard) -> None:
    text = markdown(tables.main_sheet(evil))
    tables_of_groups = [part for part in text.split("\n\n") if part.startswith("|")]
    assert tables_of_groups
    for table in tables_of_groups:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1
    assert "<b>" not in text
    assert "**7.67**<br>+3.67" in text


def test_a_table_too_wide_for_a_page_is_one_for_each_benchmark() -> None:
    names = [f"m{number}" for number in range(6)]
    spans = [("", 2), ("Pots", 6), ("Pans", 6)]
    sheet = Sheet("Board", ["Target", "Defense", *names, *names], [], spans, ["A note."])
    sheet.rows = [["t", "none", *"123456", *"abcdef"], ["t", "guard", *"654321", *[""] * 6]]
    sheet.best = {(0, 8), (1, 2)}
    assert markdown(sheet) == (
        "## Board\n\n### Pots\n\n"
        "| Target | Defense | m0 | m1 | m2 | m3 | m4 | m5 |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| t | none | 1 | 2 | 3 | 4 | 5 | 6 |\n"
        "| t | guard | **6** | 5 | 4 | 3 | 2 | 1 |\n\n"
        "### Pans\n\n"
        "| Target | Defense | m0 | m1 | m2 | m3 | m4 | m5 |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| t | none | **a** | b | c | d | e | f |\n\n"
        "- A note.\n"
    )
    narrow = replace(sheet, header=sheet.header[:8], rows=[["t", "none", *"123456"]], best=set())
    narrow.spans = spans[:2]
    assert "| Target | Defense | Pots: m0 |" in markdown(narrow)


def test_each_line_of_a_table_says_which_row_it_shows(board: Leaderboard) -> None:
    for sheet in [tables.main_sheet(board), *tables.group_sheets(board)]:
        listed = markdown_lines(sheet)
        assert markdown(sheet) == "\n".join(text for _, text in listed).rstrip() + "\n"
        assert all(row is None or re.search("undefended|vlmguard", text) for row, text in listed)
        assert {row for row, _ in listed} == {None, *range(len(sheet.rows))}
