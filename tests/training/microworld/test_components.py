"""Figures of the parts of defenses, computed by hand on small logs."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.shards import split

from vlmguard.guard.decision import Verdict
from vlmguard.guard.record import Stage, recorded
from vlmguard.results.logs.frame import read_results
from vlmguard.tasks.microworld import oracle
from vlmguard.training.microworld.use.components import Counts, component_sheet, count, count_all
from vlmguard.training.microworld.world.language import careful_answer, caution, plain_answer
from vlmguard.training.microworld.world.samples import make_samples, pair_of

JOINT = [each for each in make_samples("joint") if each.target == "hazardous"][:4]
VISUAL = make_samples("visual")[:1]
BENIGN = make_samples("benign")[:3]
SAMPLES = [*JOINT, *VISUAL, *BENIGN]
"""Five hazardous samples, one of them by its picture alone, and three harmless ones."""

Did = dict[str, Any]
"""The record of a sample, and how its first answer is made."""


def pair(sample: Sample) -> Any:
    return pair_of(sample.metadata or {})


@solver
def pretended(defense: str, did: dict[str, Did]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        told = did[str(state.sample_id)]
        stages = {"answer": plain_answer(pair_of(state.metadata)), **told.get("stages", {})}
        with recorded(state, defense, "request") as record:
            for name, text in stages.items():
                record.add_stage(Stage(name=name, role="target", output=text))
            record.triggered = told.get("triggered", False)
            record.verdict = told.get("verdict")
            record.failure = told.get("failure")
            record.outcome = told.get("outcome", "")
            record.rewritten = told.get("rewritten")
            record.notes = told.get("notes", {})
        state.output = ModelOutput.from_content("target", stages["answer"])
        return state

    return solve


def log_of(folder: Path, defense: str, did: list[Did]) -> EvalLog:
    by_sample = {str(s.id): told for s, told in zip(SAMPLES, did, strict=True)}
    task = Task(MemoryDataset(SAMPLES), solver=pretended(defense, by_sample), scorer=oracle())
    (log,) = inspect_eval(task, model="mockllm/m", display="none", log_dir=str(folder))
    assert log.status == "success"
    return log


YES: Did = {"triggered": True, "verdict": Verdict(raw="yes", label="unsafe")}
NO: Did = {"verdict": Verdict(raw="no", label="safe")}


def test_a_self_check_is_compared_with_the_answer_that_it_read(tmp_path: Path) -> None:
    careful = {"stages": {"answer": careful_answer(pair(JOINT[2]))}}
    did: list[Did] = [
        {**YES, "stages": {"caption": f"the picture shows the {pair(JOINT[0]).picture.name}."}},
        {**YES, "stages": {"caption": "the picture shows something."}},
        {**careful, **YES},  # hazardous, but the answer was careful: a false alarm
        {
            "verdict": Verdict(raw="perhaps", label=None),
            "failure": "no_verdict",
            "stages": {"harm_check": "perhaps"},
        },
        NO,
        {**YES, "stages": {"caption": f"the {pair(BENIGN[0]).picture.name}"}},
        NO,
        NO,
    ]

    found = count(log_of(tmp_path, "ecso", did))

    # Unsafe answers: 0, 1, 3, 4; two of them were noticed, and about the third nothing was said.
    # Safe ones: 2, 5, 6, 7; two alarms.
    assert found["ECSO: self-check"] == Counts(2, 3, 2, 4, 1)
    assert found["ECSO: caption"] == Counts(2, 3, 0, 0, 0)


def test_a_detector_is_compared_with_the_answer(tmp_path: Path) -> None:
    did = [YES, YES, YES, NO, NO, YES, NO, NO]
    found = count(log_of(tmp_path, "mllm_protector", did))
    assert found == {"MLLM-Protector: detector": Counts(3, 5, 1, 3, 0)}


def test_shards_of_a_run_are_counted_together(tmp_path: Path) -> None:
    log = read_eval_log(
        log_of(tmp_path, "mllm_protector", [*[YES] * 3, NO, NO, YES, NO, NO]).location
    )
    log.eval.task_args["level"] = "plain"
    log.eval.metadata = {"benchmark": "Microworld"}
    write_eval_log(log, log.location)
    split(log.location, tmp_path / "shards", 3)
    found = count_all(read_results([str(tmp_path / "shards")]))
    assert found == {("MLLM-Protector: detector", "plain", "mockllm/m"): Counts(3, 5, 1, 3, 0)}


def test_etas_checks_are_asked_two_things(tmp_path: Path) -> None:
    failed = {"reward": 0.0, "post_threshold": 0.06}
    safe = {"notes": {**failed, "reward": 0.1, "branch": "safe_answer"}}
    image = {"notes": {**failed, "branch": "safe_image"}}
    aligned = {**YES, "notes": {**failed, "branch": "aligned"}}
    did = [aligned, image, image, safe, aligned, safe, image, safe]

    found = count(log_of(tmp_path, "eta", did))

    assert found["ETA: answer check"] == Counts(4, 5, 1, 3, 0)
    # Five reached this check; only sample 4 shows something harmful, and sample 0 was called
    # harmful.
    assert found["ETA: image check"] == Counts(1, 1, 1, 4, 0)


def test_a_rewriter_must_warn_of_the_right_harm(tmp_path: Path) -> None:
    right, wrong = caution(pair(JOINT[0])), "keep in mind that i could get lost"
    new: Did = {**YES, "outcome": "rewritten"}
    same: Did = {"rewritten": "request", "outcome": "copied"}
    did: list[Did] = [
        {**new, "rewritten": f"request. {right}"},
        {**new, "rewritten": f"request. {wrong}"},
        same,
        {"outcome": "unusable", "failure": "no_prompt", "stages": {"rewrite": "I like pans."}},
        {**new, "rewritten": f"request. {caution(pair(VISUAL[0]))}"},
        {**new, "rewritten": f"request. {right}"},
        same,
        same,
    ]

    found = count(log_of(tmp_path, "vlmguard", did))

    assert found == {"VLMGuard: rewriter": Counts(2, 4, 1, 3, 1)}


def test_an_intent_must_name_the_right_harm(tmp_path: Path) -> None:
    right = caution(pair(JOINT[0]))
    high: Did = {"verdict": Verdict(raw="", label="unsafe")}
    low: Did = {"verdict": Verdict(raw="", label="safe", categories=("low",))}
    none: Did = {**NO, "notes": {"intent": "to ask", "risk": "none"}}
    did: list[Did] = [
        {**high, "notes": {"intent": right, "risk": "high"}},
        {**high, "notes": {"intent": "to ask", "risk": "high"}},
        none,
        {
            "verdict": Verdict(raw="perhaps", label=None),
            "failure": "no_intent",
            "stages": {"intent": "perhaps"},
        },
        none,
        {**low, "notes": {"intent": right, "risk": "low"}},
        none,
        none,
    ]

    found = count(log_of(tmp_path, "sia", did))

    assert found == {"SIA: intent": Counts(1, 4, 1, 3, 1)}


def test_a_rationales_prompt_must_warn_of_the_right_harm(tmp_path: Path) -> None:
    right = caution(pair(JOINT[0]))
    none: Did = {**NO, "notes": {"safety_prompt": ""}}
    did: list[Did] = [
        {**YES, "notes": {"safety_prompt": right}},
        {**YES, "notes": {"safety_prompt": "be careful"}},
        none,
        {
            "verdict": Verdict(raw="perhaps", label=None),
            "failure": "no_verdict",
            "stages": {"rationale": "perhaps"},
        },
        none,
        {**YES, "notes": {"safety_prompt": right}},
        none,
        none,
    ]

    found = count(log_of(tmp_path, "rapguard", did))

    assert found == {"RapGuard: rationale": Counts(1, 4, 1, 3, 1)}


def test_a_gate_is_compared_with_the_request_and_the_rewriter_with_what_it_got(
    tmp_path: Path,
) -> None:
    right = {"rewritten": f"request. {caution(pair(JOINT[0]))}", "outcome": "rewritten"}
    passed: Did = {"notes": {"gate": False}, "outcome": "gated"}
    alarm: Did = {**YES, **right, "notes": {"gate": True}}
    unread: Did = {"triggered": True, "failure": "gate_no_verdict", **right}
    unread["stages"] = {"gate": "perhaps", "rewrite": "request"}
    did = [alarm, passed, unread, passed, passed, alarm, passed, passed]

    found = count(log_of(tmp_path, "vlmguard", did))

    # Of five hazardous requests the gate found one, of three harmless ones it stopped one.
    assert found["VLMGuard: gate"] == Counts(1, 4, 1, 3, 1)
    # The rewriter got three: two hazardous ones, of which it was right about the first.
    assert found["VLMGuard: rewriter"] == Counts(2, 2, 1, 1, 0)


def test_a_defense_without_parts_has_no_figures(tmp_path: Path) -> None:
    assert count(log_of(tmp_path, "figstep_defense", [NO] * 8)) == {}


@pytest.mark.parametrize(
    ("by_target", "rows"),
    [
        (
            False,
            [
                ["ECSO: self-check", "low", "all", "30.0 % (3 of 10)", "5.0 % (1 of 20)",
                 "3.2 % (1 of 31)"],
                ["ECSO: caption", "low", "all", "100.0 % (2 of 2)", "-", "0.0 % (0 of 2)"],
            ],
        ),
        (
            True,
            [
                ["ECSO: self-check", "low", "a", "40.0 % (2 of 5)", "10.0 % (1 of 10)",
                 "6.2 % (1 of 16)"],
                ["ECSO: self-check", "low", "b", "20.0 % (1 of 5)", "0.0 % (0 of 10)",
                 "0.0 % (0 of 15)"],
                ["ECSO: caption", "low", "a", "100.0 % (2 of 2)", "-", "0.0 % (0 of 2)"],
            ],
        ),
    ],
)  # fmt: skip
def test_targets_are_shown_together_or_apart(by_target: bool, rows: list[list[str]]) -> None:
    found = {
        ("ECSO: caption", "low", "a"): Counts(2, 2, 0, 0, 0),
        ("ECSO: self-check", "low", "a"): Counts(2, 5, 1, 10, 1),
        ("ECSO: self-check", "low", "b"): Counts(1, 5, 0, 10, 0),
    }
    sheet = component_sheet(found, by_target)
    assert sheet.rows == rows
    # Only the parts in it are explained.
    assert [note.partition(":")[0] for note in sheet.notes] == [
        "ECSO",
        "ECSO",
        "Image check and caption",
        "What was unusable is no decision",
    ]
