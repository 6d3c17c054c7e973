"""A file or folder that is not there is said to be missing, by every command that takes one."""

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.toy import Toy, run_toy, say

from vlmguard.cli import command_parser, main
from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import existing

# What each command reads, by command and argument, with words that name something absent (X).
READ = {
    "leaderboard logs": "leaderboard X",
    "leaderboard labels": "leaderboard LOG --labels X",
    "gate logs": "gate X --baseline b.json --update",
    "gate baseline": "gate LOG --baseline X",
    "gate replay": "gate --replay X",
    "diff a": "diff X LOG",
    "diff b": "diff LOG X",
    "label log": "label X --out sheet",
    "label merge": "label LOG --out sheet --merge X",
    "agreement sources": "agreement LOG X",
    "calibrate logs": "calibrate eta X",
    "power logs": "power LOG X --difference 5",
    "export logs": "export X --out out",
    "export test_sets": "export LOG --out out --test-sets X",
    "export test_set": "export LOG --out out --test-set X",
    "pool logs": "pool X --out out",
    "pool test_sets": "pool LOG --out out --test-sets X",
    "pool test_set": "pool LOG --out out --test-set X",
    "train config": "train --config X",
    "train set": "train --config microworld output_dir=out data=X",
    "run config": "run --config X",
    "attack render images": "attack render figstep --image X",
    "attack render data_dir": "attack render figstep --task siuo --data-dir X",
    "data data_dir": "data figstep --data-dir X",
    "microworld flags weights": "microworld flags eta --weights X",
    "try image": "try X hello",
    "serve options": "serve --upstream http://localhost:1/v1 --on-failure refuse -S template=X",
}
OTHERS = {
    "agreement columns": "agreement X.csv:a X.csv:b",
    "run suite": "run --suite core --config X",
    "run dry": "run --config X --dry-run",
}
# Written, or made where it is missing; the logs of a pool say where its benchmark is.
WRITTEN = {
    *("leaderboard out", "gate junit", "gate changes", "diff csv", "diff html", "label out"),
    *("calibrate out", "export out", "pool out", "pool data_dir", "attack render out"),
    *("run log_dir", "data fetch data_dir", "microworld build out", "microworld rows out"),
    *("microworld demo out", "microworld matrix out", "serve record"),
}


def arguments(parser: CommandParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        yield f"{parser.prog.removeprefix('vlmguard ')} {action.dest}", action
    for inner in parser.subcommands.values():
        yield from arguments(inner)


def test_all_arguments_that_are_paths_are_in_this_list() -> None:
    kinds = ("FILE", "DIR", "FOLDER", "LOG", "CSV", "ROOT", "IMAGE")
    paths = {
        name
        for name, action in arguments(command_parser())
        if any(kind in str(action.metavar) for kind in kinds)
    }

    assert paths - READ.keys() - WRITTEN == set()
    assert paths >= WRITTEN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("paths")
    log = run_toy(made / "logs", Toy(size=2), [say(5, True), say(5, True)])
    shutil.copy(log.location, made / "plain.eval")
    (made / "absent-one").touch()
    (made / "empty").mkdir()
    return made


@pytest.mark.parametrize("line", [*READ.values(), *OTHERS.values()])
def test_what_is_not_there_is_called_missing(
    line: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    absent = folder / "absent-two"
    words = [
        word.replace("X", str(absent)) if "X" in word else word.replace("LOG", "plain.eval")
        for word in line.split()
    ]
    status = main(words)

    shown = capsys.readouterr()
    assert status == 2
    message = shown.err + (shown.out if "gate" in line else "")
    assert "no such f" in message
    assert str(absent) in message
    assert "Did you mean absent-one?" in message
    assert "Traceback" not in message


def test_a_folder_without_logs_says_where_logs_are(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INSPECT_LOG_DIR", raising=False)
    monkeypatch.chdir(folder)
    assert main(["leaderboard", "empty"]) == 2
    assert "There are logs in logs: name that folder." in capsys.readouterr().err

    monkeypatch.chdir(folder / "empty")
    # Not `logs`: the folder that the tests were started in may have it.
    monkeypatch.setenv("INSPECT_LOG_DIR", "nowhere")
    assert main(["leaderboard", "."]) == 2
    assert "Inspect writes them into nowhere, or where --log-dir says." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("plane.eval", "no such file: plane.eval (in {folder}). Did you mean plain.eval?"),
        ("lags/a.eval", "file: lags/a.eval (there is no lags, in {folder}). Did you mean logs?"),
        ("/nowhere/a.eval", "no such file: /nowhere/a.eval (there is no nowhere)."),
        ("logs", "is a folder. Name a file in it."),
        ("plain.eval/a", "no such file: plain.eval/a (in {folder})."),
    ],
)
def test_a_path_is_named_as_it_was_typed(
    named: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folder that the process was started in.
    monkeypatch.setattr("vlmguard.guard.paths._START", folder)
    with pytest.raises(UserError, match=re.escape(said.format(folder=folder))):
        existing(named)
