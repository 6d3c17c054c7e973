"""Tags of logs, and what is said after a run."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
from support.guarded import guarded_model
from support.scripted import Call, Scripted
from support.siuo_folder import write_siuo

from vlmguard.guard.run_tags import defense_tags
from vlmguard.solvers import ecso, self_reminder
from vlmguard.tasks import siuo

SAID = "Mind the step."

INSPECT = """
from inspect_ai._cli.main import main
from inspect_ai.model import ModelAPI, ModelOutput, ModelUsage, modelapi


class Echoing(ModelAPI):
    async def generate(self, input, tools, tool_choice, config):
        said = ModelOutput.from_content(self.model_name, "A")
        said.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return said


@modelapi(name="echoing")
def echoing():
    return Echoing


main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_siuo(tmp_path_factory.mktemp("siuo"), 2)


def ran(folder: Path, where: Path, **options: Any) -> EvalLog:
    task = siuo(data_dir=str(folder), judge="none", **options.pop("args", {}))
    options = {"model": Scripted(SAID).model, "display": "none", **options}
    (log,) = inspect_eval(task, log_dir=str(where), **options)
    return read_eval_log(log.location)


def test_a_log_is_tagged_with_its_defense_and_stays_whole(folder: Path, tmp_path: Path) -> None:
    log = ran(folder, tmp_path, solver=self_reminder())
    assert (log.status, log.tags) == ("success", ["self_reminder"])
    assert log.samples is not None
    assert log.reductions is not None
    assert [sample.output.completion for sample in log.samples] == [SAID] * 2
    # What was edited says so, and by whom.
    (update,) = log.log_updates or []
    assert update.provenance.author == "vlmguard"
    assert [path.name for path in tmp_path.iterdir()] == [Path(log.location).name]


def test_of_undefended_and_attacked_runs_the_list_tells_too(folder: Path, tmp_path: Path) -> None:
    attacked = ran(folder, tmp_path, args={"attack": "adaptive:R10"})
    assert attacked.tags == ["attack:adaptive:R10", "undefended"]
    assert attacked.eval.tags == ["attack:adaptive:R10"]


def test_a_guarded_model_is_tagged_in_any_task(tmp_path: Path) -> None:
    task = Task(dataset=[Sample("How?", target=SAID)], solver=generate(), scorer=includes())
    model = guarded_model("self_reminder", Scripted(SAID))
    (log,) = inspect_eval(task, model=model, display="none", log_dir=str(tmp_path))
    assert read_eval_log(log.location).tags == ["self_reminder"]


def test_runs_of_others_are_left_alone(tmp_path: Path) -> None:
    task = Task(dataset=[Sample("How?", target=SAID)], solver=generate(), scorer=includes())
    (log,) = inspect_eval(task, model=Scripted(SAID).model, display="none", log_dir=str(tmp_path))
    again = read_eval_log(log.location)
    assert (again.tags, again.log_updates) == ([], None)


def test_tags_that_a_run_was_given_are_not_added_again(folder: Path, tmp_path: Path) -> None:
    log = ran(folder, tmp_path, solver=self_reminder(), tags=["self_reminder", "mine"])
    assert (log.tags, log.log_updates) == (["mine", "self_reminder"], None)


@pytest.mark.parametrize(
    ("model", "solver", "args", "tags"),
    [
        ("openai/gpt-4o", None, {}, ["undefended"]),
        ("openai/gpt-4o", "vlmguard/ecso", {}, ["ecso"]),
        ("openai/gpt-4o", "solvers/mine.py@second_look", {}, ["second_look"]),
        ("openai/gpt-4o", "generate", {}, ["undefended"]),
        ("guarded/ecso/openai/gpt-4o", None, {}, ["ecso"]),
        ("guarded/ecso/openai/gpt-4o", "vlmguard", {}, ["vlmguard", "ecso"]),
        (
            "guarded/ecso/openai/gpt-4o",
            "attack_loop",
            {"attack": "best_of_n"},
            ["ecso", "attack:best_of_n"],
        ),
        ("guarded/broken", None, {}, ["undefended"]),
    ],
)
def test_tags_by_model_and_solver(
    model: str, solver: str | None, args: dict[str, Any], tags: list[str]
) -> None:
    assert defense_tags(model, {}, solver, args) == tags


def test_an_error_is_seen_without_a_display(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = siuo(data_dir=str(folder))
    model = Scripted(SAID).model
    (log,) = inspect_eval(task, model=model, solver=ecso(), display="none", log_dir=str(tmp_path))
    said = capsys.readouterr()
    assert log.status == "error"
    for words in ("siuo: ", "grader", log.location):
        assert words in said.err
    assert read_eval_log(log.location).tags == ["ecso"]


@pytest.mark.parametrize("stops", [True, False])
def test_failures_of_a_provider_are_seen_without_a_display(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stops: bool
) -> None:
    calls = []

    def broken(call: Call) -> str:
        calls.append(call)
        if len(calls) == 1:
            raise ConnectionError("the line is down")
        return SAID

    log = ran(folder, tmp_path, model=Scripted(broken).model, fail_on_error=stops)
    failed = "the line is down" if stops else "1 of 2 samples failed"
    said = capsys.readouterr().err
    for words in ("siuo: ", failed, log.location):
        assert words in said


def test_a_terminal_shows_the_headline_first_and_what_comes_next(
    folder: Path, tmp_path: Path
) -> None:
    shown = in_terminal(
        *("eval", "vlmguard/siuo", "-T", f"data_dir={folder}", "-T", "track=multiple_choice"),
        *("--model", "echoing/target", "--log-dir", str(tmp_path / "logs"), "--display", "plain"),
        where=tmp_path,
    )
    assert "hooks enabled" not in shown
    scores = shown.index("siuo_choice")
    assert shown.index("correct", scores) < shown.index("grouped", scores)
    assert shown.rstrip().splitlines()[-1].endswith("vlmguard leaderboard logs")


def in_terminal(*arguments: str, where: Path) -> str:
    """What the command `inspect` shows in a terminal, with one more provider."""
    command = where / "inspect"
    command.write_text(INSPECT)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, str(command), *arguments],
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=where,
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # the terminal's other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    process.wait(60)
    os.close(ours)
    return b"".join(pieces).decode(errors="replace").replace("\r\n", "\n")
