"""What a run was: the command in the facts, typed again, gives the same run."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from inspect_ai._cli.eval import eval_command
from inspect_ai.log import EvalLog, EvalSpec, list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, ModelConfig
from support.counting_api import counting_api
from support.siuo_folder import write_siuo
from support.toy import Toy, run_toy, say

from vlmguard.results.logs.arguments import argument
from vlmguard.results.logs.frame import read_run
from vlmguard.results.logs.run_command import command_of
from vlmguard.results.logs.run_facts import COMMAND, log_place_from

counting_api("facts", '{"safe": true, "effective": true}')
SAME = ("task", "task_file", "task_args", "task_args_passed", "solver", "solver_args_passed")
SAME_TOO = ("model", "model_args", "model_roles")
DRAWN = ("limit", "sample_id", "epochs", "epochs_reducer", "time_limit", "fail_on_error")
FIGSTEP = "-T attack=figstep --solver vlmguard/self_reminder --temperature 0.25 --limit 2-3"


def typed(line: str, folder: Path) -> EvalLog:
    """The log of a command line, run as `inspect` runs it."""
    words = shlex.split(line)
    assert words[:2] == ["inspect", "eval"]
    options = ["--log-dir", str(folder), "--display", "none", "--log-level", "error"]
    eval_command.main(args=[*words[2:], *options], standalone_mode=False)
    (place,) = list_eval_logs(str(folder))
    log = read_eval_log(place, header_only=True)
    assert log.status == "success", log.error
    return log


def ran(log: EvalLog) -> dict[str, Any]:
    spec = log.eval
    config = spec.model_generate_config.merge(log.plan.config)
    return {
        **{name: getattr(spec, name) for name in (*SAME, *SAME_TOO)},
        **{name: getattr(spec.config, name) for name in DRAWN},
        "generate": config.model_dump(exclude={"max_connections"}),
        "samples": spec.dataset.sample_ids,
    }


@pytest.mark.parametrize(
    "options",
    [
        f"{FIGSTEP} --model facts/target",
        "--solver attack_loop -S attack=best_of_n -S tries=2 --model guarded/ecso/facts/target "
        "-M keep_image=true --seed 3 --sample-id siuo/1001 --max-tokens 77",
        "--solver vlmguard -S reasoning=false --model facts/target --time-limit 60 --epochs 2 "
        '--epochs-reducer mode --model-role rewriter="{model: facts/r, temperature: 0.5}" '
        "--stop-seqs END,STOP --no-fail-on-error --limit 1",
    ],
)
def test_the_command_typed_again_gives_the_same_run(options: str, tmp_path: Path) -> None:
    data = write_siuo(tmp_path / "it's data", 4)
    line = f"inspect eval vlmguard/siuo -T judge=official -T data_dir={shlex.quote(str(data))}"
    first = typed(f"{line} {options} --model-role grader=facts/judge", tmp_path / "first")
    facts = read_run(str(tmp_path / "first")).facts
    again = typed(facts[COMMAND], tmp_path / "again")
    assert ran(again) == ran(first)
    assert facts["Date"] == first.eval.created
    assert facts["Task version"] == first.eval.task_version


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "true",
        "12",
        "",
        "it's",
        "a: b",
        "#x",
        1,
        1.5,
        1e-05,
        True,
        None,
        ["a,b"],
        {"a": [1]},
    ],
)
def test_an_argument_is_read_back_as_it_was(value: Any) -> None:
    from inspect_ai._util.config import parse_cli_args

    text = argument(value)
    assert text is not None
    assert parse_cli_args((f"name={text}",)) == {"name": value}


def test_what_no_argument_can_say_is_named(tmp_path: Path) -> None:
    assert argument("a,b") is None
    log = header(tmp_path)
    log.eval.task_args_passed = {"text": "a,b", "split": "tiny"}
    log.eval.model_roles = {"grader": ModelConfig(model="x/y", base_url="http://h:1")}
    log.plan.config = GenerateConfig(stop_seqs=["a,b"], system_message="two\nlines  here")
    made = command_of(log)
    assert made.lacks == ["-T text", "--model-role grader", "--stop-seqs"]
    assert shlex.split(made.text.split("  # without")[0])[-1] == "two\nlines  here"


def test_secrets_are_left_out_and_said(tmp_path: Path) -> None:
    log = header(tmp_path)
    log.eval.model_args = {"api_key": "sk-1234567890ABCDEF", "device": "cpu"}
    log.eval.model_base_url = "https://me:hunter2hunter2@host/v1"
    log.eval.model_roles = {
        "grader": ModelConfig(model="x/y", args={"hub_token": "hf_abcdefghijkl123"})
    }
    text = command_of(log).text
    assert all(secret not in text for secret in ("sk-12", "hunter2", "hf_abc"))
    assert "-M device=cpu" in text
    assert text.endswith("# without --model-base-url, -M api_key (a secret), --model-role grader")


def test_a_reducer_that_comes_with_its_task_is_not_asked_for(tmp_path: Path) -> None:
    log = header(tmp_path)
    log.eval.config.epochs = 3
    for reducer, named in (("per_measure", False), ("vote", False), ("pass_at_2", True)):
        log.eval.config.epochs_reducer = [reducer]
        words = command_of(log).words
        # `inspect eval` looks for names before it loads the task, and so would end with an error.
        assert (reducer in words, words[words.index("--epochs") + 1]) == (named, "3")


def test_what_only_python_can_give_has_no_command(tmp_path: Path) -> None:
    log = run_toy(tmp_path, Toy(), [say(5, True)] * 6)
    lacks = "# without -M custom_outputs, --model-role grader, --model-role rewriter"
    assert read_run(str(tmp_path)).facts[COMMAND].endswith(lacks)
    log.eval.task_file = None
    assert command_of(log).text == (
        "none: the log names no file of its task toy, which was made in Python"
    )


def test_a_log_is_named_from_the_page(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.eval"
    assert log_place_from(str(log), tmp_path / "site") == "../logs/a.eval"
    assert log_place_from("s3://bucket/a.eval", tmp_path) == "s3://bucket/a.eval"
    # Nobody who reads a published page learns where files lie on a machine.
    assert log_place_from("/elsewhere/a.eval", tmp_path) == "a.eval"
    assert log_place_from(str(tmp_path / "a.eval"), tmp_path) == "./a.eval"


def header(folder: Path) -> EvalLog:
    """The header of a run, with a task that a user could name."""
    log = run_toy(folder, Toy(size=1), [say(5, True)])
    log.eval = EvalSpec.model_validate(json.loads(log.eval.model_dump_json()))
    log.eval.task, log.eval.task_file = "vlmguard/siuo", None
    log.eval.model_args, log.eval.model_roles = {}, None
    return log
