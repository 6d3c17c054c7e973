"""What is said beside results: colours where they are wanted, one line that goes away, hints."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlmguard.guard.progress import show_status, tracked
from vlmguard.guard.streams import command_output
from vlmguard.guard.terminal import has_colours, say_error, say_next, shown_path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("settings", "terminal", "pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    settings: dict[str, str], terminal: bool, pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    assert has_colours(Terminal()) is terminal
    assert has_colours(io.StringIO()) is pipe


def test_an_error_is_red_and_what_is_next_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    say_error("no such file.")
    say_next("vlmguard list")

    assert screen.getvalue() == (
        "\x1b[1;31mvlmguard:\x1b[0m no such file.\n\x1b[1mnext:\x1b[0m vlmguard list\n"
    )


def test_a_status_is_cut_to_the_screen_and_goes_when_something_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("sys.stdout", screen)
    with command_output():
        show_status("a long piece of work")
        show_status("another one")
        print("the result")
        show_status("the last one")

    assert screen.getvalue() == (
        "a long piece of wor\r\x1b[Kanother one\r\x1b[Kthe result\nthe last one\r\x1b[K"
    )


def test_a_result_in_a_pipe_leaves_the_status_on_the_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("sys.stdout", pipe)
    with command_output():
        show_status("reading")
        print("the result")
        assert screen.getvalue() == "reading"

    assert pipe.getvalue() == "the result\n"


@pytest.mark.parametrize("setting", ["", "FORCE_COLOR"])
def test_nothing_is_shown_in_pipes_even_where_colours_are_wanted(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    if setting:
        monkeypatch.setenv(setting, "1")

    assert list(tracked([1, 2, 3], "counting")) == [1, 2, 3]
    assert pipe.getvalue() == ""


def test_a_bar_counts_and_does_not_flicker(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr", screen)
    clock = iter(number / 50 for number in range(100, 200))
    clocks = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("vlmguard.guard.progress.time", clocks)

    assert sum(tracked((1 for _ in range(12)), "counting", 12)) == 12
    shown = [each for each in screen.getvalue().split("\r\x1b[K") if each]
    assert shown == [
        f"counting [{' ' * 24}] 0 of 12",
        f"counting [{'=' * 10}{' ' * 14}] 5 of 12",
        f"counting [{'=' * 20}{' ' * 4}] 10 of 12",
    ]


def test_a_path_is_shown_as_it_can_be_typed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert shown_path(tmp_path / "out" / "my board") == "'out/my board'"
    assert shown_path("logs/a.eval") == "logs/a.eval"
    assert shown_path("/elsewhere/a") == "/elsewhere/a"
    assert shown_path("s3://bucket/a") == "s3://bucket/a"


def on_a_terminal(*words: str) -> tuple[str, int]:
    """What a command shows on a terminal, and its exit status."""
    ours, theirs = pty.openpty()
    program = "import sys; from vlmguard.cli import main; sys.exit(main())"
    running = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return shown.decode(), running.wait()


def test_a_command_says_at_once_that_it_loads_and_then_takes_it_away() -> None:
    shown, status = on_a_terminal("power", "--difference", "5")

    assert status == 2
    assert shown.startswith("loading ...\r\x1b[K\x1b[1;31mvlmguard:\x1b[0m power: name two")


def test_a_mistake_in_the_arguments_is_red_on_a_terminal() -> None:
    shown, status = on_a_terminal("gate", "--bseline", "x")

    assert status == 2
    assert "\x1b[1;31mvlmguard gate: error:\x1b[0m " in shown
    assert "loading" not in shown
