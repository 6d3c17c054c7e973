"""A board is computed once for the same logs, and is the same afterwards, to the last digit."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from support.attacked import add, known_attacks, outcomes, template, under

from vlmguard.cli import main
from vlmguard.guard.cards import Card, register
from vlmguard.results.leaderboard import kept_board
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.kept_board import kept_build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.cache_folder import FOLDER, without_cache
from vlmguard.results.logs.frame import Results, read_results
from vlmguard.results.logs.run import Run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A mark for each board that was computed, not found in the cache."""
    marks: list[bool] = []

    def noted(results: Results, intersect: bool = False) -> Leaderboard:
        marks.append(intersect)
        return build(results, intersect)

    monkeypatch.setattr(kept_board, "build", noted)
    return marks


@pytest.fixture
def logs(matrix: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(matrix, tmp_path / "logs"))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A target without and under an attack: a table of its own."""
    folder = tmp_path_factory.mktemp("attacked")
    with known_attacks():
        log = template(tmp_path_factory.mktemp("template"), 12, 2)
        for defense in ("none", "vlmguard"):
            add(log, folder, defense, outcomes(12, 2, 3), defense=defense)
            add(log, folder, f"{defense}-f", outcomes(12, 2, 5), under("figstep"), defense=defense)
        yield folder


def told(value: Any, board: Leaderboard) -> Any:
    """All that a board holds, with groups and runs by their places."""
    if isinstance(value, Run):
        return (value.paths, value.view)
    if is_dataclass(value) and not isinstance(value, type):
        if value is not board and value in board.groups:
            return board.groups.index(value)
        held = [(each.name, told(getattr(value, each.name), board)) for each in fields(value)]
        return (type(value).__name__, held)
    if isinstance(value, dict):
        return [(key, told(each, board)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return (type(value).__name__, [told(each, board) for each in value])
    return (type(value).__name__, repr(value))


def whole(board: Leaderboard) -> Any:
    groups = [[told(getattr(each, f.name), board) for f in fields(each)] for each in board.groups]
    under_attack = None if board.attacked is None else whole(board.attacked)
    held = [
        (each.name, told(getattr(board, each.name), board))
        for each in fields(board)
        if each.name not in ("groups", "attacked")
    ]
    return (held, groups, under_attack)


def test_a_known_board_is_the_same_in_all_that_it_holds(
    logs: Path, cache: Path, built: list[bool]
) -> None:
    first, second = (kept_build(read_results([str(logs)])) for _ in range(2))
    assert built == [False]
    assert whole(first) == whole(second)
    with without_cache():
        assert whole(first) == whole(kept_build(read_results([str(logs)])))
    assert second.entries
    assert all(any(each.group is group for group in second.groups) for each in second.entries)
    assert all(any(each.run is run for run in second.runs) for each in second.entries)
    assert second.duels
    assert all(any(each.group is group for group in second.groups) for each in second.duels)


def test_a_board_under_attack_is_kept_whole(attacked: Path, cache: Path, built: list[bool]) -> None:
    first, second = (kept_build(read_results([str(attacked)])) for _ in range(2))
    assert built == [False]
    assert second.attacked
    assert whole(first) == whole(second)


def test_the_command_writes_the_same_files(
    logs: Path, cache: Path, built: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for _ in range(2):
        assert main(["leaderboard", str(logs), "--out", str(tmp_path / "out")]) == 0
        files = {each.name: each.read_bytes() for each in (tmp_path / "out").glob("*.*")}
        said.append((files, capsys.readouterr().out))
    assert built == [False]
    assert said[0] == said[1]


def edited(logs: Path) -> None:
    path = min(logs.rglob("*.eval"))
    log = read_eval_log(str(path))
    assert log.samples
    assert log.samples[0].scores
    for sample in log.samples:
        assert sample.scores
        value = sample.scores["judge"].value
        assert isinstance(value, dict)
        value["safety"] = 1.0
    write_eval_log(log, str(path))


def touched(logs: Path) -> None:
    path = min(logs.rglob("*.eval"))
    os.utime(path, (1_000_000_000, 1_000_000_000))


def added(logs: Path) -> None:
    (logs / "broken.eval").write_bytes(b"no log")


def removed(logs: Path) -> None:
    min(logs.rglob("*.eval")).unlink()


def declared(logs: Path) -> None:
    register(Card("declared_since", "Declared since"))


@pytest.mark.parametrize("change", [edited, touched, added, removed, declared])
def test_after_a_change_it_is_computed_anew(
    change: Any, logs: Path, cache: Path, built: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmguard.guard.cards.registry._BENCHMARKS", _copy())
    before = kept_build(read_results([str(logs)]))
    change(logs)
    after = kept_build(read_results([str(logs)]))
    assert len(built) == 2
    with without_cache():
        assert whole(after) == whole(build(read_results([str(logs)])))
    if change is edited:
        assert whole(before) != whole(after)


def _copy() -> dict[str, Card]:
    from vlmguard.guard.cards.registry import _BENCHMARKS

    return dict(_BENCHMARKS)


def test_other_samples_are_another_board(logs: Path, cache: Path, built: list[bool]) -> None:
    for intersect in (False, True, False, True):
        kept_build(read_results([str(logs)]), intersect)
    assert built == [False, True]


@pytest.mark.parametrize("content", [b"", b"no bytes of ours", None])
def test_a_damaged_board_is_computed_anew(
    content: bytes | None, logs: Path, cache: Path, built: list[bool]
) -> None:
    first = kept_build(read_results([str(logs)]))
    (file,) = cache.glob("board-*")
    file.write_bytes(file.read_bytes()[:-9] if content is None else content)
    assert whole(kept_build(read_results([str(logs)]))) == whole(first)
    assert len(built) == 2
    kept_build(read_results([str(logs)]))
    assert len(built) == 2


def test_nothing_is_kept_of_logs_whose_state_is_not_known(
    logs: Path, cache: Path, built: list[bool]
) -> None:
    results = read_results([str(logs)])
    results.states[next(iter(results.states))] = None
    for found in (results, Results(results.runs)):
        for _ in range(2):
            kept_build(found)
    assert len(built) == 4
    assert not list(cache.glob("board-*"))


def test_without_a_cache_nothing_is_kept(logs: Path, cache: Path, built: list[bool]) -> None:
    with without_cache():
        for _ in range(2):
            kept_build(read_results([str(logs)]))
    assert len(built) == 2
    assert not cache.exists()


def test_a_class_that_is_not_named_is_no_silent_loss(logs: Path, cache: Path) -> None:
    results = read_results([str(logs)])
    writer: Any = kept_board._Writer(results.runs)
    with pytest.raises(TypeError, match="a board holds a PurePosixPath"):
        writer.plain({"place": PurePosixPath()})
