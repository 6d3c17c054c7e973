"""Sheets for spreadsheets: one row a record, no formulas, no control characters."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.agreement.agree import agree
from vlmguard.results.agreement.raters import read_labels
from vlmguard.results.formats.spreadsheet import csv_text, no_formula, sheet_name
from vlmguard.results.sanitize import escaped

HEADER = "number,sample,epoch,request,answer,safety,helpful,refused\n"


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1+cmd|'/C calc'!A0", "@SUM(1)", "\t=1", " =1", "\n=1", "\r=1", "\r\n=1"),
        *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20A", "\u3000\uff1d1", "\xa0=1", "\ufeff=1"),
        *("\u200b=1", "\x1b=1", "\0=1", "'=1", "\ufe66=1", "\ufe62=1", "\x0b=1", "\u2028=1"),
    ],
)
def test_no_cell_starts_a_formula(text: str) -> None:
    ((cell,),) = cells(csv_text(["x"], [[text]]))[1:]

    assert cell.startswith("'")


@pytest.mark.parametrize("text", ["plain", "a=b", "", "1-2", "it's", "siuo/1000", "'quoted'"])
def test_other_texts_stay(text: str) -> None:
    assert cells(csv_text(["x"], [[text, 1, -0.5, None]]))[1] == [text, "1", "-0.5", ""]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=4))
def test_rows_stay_rows_whatever_is_in_them(rows: list[list[str]]) -> None:
    text = csv_text(["a", "b"], rows)

    assert [len(row) for row in cells(text)] == [2] * (len(rows) + 1)
    assert not set(text) & set("\r\x1b\x07\0\u202e\u2028")
    for row in cells(text)[1:]:
        for cell in row:
            assert no_formula(cell) == cell or cell.startswith("'")


@given(st.text())
def test_a_name_comes_back_from_a_sheet(name: str) -> None:
    ((cell,),) = cells(csv_text(["sample"], [[name]]))[1:]

    assert sheet_name(cell) == sheet_name(name)


def test_what_no_spreadsheet_holds_is_cut_and_says_so() -> None:
    ((long, wide),) = cells(csv_text(["a", "b"], [["x" * 40_000, "\U0001f600" * 20_000]]))[1:]

    for cell in (long, wide):
        assert cell.endswith("[cut here]")
        assert len(cell.encode("utf-16-le")) // 2 < 32_767


def test_json_holds_no_character_that_steers() -> None:
    assert escaped('{"a": "\u202egnp\x1b\ud800"}') == '{"a": "\\u202egnp\\u001b\\ud800"}'


def test_a_hostile_sheet_is_filled_in_and_matched(tmp_path: Path) -> None:
    answers = [say(each, True, False) for each in (9, 2)]
    log = run_toy(tmp_path / "log", Toy(size=2, name="=cmd"), answers)
    assert main(["label", log.location, "--out", str(tmp_path / "sheet")]) == 0
    sheet = tmp_path / "sheet" / "labels.csv"
    with pytest.raises(UserError, match="no row has a label yet"):
        read_labels(sheet)

    header, *rows = cells(sheet.read_text())
    place = header.index("safety")
    for row in rows:
        row[place] = "8"
    # As a German spreadsheet saves it.
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([header, *rows])
    sheet.write_bytes(text.getvalue().encode("utf-8-sig"))

    (safety,) = agree([log.location, str(sheet)])
    assert safety.items == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (HEADER + '1,a,1,"q,b,7,1,0\n2,b,1,q,b,7,1,0\n', "never closed"),
        (HEADER.replace("helpful", "safety") + "1,a,1,q,b,7,1,0\n", "'safety' occurs twice"),
        (HEADER + "1,a,1,q,b,7,1,0,9\n", "9 cells under 8 columns"),
        (HEADER + "1,a,1,q,b,,,\n", "no row has a label yet"),
        (HEADER + "1,a," + "9" * 5000 + ",q,b,7,1,0\n", "whole number from 1"),
        (HEADER + "1,a,\u0661,q,b,7,1,0\n", "whole number from 1"),
        (HEADER.replace(",", "|"), "needs a column 'sample'"),
        ("", "needs a column 'sample'"),
    ],
)
def test_a_sheet_that_would_be_misread_is_refused(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(content)

    with pytest.raises(UserError, match=says):
        read_labels(tmp_path / "labels.csv")


def test_long_answers_and_other_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    row = f"1,a,1,{'q' * 200_000},b,7,1,0\n"
    for text in (HEADER + row, (HEADER + row).replace("\n", "\r"), "\ufeff" + HEADER + row):
        path.write_bytes(text.encode())
        assert read_labels(path).ratings["safety"] == {("a", 1): 7.0}
