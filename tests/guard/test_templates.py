import re
from pathlib import Path

import pytest

from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.templates import fill, load_template, template_hash


def test_values_are_not_scanned_again() -> None:
    filled = fill(
        'Q: {request} A: {answer} {"safety": 1} {other}', request="{answer}", answer="{request}"
    )
    assert filled == 'Q: {answer} A: {request} {"safety": 1} {other}'
    assert fill("{request}") == "{request}"
    assert fill("{a}", a=r"\1 \g<0>") == r"\1 \g<0>"


def test_values_are_made_well_formed() -> None:
    assert fill("A: {answer}", answer="half \ud83d") == "A: half \ufffd"


def test_a_users_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(b"\xef\xbb\xbfRewrite {request} as {format}")
    assert load_template("ours", str(file), ("request",)) == "Rewrite {request} as {format}"
    assert load_template("ours", None, ("request",)) == "ours"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_template("ours", "~/mine.txt", ("request",)).startswith("Rewrite")


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (b"Write:", "Write:"),
        (b"Write:\n", "Write:"),
        (b"Write:\r\n\r\n", "Write:"),
        (b"One\n\nTwo\n \n\t\n", "One\n\nTwo"),
        (b" Write: \n", " Write: "),  # only line breaks are removed: a space may be intended
        (rb"Write:\n", "Write:\n"),
        (b"Write:\\n\n", "Write:\n"),
        (b"Write:\n\\n\\n\n", "Write:\n\n\n"),
        (rb"Write \n now", r"Write \n now"),
    ],
)
def test_breaks_at_the_end_of_a_file_are_no_part_of_the_prompt(
    tmp_path: Path, content: bytes, prompt: str
) -> None:
    (tmp_path / "mine.txt").write_bytes(content)
    assert load_template("ours", str(tmp_path / "mine.txt"), ()) == prompt


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Rewrite {request}", r"mine\.txt lacks the placeholder\(s\) \{format\}"),
        (b"Nothing", r"\{request\}, \{format\}"),
        (b"{ request } {format}", r"\{request\}"),
        (b" \n", r"mine\.txt is empty"),
        (b"\xff\xfe\x00", r"mine\.txt: cannot be read"),
        (None, r"no such file: .*mine\.txt"),
    ],
)
def test_a_bad_template_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "mine.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_template("ours", str(file), ("request", "format"))


def test_a_folder_is_no_template(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_template("ours", str(tmp_path), ())


def test_the_hash_tells_templates_apart() -> None:
    assert template_hash("a", "b") != template_hash("ab")
    assert template_hash("a") == template_hash("a")
    assert re.fullmatch("[0-9a-f]{12}", template_hash("a"))


def test_messages_keep_their_brackets() -> None:
    error = UserError("record [0] of [file.json] is wrong")
    assert str(error) == "record [0] of [file.json] is wrong"
    with pytest.raises(UserError, match=r"-S verdict=x is not known\. Choose one of: a, b\."):
        check_choice("-S verdict", "x", ("a", "b"))
    check_choice("-S verdict", "a", ("a", "b"))
