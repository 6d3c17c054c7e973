"""Figures are drawn once for the same data, by one process or two, and are the same bytes."""

import os
import subprocess
from collections import deque
from pathlib import Path

import pytest
from matplotlib import rc_context
from support.drawn_boards import Row, board_of

from vlmguard.results.leaderboard.figures import kept
from vlmguard.results.leaderboard.figures.looks import STYLE
from vlmguard.results.leaderboard.figures.pictures import Picture, drawn
from vlmguard.results.leaderboard.figures.sketches import Sketch, sketches_of
from vlmguard.results.logs.cache_folder import FOLDER, without_cache
from vlmguard.results.programs import started

ROWS: dict[str, Row] = {"undefended": (4.0, 0.9, 0.0), "vlmguard": (9.0, 0.9, 0.1)}


@pytest.fixture(scope="module")
def sketches() -> dict[str, Sketch]:
    """Figures of two widths, and of one."""
    found = sketches_of(board_of(ROWS, ["alpha", "beta"]))
    return {name: found[name] for name in ("frontier", "gains", "categories")}


@pytest.fixture(scope="module")
def pictures(sketches: dict[str, Sketch]) -> dict[str, Picture]:
    with without_cache():
        return kept.pictures_of(sketches)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def drew(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the figures that this process drew."""
    found: list[int] = []

    def noted(sketch: Sketch, number: int) -> Picture:
        found.append(number)
        return drawn(sketch, number)

    monkeypatch.setattr(kept, "drawn", noted)
    return found


def test_equal_data_are_drawn_once(
    sketches: dict[str, Sketch], pictures: dict[str, Picture], folder: Path, drew: list[int]
) -> None:
    assert pictures["frontier"].column
    for _ in range(2):
        assert kept.pictures_of(sketches) == pictures
    assert drew == [0, 1, 2]
    # Another number has other ids in the page, and other data are another figure.
    other = sketches_of(board_of({**ROWS, "vlmguard": (9.0, 0.9, 0.2)}, ["alpha", "beta"]))
    moved = {"gains": sketches["gains"], "frontier": other["frontier"]}
    assert set(kept.pictures_of({**moved, "categories": sketches["categories"]})) > set(moved)
    assert drew == [0, 1, 2, 0, 1]


def test_a_damaged_file_and_that_of_another_user_are_drawn_anew(
    sketches: dict[str, Sketch],
    pictures: dict[str, Picture],
    folder: Path,
    drew: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = {"frontier": sketches["frontier"]}
    kept.pictures_of(wanted)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    changed = content.replace(b"<path", b"<evil", 1)
    for damaged in (b"", b"[1]", b"{}\n", content[:-9], content[:500], changed):
        file.write_bytes(damaged)
        assert kept.pictures_of(wanted)["frontier"] == pictures["frontier"]
        assert file.read_bytes() == content
    if os.name == "posix":
        monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
        assert kept.pictures_of(wanted)["frontier"] == pictures["frontier"]
    assert len(drew) == 8 if os.name == "posix" else 7


@pytest.mark.parametrize("program", [kept._PROGRAM, "no.such.module"])
def test_two_processes_draw_the_same(
    program: str,
    sketches: dict[str, Sketch],
    pictures: dict[str, Picture],
    drew: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "_MANY", 1)
    monkeypatch.setattr(kept, "_PROGRAM", program)
    monkeypatch.setattr(kept, "processors", lambda: 2)
    with without_cache():
        assert kept.pictures_of(sketches) == pictures
    # The other process draws from the back, at least one; what it does not give is drawn here.
    assert drew in ([[0], [0, 1]] if program.startswith("vlmguard") else [[0, 1, 2]])


def test_a_change_of_settings_while_figures_are_drawn_loses_none(
    sketches: dict[str, Sketch],
    pictures: dict[str, Picture],
    drew: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drawing sets matplotlib's settings, by which figures are known, for all threads."""
    known = {number: kept.digest_of(each, number) for number, each in enumerate(sketches.values())}
    with rc_context(STYLE), started(kept._PROGRAM) as program:
        found = kept._drawn_elsewhere(program, deque(enumerate(sketches.values())), known)
    assert found == dict(enumerate(pictures.values()))


def test_what_was_drawn_here_is_not_lost_with_the_other_process(
    sketches: dict[str, Sketch],
    pictures: dict[str, Picture],
    drew: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(module: str) -> "subprocess.Popen[bytes]":
        program = started("no.such.module")
        program.wait()
        return program

    monkeypatch.setattr(kept, "_MANY", 1)
    monkeypatch.setattr(kept, "processors", lambda: 2)
    monkeypatch.setattr(kept, "started", ended)
    with without_cache():
        assert kept.pictures_of(sketches) == pictures
    assert sorted(drew) == [0, 1, 2]
