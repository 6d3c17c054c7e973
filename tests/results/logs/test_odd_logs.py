"""Edited or damaged logs are left out by name, and other logs are not affected."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from support.toy import Toy, run_toy, say

from vlmguard.results.logs import archive
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.read import read_log

Change = Callable[[str, bytes], bytes]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    answers = [say(each, True) for each in (9, 2)]
    return Path(run_toy(folder, Toy(size=2), answers, defended=True).location)


def rewritten(log: Path, place: Path, change: Change) -> str:
    """A copy in which `change` has changed each part."""
    with zipfile.ZipFile(log) as source, zipfile.ZipFile(place, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return str(place)


def reason(log: Path, path: str) -> str:
    """Why a log was left out, while another log beside it is read."""
    results = read_results([str(log), path])
    assert [run.path for run in results.runs] == [str(log)]
    return results.left_out[path]


def test_an_unchanged_copy_is_read(log: Path, tmp_path: Path) -> None:
    copy = rewritten(log, tmp_path / "copy.eval", lambda _, content: content)

    assert len(read_results([copy]).runs) == 1


@pytest.mark.parametrize("part", ["header.json", "summaries.json"])
def test_a_part_that_is_nested_too_deep(part: str, log: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        return b"[" * 100_000 + b"]" * 100_000 if name == part else content

    assert "corrupt" in reason(log, rewritten(log, tmp_path / "nested.eval", change))


def test_metadata_that_are_nested_too_deep(log: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        deep = b'"metadata":{"deep":' + b"[" * 5000 + b"]" * 5000 + b"},"
        return (
            content.replace(b'"eval":{', b'"eval":{' + deep) if name == "header.json" else content
        )

    assert reason(log, rewritten(log, tmp_path / "nested.eval", change))


def test_a_json_log_that_is_nested_too_deep(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "2026-01-01_toy_x.json"
    path.write_text(
        '{"version": 2, "status": "success", "eval": ' + '{"a":' * 5000 + "1" + "}" * 5001
    )

    assert "corrupt" in reason(log, str(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("judges", 5),
        ("judges", [5]),
        ("judges", "grader"),
        ("threshold", "high"),
        ("unscored", ["safety"]),
        ("unscored", 1),
    ],
)
def test_metadata_of_another_kind_are_named(
    field: str, value: Any, log: Path, tmp_path: Path
) -> None:
    def change(name: str, content: bytes) -> bytes:
        if name != "summaries.json":
            return content
        summaries = json.loads(content)
        summaries[0]["scores"]["judge"]["metadata"][field] = value
        return json.dumps(summaries).encode()

    said = reason(log, rewritten(log, tmp_path / "edited.eval", change))
    assert f"sample toy/0: {field} of judge is" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, "many") for field in ("calls", "seconds", "approximations")),
        *((field, ["many"]) for field in ("failure", "outcome", "action", "skipped")),
    ],
)
def test_a_tally_of_another_kind_is_named(
    field: str, value: Any, log: Path, tmp_path: Path
) -> None:
    def change(name: str, content: bytes) -> bytes:
        if name != "summaries.json":
            return content
        summaries = json.loads(content)
        for score in summaries[0]["scores"].values():
            score["metadata"]["defense"][field] = value
        return json.dumps(summaries).encode()

    assert "its tally" in reason(log, rewritten(log, tmp_path / "edited.eval", change))


def test_a_part_that_would_fill_the_memory_is_not_read(log: Path, tmp_path: Path) -> None:
    path = Path(rewritten(log, tmp_path / "bomb.eval", lambda _, content: content))
    content = bytearray(path.read_bytes())
    entry = content.rfind(b"PK\x01\x02", 0, content.rfind(b"summaries.json"))
    # The place of the unpacked size in the directory at the end of the file.
    content[entry + 24 : entry + 28] = struct.pack("<I", 4_000_000_000)
    path.write_bytes(content)

    assert "too large: summaries.json has 4000 MB" in reason(log, str(path))


def test_a_json_log_of_a_store_that_would_fill_the_memory_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsspec.filesystem("memory").pipe("/large.json", b"{}" * 1_000_000)
    monkeypatch.setattr(archive, "MAX_MEMBER", 1_000_000)
    with pytest.raises(LeftOut, match="too large: the file has 2 MB"):
        read_log("memory://large.json")


def test_a_damaged_part_is_named(log: Path, tmp_path: Path) -> None:
    path = Path(rewritten(log, tmp_path / "damaged.eval", lambda _, content: content))
    content = bytearray(path.read_bytes())
    start = content.find(b"summaries.json") + 40
    content[start : start + 20] = b"\0" * 20
    path.write_bytes(content)

    assert "corrupt" in reason(log, str(path))
