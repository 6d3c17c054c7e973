"""What a command says about the way on: on standard error, as it can be typed, if it succeeded."""

import shlex
from pathlib import Path

import pytest
from support.toy import Toy, run_toy, say

from vlmguard.cli import command_parser, main


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good and a bad run of one thing, in a folder with a blank in its name."""
    folder = tmp_path_factory.mktemp("some logs")
    for name, grade in (("good", 9.0), ("bad", 1.0)):
        run_toy(folder / name, Toy(size=24), [say(grade, True)] * 24)
    return folder


def hints(text: str) -> list[str]:
    return [line.removeprefix("next: ") for line in text.splitlines() if line.startswith("next: ")]


def parsed(hint: str) -> list[str]:
    """The words of a hint after `vlmguard`, which its parser understands."""
    words = shlex.split(hint)
    assert words[0] == "vlmguard"
    command_parser().parse_args(words[1:])
    return words[1:]


def test_tables_are_followed_by_the_way_to_files_and_to_samples(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, board = str(logs / "good"), str(tmp_path / "board")
    assert main(["leaderboard", place]) == 0
    shown = capsys.readouterr()
    assert "next:" not in shown.out
    (hint,) = hints(shown.err)
    assert parsed(hint) == ["leaderboard", place, "--out", "out/board"]

    assert main(["leaderboard", place, "--out", board]) == 0
    (hint,) = hints(capsys.readouterr().err)
    assert parsed(hint) == ["leaderboard", place, "--out", board, "--samples"]


def test_a_sheet_is_followed_by_what_it_is_for(
    logs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (log,) = map(str, (logs / "good").glob("*.eval"))
    assert main(["label", log, "--out", str(tmp_path / "my sheet"), "--n", "2"]) == 0

    labels = "my sheet/labels.csv"
    assert [parsed(hint) for hint in hints(capsys.readouterr().err)] == [
        ["agreement", log, labels],
        ["leaderboard", log, "--labels", labels],
    ]


def test_a_gate_that_fails_names_both_logs_and_how_to_accept_the_loss(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = str(tmp_path / "baseline.json")
    assert main(["gate", str(logs / "good"), "--baseline", baseline, "--update"]) == 0
    assert hints(capsys.readouterr().err)[0].startswith("commit ")

    assert main(["gate", str(logs / "bad"), "--baseline", baseline]) == 1
    (good,), (bad,) = ([*(logs / name).glob("*.eval")] for name in ("good", "bad"))
    look, accept = hints(capsys.readouterr().err)
    # A baseline knows the old log's name alone.
    assert parsed(look) == ["diff", good.name, str(bad), "--html", "flips.html"]
    assert accept == "if the loss is meant: the same command with --update"

    assert main(["gate", str(logs / "good"), "--baseline", baseline]) == 0
    assert hints(capsys.readouterr().err) == []


def test_a_command_that_failed_hints_at_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(tmp_path / "nowhere")]) == 2
    assert hints(capsys.readouterr().err) == []
