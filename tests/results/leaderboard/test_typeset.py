"""Tables as a paper prints them: names of methods, captions, and the same figures everywhere."""

from dataclasses import replace

import pytest

from vlmguard.results.formats.latex import latex_lines
from vlmguard.results.formats.markdown import markdown_lines
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.cells import scored_and_failed
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.tables import group_sheets, main_sheet
from vlmguard.results.leaderboard.typeset import proper_name, typeset


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("undefended", "Undefended"),
        ("vlmguard²", "VLMGuard-R1²"),
        ("mllm_protector (threshold=0.85)", "MLLM-Protector (threshold=0.85)"),
        ("always_refuse", "Always refuse"),
        ("their_own_guard [x]", "their_own_guard [x]"),
        ("中文", "中文"),
    ],
)
def test_methods_have_the_names_of_their_cards(label: str, name: str) -> None:
    assert proper_name(label) == name


def test_the_caption_says_who_judged_what_signs_mean_and_how_much_was_scored(
    board: Leaderboard,
) -> None:
    small = next(each for each in group_sheets(board) if each.title.startswith("Toy"))
    typed = typeset(small)
    assert typed.caption.startswith("Judge: mockllm/grader. Bold: best mean of a target,")
    # One answer has no usable verdict: the column stays.
    assert "Scored" in typed.header
    large = next(each for each in group_sheets(board) if each.title.startswith("Large"))
    typed = typeset(large)
    assert "n = 24 answers a row, all scored." in typed.caption
    assert "Scored" not in typed.header
    assert ("▲ better" in typed.caption) == any("▲" in cell for row in typed.rows for cell in row)
    assert "Below a mean" not in typed.caption
    assert "Below a mean: paired difference" in typeset(large, intervals=True).caption
    assert {row[1] for row in typed.rows} == {"Undefended", "VLMGuard-R1"}


def test_rows_keep_their_places_where_a_column_goes() -> None:
    sheet = Sheet("A", ["Target", "Defense", "m", "Scored"], [], labels=2)
    sheet.rows = [["t", "undefended", "", "4 of 4"], ["t", "eta", "1.0", "4 of 4\n2 images"]]
    assert typeset(sheet).rows == [["t", "Undefended", ""], ["t", "ETA", "1.0"]]
    sheet.rows[1][3] = "3 of 4"
    assert typeset(sheet).header == sheet.header


def test_figures_are_the_same_in_all_formats(board: Leaderboard) -> None:
    for sheet in (main_sheet(board), *group_sheets(board)):
        listed = {row: text for row, text in markdown_lines(sheet) if row is not None}
        written = {row: text for row, text in latex_lines(sheet) if row is not None}
        for number, row in enumerate(sheet.rows):
            texts = [cell.split("\n")[0] for cell in row[sheet.labels :]]
            shown = [text for text in texts if text not in ("", "-")]
            if len(sheet.header) <= 12:
                assert all(text in listed[number] for text in shown)
            assert all(text in written[number] for text in shown)


def test_no_caption_says_all_scored_where_one_measure_lacks_some(board: Leaderboard) -> None:
    (entry, *_) = [each for each in board.entries if each.counts["scored"] == each.counts["total"]]
    name = next(each.name for each in entry.group.primary if each.name != entry.group.headline)
    cell = entry.cells[name]
    before = scored_and_failed(entry, entry.group)
    assert "least" not in before
    whole = cell.coverage
    cell.coverage = replace(whole, scored=whole.of - 1)
    try:
        said = f"least {whole.of - 1} of {whole.of}"
        assert scored_and_failed(entry, entry.group).split("\n")[1] == said
        sheets = [main_sheet(board), *group_sheets(board)]
        shown = [
            each for each in map(typeset, sheets) if any(said in "".join(r) for r in each.rows)
        ]
        assert len(shown) == 2
        assert "Scored" in shown[1].header
        assert "all scored" not in shown[1].caption
    finally:
        cell.coverage = whole
