"""Users' files are read with bounds, and one sentence names a fault."""

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import (
    MAX_UNPACKED,
    parse_json,
    read_csv,
    read_json,
    read_json_lines,
    read_text,
)
from vlmguard.guard.paths import inside, leaves, user_path
from vlmguard.guard.yaml_files import parse_yaml, read_yaml


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes | str], Path]:
    def write(content: bytes | str, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[" * 10_000 + "]" * 10_000, "nested too deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
        ("[" * 101 + "]" * 101, "nested too deep"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        ("[NaN]", "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        ("[1e999]", "1e999 is out of range"),
        ("[" + "9" * 5000 + "]", "Exceeds the limit"),
        ("", "Expecting value"),
        ("[1] x", "Extra data"),
    ],
)
def test_json_that_is_refused(content: str, says: str, file: Any) -> None:
    path = file(content)

    with pytest.raises(UserError, match=says) as refused:
        read_json(path, "Download it again.")
    assert str(path) in str(refused.value)
    assert str(refused.value).endswith("Download it again.")


def test_json_that_is_read(file: Any) -> None:
    content = '{"a": [1, 2.5, null, {"b": "\u2028\\ud83d\\ude00"}]}'

    assert read_json(file(content)) == {"a": [1, 2.5, None, {"b": "\u2028\U0001f600"}]}
    assert read_json(file("\ufeff" + content)) == read_json(file(content))
    assert parse_json("[" * 99 + "]" * 99, "here")


def test_a_line_that_is_no_json_is_named(file: Any) -> None:
    with pytest.raises(UserError, match="line 3: cannot be read as JSON"):
        list(read_json_lines(file('{"a": 1}\n\n{"a": \n')))


def test_what_is_no_text_file_is_named(file: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path, says in (
        (tmp_path, "it is a folder"),
        (tmp_path / "fifo", "it is no regular file"),
        (Path("/dev/zero"), "it is no regular file"),
        (tmp_path / "none", "no such file"),
        (tmp_path / "loop", "cannot be read"),
        (tmp_path / ("a" * 5000), "File name too long"),
        (tmp_path / "a\0b", "cannot be read"),
        (file("a".encode("utf-16")), "cannot be read as UTF-8"),
    ):
        with pytest.raises(UserError, match=says) as refused:
            read_text(path)
        assert len(str(refused.value)) < 400


def test_an_archive_is_unpacked_to_a_bound(file: Any) -> None:
    whole = gzip.compress(b"[1]")
    assert read_json(file(whole, "a.gz")) == [1]
    bomb = gzip.compress(b"\0" * 10_000_000) * (MAX_UNPACKED // 10_000_000 + 20)
    with pytest.raises(UserError, match=r"b\.gz: more than 64 MB of content"):
        read_json(file(bomb, "b.gz"))
    for damaged in (whole[:-4], whole[:12], b"abc", whole[:12] + b"\xff" * 20):
        with pytest.raises(UserError, match=r"c\.gz: cannot be read"):
            read_json(file(damaged, "c.gz"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' occurs twice"),
        ("x: {b: 2, b: 2}", "the key 'b' occurs twice"),
        ("[" * 10_000, "nested too deep"),
        ("- " * 500 + "a", "nested too deep"),
        ("a: &a [*a]", "found undefined alias|contains itself"),
        ("a: &a {b: *a}", "found undefined alias|contains itself"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: [1, 2\nb: 3", "line 2"),
        ("a: \0", "unacceptable character|special characters"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: 2024-99-99", "month must be"),
        ("a: '" + "x" * 1_000_001 + "'", "1,000,000 characters"),
    ],
)
def test_yaml_that_is_refused(content: str, says: str, file: Any) -> None:
    path = file(content)

    with pytest.raises(UserError, match=says) as refused:
        read_yaml(path)
    assert str(path) in str(refused.value)


def test_aliases_that_add_up_are_refused_at_once() -> None:
    levels = "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(12)
    )
    start = time.process_time()

    with pytest.raises(UserError, match="aliases"):
        parse_yaml("a: &a [x,x,x,x,x,x,x,x,x]\n" + levels, "bomb")
    assert time.process_time() - start < 2


def test_the_error_of_yaml_does_not_quote_the_line() -> None:
    with pytest.raises(UserError) as refused:
        parse_yaml("password: correct-horse\n  b: [", "config")
    assert "correct-horse" not in str(refused.value)


def test_yaml_that_is_read(file: Any) -> None:
    content = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nlist: [*base, *base]\n"

    both = {"a": 1, "b": 2}
    assert read_yaml(file("\ufeff" + content)) == {
        "base": both,
        "other": {"a": 1, "b": 3},
        "list": [both, both],
    }


def test_a_csv_file_says_which_line_is_wrong(file: Any) -> None:
    for content, says in (
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells under 2 columns"),
        ('a,b\n1,"2\n', "line 2: cannot be read as CSV .a quote is opened"),
        ("a,a\n1,2\n", "the column 'a' occurs twice"),
    ):
        with pytest.raises(UserError, match=says):
            read_csv(file(content))
    assert read_csv(file('a,b\n\n1\n"x\ny",2\n')) == (
        ["a", "b"],
        [(3, {"a": "1", "b": ""}), (5, {"a": "x\ny", "b": "2"})],
    )


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("a\0b", "NUL"),
        ("a" * 5000, "too long"),
        ("~nosuchuser-at-all/x", "home directory"),
        (5, "is no path"),
        (["a"], "is no path"),
        (None, "is no path"),
        (b"abc", "is no path"),
    ],
)
def test_what_cannot_be_a_path(typed: object, says: str) -> None:
    with pytest.raises(UserError, match=says) as refused:
        user_path(typed)
    assert len(str(refused.value)) < 400


def test_a_path_of_a_record_that_cannot_be_followed_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name, says in (("loop", "symbolic links"), ("a" * 5000, "too long"), ("a\0b", "NUL")):
        with pytest.raises(UserError, match=says) as refused:
            leaves(tmp_path, tmp_path / name, "record 3")
        assert "record 3" in str(refused.value)
    assert leaves(tmp_path, tmp_path / ".." / "x", "record 3")
    assert not leaves(tmp_path, tmp_path / "x" / ".." / "y", "record 3")


def test_a_record_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "secret").touch()
    (images / "link").symlink_to(tmp_path / "secret")
    assert inside(images, "a/b.png", "record 3") == images / "a" / "b.png"
    for name in ("../secret", "/etc/passwd", "link", "a/../../secret"):
        with pytest.raises(UserError, match=r"record 3: the path .* leaves"):
            inside(images, name, "record 3")
