"""A frame from logs: values, clusters, names, what is left out and why."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalError, read_eval_log, write_eval_log
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score
from support.toy import Toy, rewriting, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.logs.answers import bare
from vlmguard.results.logs.frame import read_results

SAFE = [say(8, True)] * 6


def test_values_of_every_score_key_stand_per_sample(tmp_path: Path) -> None:
    answers = [
        say(2, True),
        say(7, True),
        say(8, False),
        say(6, True),
        say(9, True),
        say(9, False, True),
    ]
    run_toy(tmp_path, Toy(benign=1), answers)
    results = read_results([str(tmp_path)])
    assert results.left_out == {}
    (run,) = results.runs
    assert (run.target, run.defense, run.judge) == ("mockllm/target", "none", "mockllm/grader")
    assert (run.column.benchmark, run.column.title, run.column.variant) == ("toy", "Toy", "all")
    assert run.declared.headline == "judge.safe_and_helpful"
    assert run.declared.ranges["judge.safety"] == 10.0
    frame = run.samples().sort_index()
    assert list(frame.index) == [f"toy/{n}" for n in range(6)]
    assert list(frame["judge.safety"]) == [2, 7, 8, 6, 9, 9]
    assert list(frame["judge.safe_and_helpful"]) == [0, 1, 0, 0, 1, 0]
    assert list(frame["cluster"]) == [f"image-{n // 2}.png" for n in range(6)]
    assert list(frame["category"]) == ["even", "even", "odd", "odd", "even", "even"]
    # The last sample is benign: its refusal is over-refusal, not a success.
    assert frame["over_refusal"].dropna().to_dict() == {"toy/5": 1.0}
    assert frame["dsr"].sum() == 0
    assert frame["dsr"].count() == 5


def test_defense_and_its_tally_come_from_the_samples(tmp_path: Path) -> None:
    def broken(text: str) -> str:
        return "no tags at all" if "Question 1?" in text else rewriting(text)

    run_toy(tmp_path, Toy(), SAFE, defended=True, guard=broken)
    results = read_results([str(tmp_path)])
    (run,) = results.runs
    assert run.defense == "vlmguard"
    assert json.loads(run.guards) == {"rewriter": ["mockllm/rewriter"]}
    # Samples are in the order of their end, and a retry takes longer.
    frame = run.samples().sort_values("sample")
    assert list(frame["calls"]) == [3 if n == 1 else 2 for n in range(6)]  # one retry
    assert list(frame["target_calls"]) == [1] * 6
    assert list(frame["input_tokens"]) == [30 if n == 1 else 20 for n in range(6)]
    assert list(frame["outcome"]) == ["unusable" if n == 1 else "rewritten" for n in range(6)]
    assert [bool(failure) for failure in frame["failure"]] == [n == 1 for n in range(6)]


@pytest.mark.parametrize(
    "name",
    ["ecso", "vlmguard/ecso", "solvers/ecso.py@ecso", "solvers/ecso.py", "/a/b/ecso.py@ecso"],
)
def test_names_lose_package_and_path(name: str) -> None:
    assert bare(name) == "ecso"


def test_unusable_verdicts_are_nan_with_their_reason(tmp_path: Path) -> None:
    answers = [*SAFE[:4], "no grade in here", ""]
    run_toy(tmp_path, Toy(), answers)
    frame = read_results([str(tmp_path)]).runs[0].samples()
    assert math.isnan(frame.loc["toy/4", "judge.safety"])
    assert frame.loc["toy/4", "unscored"]["judge.safety"] == "invalid_format"
    assert frame.loc["toy/5", "unscored"]["judge.helpful"] == "no_response"
    assert frame["judge.safety"].count() == 4


def test_epochs_are_reduced_as_inspect_did(tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def wavering(text: str) -> str:
        seen[text] = seen.get(text, 0) + 1
        return say(4 if seen[text] == 1 else 10, True)

    run_toy(tmp_path, Toy(size=2), wavering, epochs=2)
    (run,) = read_results([str(tmp_path)]).runs
    assert len(run.answers) == 4
    assert list(run.samples()["judge.safety"]) == [7.0, 7.0]
    assert '"epochs": 2' in run.column.settings


def test_what_cannot_be_used_is_named_with_its_reason(tmp_path: Path) -> None:
    good = run_toy(tmp_path, Toy(), SAFE)
    (tmp_path / "corrupt.eval").write_bytes(b"PK no zip")
    (tmp_path / "note.json").write_text('{"a": 1}')
    whole = Path(good.location).read_bytes()
    (tmp_path / "cut.eval").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "copy.eval").write_bytes(whole)
    unfinished = read_eval_log(good.location)
    unfinished.status = "started"
    unfinished.eval.task_id = "another"
    write_eval_log(unfinished, str(tmp_path / "unfinished.eval"))
    foreign = read_eval_log(good.location)
    foreign.eval.metadata = None
    foreign.eval.task = "arc"
    for sample in foreign.samples or []:
        sample.scores = {"match": sample.scores["refusal"]} if sample.scores else None
    write_eval_log(foreign, str(tmp_path / "foreign.eval"))
    results = read_results([str(tmp_path)])
    reasons = {Path(path).name: reason for path, reason in results.left_out.items()}
    assert "corrupt or truncated" in reasons["corrupt.eval"]
    assert "corrupt or truncated" in reasons["cut.eval"]
    assert "note.json" not in reasons  # by its name, the file is not a log of Inspect
    assert "status started" in reasons["unfinished.eval"]
    assert "foreign: task arc" in reasons["foreign.eval"]
    assert "copy of" in (reasons.get("copy.eval") or reasons[Path(good.location).name])


@pytest.mark.parametrize(
    "other",
    [
        {"stop_seqs": ["."]},
        {"frequency_penalty": 1.5},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"verbosity": "low"},
    ],
)
def test_runs_that_asked_in_another_way_are_not_compared(
    other: dict[str, Any], tmp_path: Path
) -> None:
    run_toy(tmp_path, Toy(), SAFE)
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE, defended=True).location)
    log.plan.config = log.plan.config.merge(GenerateConfig(**other))
    write_eval_log(log, log.location)
    plain, guarded = sorted(run.column.settings for run in read_results([str(tmp_path)]).runs)
    assert plain != guarded
    assert next(iter(other)) in plain + guarded


def test_how_fast_a_model_is_asked_is_no_condition(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(), SAFE)
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE, defended=True).location)
    slow = GenerateConfig(max_retries=3, timeout=9, max_connections=2, batch=True, logprobs=True)
    log.plan.config = log.plan.config.merge(slow)
    write_eval_log(log, log.location)
    assert len({run.column for run in read_results([str(tmp_path)]).runs}) == 1


def test_what_ends_samples_early_is_a_condition(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(), SAFE)
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE, defended=True).location)
    log.eval.config.token_limit = 100
    write_eval_log(log, log.location)
    assert len({run.column for run in read_results([str(tmp_path)]).runs}) == 2


def test_an_image_may_have_the_number_0(tmp_path: Path) -> None:
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE).location)
    for sample in log.samples or []:
        sample.metadata |= {"image_id": int(sample.epoch) - 1, "category": 0}
    write_eval_log(log, log.location)
    (run,) = read_results([str(tmp_path)]).runs
    assert set(run.answers["cluster"]) == {"0"}
    assert set(run.answers["category"]) == {"0"}


def test_a_label_is_no_number(tmp_path: Path) -> None:
    """Inspect takes it for 0, with a warning."""
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE).location)
    for sample, value in zip(
        log.samples or [], ["C", "yes", "0.5", "unsafe", math.nan, 1], strict=True
    ):
        assert sample.scores
        sample.scores["own"] = Score(value=value)
    write_eval_log(log, log.location)
    (run,) = read_results([str(tmp_path)]).runs
    frame = run.samples().sort_index()
    values = list(frame["own.value"])
    assert values[:3] == [1.0, 1.0, 0.5]
    assert math.isnan(values[3])
    assert math.isnan(values[4])
    assert values[5] == 1.0
    assert frame.loc["toy/3", "unscored"] == {"own.value": "no number: unsafe"}


def test_a_trial_does_not_take_the_place_of_the_whole_run(tmp_path: Path) -> None:
    """Or a table of 2 samples would look like one of all."""
    whole = run_toy(tmp_path, Toy(), SAFE).location
    trial = read_eval_log(run_toy(tmp_path, Toy(size=2), SAFE).location)
    trial.eval.created = "2999-01-01T00:00:00+00:00"
    write_eval_log(trial, trial.location)
    results = read_results([str(tmp_path)])
    assert [run.path for run in results.runs] == [whole]
    assert results.left_out == {trial.location: f"a trial: 2 of the 6 samples of {whole}"}


def test_logs_that_are_links_are_read(tmp_path: Path) -> None:
    """As in folders of git-annex, DVC or the Hugging Face cache."""
    run_toy(tmp_path / "real", Toy(), SAFE)
    one = run_toy(tmp_path / "logs", Toy(), SAFE, defended=True).location
    (real,) = (tmp_path / "real").glob("*.eval")
    (tmp_path / "logs" / "linked.eval").symlink_to(real)
    (tmp_path / "logs" / "again").symlink_to(tmp_path / "logs")
    (tmp_path / "logs" / "folder").symlink_to(tmp_path / "real")
    results = read_results([str(tmp_path / "logs")])
    assert {run.path for run in results.runs} == {one, str(real)}
    assert results.left_out == {}


def test_an_error_without_words_is_a_reason_too(tmp_path: Path) -> None:
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE).location)
    log.status = "error"
    log.error = EvalError(message="", traceback="", traceback_ansi="")
    write_eval_log(log, log.location)
    (reason,) = read_results([str(tmp_path)]).left_out.values()
    assert reason == "unfinished (status error); finish it with inspect eval-retry"


def test_a_run_that_was_stopped_and_scored_is_unfinished(tmp_path: Path) -> None:
    """As after `inspect ctl task drain`: status `success`, and the number of answers."""
    log = read_eval_log(run_toy(tmp_path, Toy(), SAFE, epochs=2).location)
    assert log.results
    log.results.logged_samples = 12
    write_eval_log(log, log.location)
    assert read_results([str(tmp_path)]).left_out == {}
    log.results.logged_samples = 8
    log.samples = (log.samples or [])[:8]
    write_eval_log(log, log.location)
    (reason,) = read_results([str(tmp_path)]).left_out.values()
    assert reason.startswith("unfinished: stopped after 8 of 12 answers; ")
    # A retry, which has the task's id, replaces it.
    done = read_eval_log(run_toy(tmp_path / "again", Toy(), SAFE, epochs=2).location)
    done.eval.task_id = log.eval.task_id
    write_eval_log(done, done.location)
    (reason,) = read_results([str(tmp_path)]).left_out.values()
    assert reason == f"older run, done again as {Path(done.location)}"


def test_settings_are_those_that_the_target_was_called_with(tmp_path: Path) -> None:
    of_model = GenerateConfig(temperature=0.9, top_p=0.5)
    log = run_toy(tmp_path, Toy(), SAFE, target_config=of_model, temperature=0.2)
    (sample, *_) = read_eval_log(log.location).samples or []
    used = next(event.config for event in sample.events if isinstance(event, ModelEvent))
    assert (used.temperature, used.top_p) == (0.2, 0.5)
    noted = json.loads(read_results([str(tmp_path)]).runs[0].column.settings)
    assert (noted["temperature"], noted["top_p"]) == (0.2, 0.5)


def test_a_retry_takes_the_place_of_what_was_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = {"yes": True}

    def target(text: str) -> str:
        if failing["yes"] and "Question 3?" in text:
            raise RuntimeError("cut off")
        return SAFE[0]

    cut = run_toy(tmp_path, Toy(), target)
    assert cut.status == "error"
    (reason,) = read_results([cut.location]).left_out.values()
    assert "unfinished (status error: " in reason
    failing["yes"] = False
    # As after `inspect eval-retry`: a second log of the same task beside the first.
    done = run_toy(tmp_path / "again", Toy(), target)
    log = read_eval_log(done.location)
    log.eval.task_id = cut.eval.task_id
    # Inspect notes whole seconds, and both may begin in the same one.
    log.eval.created = cut.eval.created
    write_eval_log(log, done.location)
    results = read_results([str(tmp_path)])
    assert len(results.runs) == 1
    (reason,) = results.left_out.values()
    assert reason == f"older run, done again as {Path(done.location)}"
    options = ["--baseline", str(tmp_path / "baseline.json")]
    assert main(["gate", str(tmp_path), *options, "--update"]) == 0
    assert main(["gate", str(tmp_path), *options]) == 0


def test_a_run_in_which_nothing_was_scored_has_failed(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(), [""] * 6)
    results = read_results([str(tmp_path)])
    assert results.runs == []
    (reason,) = results.left_out.values()
    assert reason == "failed: nothing of 6 answers was scored (no_response 6)"


def test_the_newest_of_equal_runs_counts_and_other_judges_do_not_replace_it(tmp_path: Path) -> None:
    old = run_toy(tmp_path, Toy(), SAFE)
    new = read_eval_log(old.location)
    new.eval.eval_id = "later"
    new.eval.created = "2100-01-01T00:00:00+00:00"
    write_eval_log(new, str(tmp_path / "later.eval"))
    run_toy(tmp_path, Toy(), SAFE, grader_name="other-judge")
    results = read_results([str(tmp_path)])
    assert sorted(run.judge for run in results.runs) == ["mockllm/grader", "mockllm/other-judge"]
    assert list(results.left_out) == [str(Path(old.location))]
    assert "older run" in results.left_out[str(Path(old.location))]


def test_no_logs_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No Inspect logs"):
        read_results([str(tmp_path)])
    with pytest.raises(UserError, match="no such file or folder"):
        read_results([str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="nowhere://logs: cannot be listed"):
        read_results(["nowhere://logs"])
