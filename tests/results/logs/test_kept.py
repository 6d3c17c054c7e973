"""What was read of a log is kept until the log, or what reads it, changes."""

import json
import logging
import math
import os
import re
import stat
import zipfile
import zlib
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.cards import Card, register
from vlmguard.results.logs import processes, reading
from vlmguard.results.logs.cache_folder import FOLDER, CacheFolder
from vlmguard.results.logs.codec import UNDECODABLE, NotStorable, packed, unpacked
from vlmguard.results.logs.frame import read_each, read_results
from vlmguard.results.logs.kept import LogCache
from vlmguard.results.logs.processes import Processes
from vlmguard.results.logs.read import read_log
from vlmguard.results.logs.run import Run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    log = run_toy(tmp_path_factory.mktemp("kept"), Toy(), [say(8, True), say(3, False)] * 3)
    return Path(log.location).read_bytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def log(source: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "2026-01-01_toy_x.eval"
    path.parent.mkdir()
    path.write_bytes(source)
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The logs that were read, not found in the cache."""
    found: list[str] = []

    def noted(path: str) -> list[Run]:
        found.append(path)
        return read_log(path)

    monkeypatch.setattr(reading, "read_log", noted)
    return found


def safety(log: Path) -> list[float]:
    (run,) = read_results([str(log)]).runs
    return list(run.answers["judge.safety"])


def with_grade(content: bytes, grade: int, place: Path) -> None:
    """Write a log in which the first answer has another grade, of the same number of bytes."""
    parts = Path(place.parent / "parts.eval")
    parts.write_bytes(content)
    with zipfile.ZipFile(parts) as old, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as new:
        for name in dict.fromkeys(old.namelist()):
            held = old.read(name)
            if name == "summaries.json":
                rows = json.loads(held)
                rows[0]["scores"]["judge"]["value"]["safety"] = grade
                held = json.dumps(rows).encode()
            new.writestr(zipfile.ZipInfo(name), held)
    parts.unlink()


def equal(one: Run, other: Run) -> None:
    for each in fields(Run):
        old, new = getattr(one, each.name), getattr(other, each.name)
        if isinstance(old, pd.DataFrame):
            pd.testing.assert_frame_equal(old, new)
            assert [list(map(repr, old[name])) for name in old] == [
                list(map(repr, new[name])) for name in new
            ]
        else:
            assert repr(old) == repr(new), each.name


def test_a_log_is_read_once_and_gives_the_same(log: Path, folder: Path, opened: list[str]) -> None:
    first, second = (read_results([str(log)]).runs[0] for _ in range(2))
    assert len(opened) == 1
    equal(first, second)
    (file,) = folder.iterdir()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_log_edited_in_place_is_read_again(
    log: Path, source: bytes, folder: Path, opened: list[str]
) -> None:
    with_grade(source, 4, log)
    before = log.stat()
    assert safety(log)[0] == 4
    # As large as before, and of the same time.
    with_grade(source, 9, log)
    os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert log.stat().st_size == before.st_size
    assert log.stat().st_mtime_ns == before.st_mtime_ns
    assert safety(log)[0] == 9
    assert len(opened) == 2
    assert len(list(folder.iterdir())) == 1


def test_a_json_log_edited_in_place_is_read_again(log: Path, folder: Path) -> None:
    whole, path = read_eval_log(str(log)), log.with_suffix(".json")
    log.unlink()
    write_eval_log(whole, str(path))
    before, old = path.stat(), safety(path)
    path.write_text(re.sub(r'("safety":\s*)8', r"\g<1>7", path.read_text()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert 8.0 in old
    assert 8.0 not in safety(path)


def test_a_log_that_changes_while_it_is_read_is_not_kept(
    log: Path, source: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be as it was before afterwards, its time included."""
    before = log.stat()

    def meanwhile(path: str) -> list[Run]:
        changed = read_eval_log(path)
        for sample in changed.samples or []:
            assert sample.scores
            sample.scores["judge"].value |= {"safety": 1}  # type: ignore[operator]
        write_eval_log(changed, path)
        return read_log(path)

    with monkeypatch.context() as patched:
        patched.setattr(reading, "read_log", meanwhile)
        (seen,) = read_results([str(log)]).runs
    assert set(seen.answers["judge.safety"]) == {1.0}
    log.write_bytes(source)
    os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns))
    (run,) = read_results([str(log)]).runs
    assert set(run.answers["judge.safety"]) == {3.0, 8.0}


def test_no_cache_reads_anew_and_keeps_nothing(
    log: Path, folder: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["leaderboard", str(log), "--no-cache"]) == 0
    assert len(opened) == 2
    assert not folder.exists()
    assert main(["leaderboard", str(log)]) == 0
    assert main(["leaderboard", str(log)]) == 0
    assert len(opened) == 3


def test_a_damaged_file_of_the_cache_is_written_anew(
    log: Path, folder: Path, opened: list[str]
) -> None:
    whole = safety(log)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    head = content.index(b"\n") + 1
    for damaged in (b"", b"\x80\x04.", content[:-9], content[:head] + b"x" * 99, content[:40]):
        file.write_bytes(damaged)
        assert safety(log) == whole
        assert file.read_bytes() == content
    assert len(opened) == 6


def test_other_cards_and_other_secrets_read_again(
    log: Path, folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    safety(log)
    monkeypatch.setenv("SOME_API_KEY", "a-secret-of-today-1")
    safety(log)
    assert len(opened) == 2
    monkeypatch.setattr("vlmguard.guard.cards.registry._BENCHMARKS", {})
    register(Card(name="toy", title="Toy", shown_elsewhere=("x",)))
    safety(log)
    assert len(opened) == 3
    assert b"a-secret-of-today" not in next(folder.iterdir()).read_bytes()


def test_what_is_unfinished_is_kept_and_what_is_damaged_is_not(
    log: Path, source: bytes, folder: Path, opened: list[str]
) -> None:
    whole = read_eval_log(str(log))
    whole.status = "cancelled"
    write_eval_log(whole, str(log))
    first, second = (read_results([str(log)]).left_out for _ in range(2))
    assert first == second
    assert "status cancelled" in first[str(log)]
    assert len(opened) == 1
    log.write_bytes(source[:-400])
    for _ in range(2):
        assert "corrupt" in read_results([str(log)]).left_out[str(log)]
    assert len(opened) == 3


def test_a_folder_that_cannot_be_written_is_said_once(
    log: Path, source: bytes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (log.parent / "2026-01-01_toy_y.eval").write_bytes(source)
    folder.write_text("a file stands here")
    with caplog.at_level(logging.WARNING):
        assert len(read_results([str(log.parent)]).runs) == 1
    assert len([each for each in caplog.messages if str(folder) in each]) == 1


def test_what_was_not_used_for_the_longest_time_goes(
    log: Path, source: bytes, folder: Path
) -> None:
    kept = CacheFolder(folder)
    cache = LogCache(kept)
    found = read_log(str(log))
    for number in range(3):
        cache.keep(f"log{number}", {"number": number}, found)
    sizes = [each.stat().st_size for each in folder.iterdir()]
    for number, file in enumerate(folder.iterdir()):
        os.utime(file, (number, number))
    oldest = min(folder.iterdir(), key=lambda each: each.stat().st_mtime)
    kept.tidy(most=sum(sizes) - 1)
    assert not oldest.exists()
    assert len(list(folder.iterdir())) == 2


def test_other_processes_read_the_same_in_the_same_order(
    source: bytes, tmp_path: Path, folder: Path
) -> None:
    paths = []
    for number in range(5):
        path = tmp_path / f"{number}.eval"
        path.write_bytes(source if number != 2 else source[: len(source) // 2])
        paths.append(str(path))
    folder.write_text("no cache")
    alone, together = list(read_each(paths, 0)), list(read_each(paths, 2))
    assert [each.path for each in together] == paths
    assert [str(each.reason) for each in together] == [str(each.reason) for each in alone]
    for old, new in zip(alone, together, strict=True):
        for one, other in zip(old.runs, new.runs, strict=True):
            equal(one, other)


class Ahead(Processes):
    """Others that have read all logs before the first one is asked for."""

    begun = False

    @property
    def started(self) -> bool:
        return self.begun

    def start(self, paths: list[str], number: int) -> None:
        self.begun = True
        self._found = {path: self._read(path) for path in paths}


def test_where_no_process_can_be_started_this_one_reads_all(
    log: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def refused(module: str) -> None:
        tried.append(module)
        raise OSError("no process here")

    monkeypatch.setattr(processes, "started", refused)
    logs = [str(log), *(str(log.with_name(f"{number}.eval")) for number in range(3))]
    for each in logs[1:]:
        Path(each).write_bytes(log.read_bytes())
    found = list(read_each(logs, processes=2))
    assert [(each.path, len(each.runs)) for each in found] == [(each, 1) for each in logs]
    assert len(tried) == 1


def test_what_was_read_before_a_log_changed_is_not_kept_as_of_now(
    source: bytes, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "Processes", Ahead)
    first, last = tmp_path / "0.eval", tmp_path / "1.eval"
    for path in (first, last):
        with_grade(source, 4, path)
    each = read_each([str(first), str(last)], 1)
    next(each)
    with_grade(source, 9, last)
    assert len(list(each)) == 1
    assert safety(last)[0] == 9


@pytest.mark.parametrize("value", [10**5000, {1, "a"}, object()], ids=["long", "set", "other"])
def test_what_has_no_exact_form_is_not_kept(log: Path, folder: Path, value: object) -> None:
    (run,) = read_log(str(log))
    odd = replace(run, facts={"odd": value})
    with pytest.raises(NotStorable):
        packed([odd])


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, "\ud800", "\0", 2**70, True, None], ids=ascii
)
def test_odd_values_come_back_as_they_were(log: Path, value: object) -> None:
    (run,) = read_log(str(log))
    answers = run.answers.assign(odd=pd.Series([value] * len(run.answers), dtype=object))
    again = unpacked(packed([replace(run, answers=answers)]))
    assert isinstance(again, list)
    assert [repr(each) for each in again[0].answers["odd"]] == [repr(value)] * len(answers)


def test_bytes_of_others_run_no_code() -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        unpacked(zlib.compress(b'{"runs": [{"=": "Popen", "of": {"args": "ls"}}]}'))


def test_a_file_of_another_user_is_not_used(
    log: Path, folder: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name != "posix":
        pytest.skip("users are told apart on POSIX alone")
    safety(log)
    (file,) = folder.iterdir()
    monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
    assert 8.0 in safety(log)
    assert len(opened) == 2


def test_bytes_that_are_deep_or_of_another_length_are_refused(log: Path) -> None:
    deep = zlib.compress(b"[" * 100_000)
    frame = {"=": "frame", "rows": 9, "of": [["a", "str", {"values": ["x"], "places": "AAAAAA=="}]]}
    for content in (deep, zlib.compress(json.dumps({"runs": [frame]}).encode())):
        with pytest.raises(UNDECODABLE):
            unpacked(content)


def test_packed_and_unpacked_are_equal(log: Path) -> None:
    (run,) = read_log(str(log))
    again = unpacked(packed([run]))
    assert isinstance(again, list)
    equal(run, again[0])


def test_a_place_that_no_value_has_is_refused() -> None:
    for kind in ("str", "object"):
        column = ["a", kind, {"values": ["x"], "places": "AQAAAA=="}]
        frame = {"=": "frame", "rows": 1, "of": [column]}
        with pytest.raises(UNDECODABLE, match=r"out.of.bounds"):
            unpacked(zlib.compress(json.dumps({"runs": [frame]}).encode()))
