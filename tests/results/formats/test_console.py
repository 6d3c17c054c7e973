"""Tables of a terminal: wide, narrow, and with foreign names in them."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from vlmguard.results.formats.console import print_sheets
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.model import Leaderboard


def test_terminal_shows_means_differences_and_coverage(board: Leaderboard) -> None:
    out = io.StringIO()
    console = Console(file=out, width=140)
    print_sheets([*tables.group_sheets(board), tables.overhead_sheet(board)], console)
    text = out.getvalue()
    for expected in (
        "7.67",
        "+3.67",
        "3 images",
        "+6.00 ▲",
        "5 of 6",
        "[0.0, 16.7]",
        "16.7",
    ):
        assert expected in text, expected
    assert "judge mockllm/grader" in text


def test_a_narrow_terminal_breaks_no_number(board: Leaderboard) -> None:
    out = io.StringIO()
    print_sheets(tables.group_sheets(board), Console(file=out, width=80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "Large hard: alpha" in text
    # Five measures and both last columns are complete (alpha on the small benchmark).
    row = r"vlmguard +7\.67 +100\.0 +66\.7 +25\.0 +50\.0 +6 of 6 +16\.7"
    assert re.search(row, text)
    assert "+6.00 ▲" in text
    assert "[+0.00" not in text


@pytest.mark.parametrize("width", [60, 80, 140])
def test_terminal_prints_foreign_markup_as_text(evil: Leaderboard, width: int) -> None:
    out = io.StringIO()
    print_sheets(tables.group_sheets(evil), Console(file=out, width=width))
    assert "[bold]" in re.sub(r"\s|│", "", out.getvalue())


def test_names_of_defenses_are_folded_last() -> None:
    target = "hf-vlm/some-organisation/a-target-with-a-very-long-name"
    header = ["Target", "Defense", *(f"Number {n}" for n in range(7))]
    rows = [[target, defense, *["100.0"] * 7] for defense in ("undefended", "figstep_defense")]
    out = io.StringIO()
    print_sheets([Sheet("Wide", header, rows, starts={0})], Console(file=out, width=120))
    assert "figstep_defense" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 120
    assert out.getvalue().count("100.0") == 14


@pytest.mark.parametrize("width", [80, 140])
def test_wide_characters_take_the_room_that_they_need(width: int) -> None:
    """Each of these characters takes two columns of a terminal."""
    name = "\u6a21\u578b" * 4
    header = ["Target", "Defense", *(f"Measure {number} % \u2191" for number in range(5))]
    rows = [[name, "none", *["100.0\n[+88.8, +99.9]"] * 5]]
    out = io.StringIO()
    print_sheets([Sheet("Wide", header, rows, starts={0})], Console(file=out, width=width))
    text = out.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.count("100.0") == 5
    assert text.count("\u6a21") == 4
    assert name in text
    assert text.count("[+88.8, +99.9]") == (5 if width >= 110 else 0)


@pytest.mark.parametrize("width", [30, 40, 70, 120])
def test_numbers_are_not_broken_but_shown_in_parts_with_the_names(width: int) -> None:
    header = ["Name", *(f"n {number}" for number in range(6))]
    rows = [["a-name-of-thirty-characters-0123", *["123456789"] * 6]]
    text = printed(Sheet("Narrow", header, rows, labels=1), width)
    assert text.count("123456789") == 6
    assert max(map(cell_len, text.splitlines())) <= width
    assert "a-name-of-thirty-characters-0123" in re.sub(r"\s|─|n \d|123456789|Name", "", text)


def test_names_are_broken_between_words_and_pieces_alone() -> None:
    rows = [["the_protector_of_all (threshold=0.8515)", "undefended", *["+12.5 ▲"] * 4]]
    header = ["Target", "Defense", *(f"Over-refusal {number}" for number in range(4))]
    text = printed(Sheet("Narrow", header, rows), 60)
    assert "0.8515" in text
    assert "protector" in text
    assert "undefended" in text
    assert text.count("Over-refusal") == 4


def test_a_note_of_several_tables_stands_below_the_first_and_is_wrapped_with_an_indent() -> None:
    said = "Controls have no judgement of their own, whatever the benchmark may be called here."
    sheets = [Sheet(name, ["Name", "n"], [["a", "1"]], notes=[said]) for name in ("One", "Two")]
    out = io.StringIO()
    print_sheets(sheets, Console(file=out, width=50))
    assert out.getvalue().count("Controls") == 1
    assert "\n  Controls have" in out.getvalue()
    assert "\n    " in out.getvalue()


def test_groups_of_columns_stay_together_below_their_heading() -> None:
    header = ["Defense", *["Safe % ↑", "Helpful % ↑"] * 3]
    spans = [("", 1), *((f"Benchmark {number} (judged by gpt-4o)", 2) for number in range(3))]
    rows = [["undefended", *["50.0"] * 6], ["vlmguard", *["75.0"] * 6]]
    text = printed(Sheet("Leaderboard", header, rows, spans, labels=1), 50)
    first, second = text.split("\n\n")[1:3]
    assert "Benchmark 1" in first
    assert "Benchmark 2" not in first
    assert "Benchmark 2" in second
    assert second.count("undefended") == 1


def printed(sheet: Sheet, width: int) -> str:
    out = io.StringIO()
    print_sheets([sheet], Console(file=out, width=width))
    return out.getvalue()
