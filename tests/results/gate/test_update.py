"""Writing the gate's baseline: runs are added, replaced, kept, refused; several runs of a name."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelConfig
from support.clones import clone, not_asked, template_log

from vlmguard.guard.cards import cards
from vlmguard.results.gate.baseline import read_baseline
from vlmguard.tasks.microworld import VERSION

Gate = Callable[..., int]
Change = Callable[[EvalLog], None]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template_log(tmp_path_factory.mktemp("template"), 20)


@pytest.fixture
def put(log: EvalLog, tmp_path: Path) -> Callable[..., None]:
    """Write the log of a run with this safety into a folder."""

    def write(
        name: str,
        safety: float = 9.0,
        defense: str = "vlmguard",
        change: Change = lambda log: None,
        **more: Any,
    ) -> None:
        place = tmp_path / f"{name}.eval"
        grades = (safety, 1.0, 0.0)
        clone(log, place, lambda _: grades, defense=defense, change=change, **more)

    return write


def labels(tmp_path: Path) -> list[str]:
    runs = json.loads(gzip.decompress((tmp_path / "baseline.json.gz").read_bytes()))["runs"]
    return [f"{run['target']}, {run['defense']}" for run in runs]


def with_args(rewriter: str, **args: object) -> Change:
    def change(log: EvalLog) -> None:
        log.eval.solver_args_passed = args
        log.eval.model_roles = {"rewriter": ModelConfig(model=rewriter)}

    return change


def test_an_update_leaves_other_runs_alone(
    put: Callable[..., None], gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("one/a")
    put("one/b", defense="ecso")
    put("two/a", safety=8.0)
    put("two/c", target="other")
    assert gate("one", "--update") == 0
    assert gate("two", "--update") == 0
    assert labels(tmp_path) == ["other, vlmguard", "target, ecso", "target, vlmguard"]
    out = capsys.readouterr().out
    assert "added: toy all, other, vlmguard" in out
    assert "kept: toy all, target, ecso" in out
    assert "replaced: toy all, target, vlmguard" in out
    put("three/a", safety=8.0)
    put("three/b", defense="ecso")
    put("three/c", target="other")
    assert gate("three") == 0


def test_what_a_replaced_run_loses_is_said(
    put: Callable[..., None], gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    def fewer(log: EvalLog) -> None:
        log.samples = (log.samples or [])[:15]
        not_asked(log, "judge", "helpful")

    put("one/a")
    put("two/a", change=fewer)
    assert gate("one", "--update") == 0
    assert gate("two", "--update") == 0
    out = capsys.readouterr().out
    assert "no longer holds helpful; no longer holds 5 of its 20 samples" in out


def never_helpful(log: EvalLog) -> None:
    for sample in log.samples or []:
        score = (sample.scores or {})["judge"]
        score.value["helpful"] = float("nan")  # type: ignore[index, call-overload]
        score.metadata = {**(score.metadata or {}), "unscored": {"helpful": "invalid_format"}}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"failures": 10}, "toy all, target, vlmguard: the guard's output was unusable in 50.0%"),
        (
            {"change": never_helpful},
            "helpful: 100.0% of the answers unscored, more than 10.0% (--max-unscored, a share",
        ),
        ({"change": lambda log: setattr(log, "status", "started")}, "unfinished"),
    ],
)
def test_what_the_gate_would_refuse_becomes_no_baseline(
    put: Callable[..., None],
    gate: Gate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    bad: dict[str, object],
    reason: str,
) -> None:
    put("good/a")
    assert gate("good", "--update") == 0
    before = (tmp_path / "baseline.json.gz").read_bytes()
    put("bad/a", **bad)
    put("bad/b", defense="ecso")
    assert gate("bad", "--update") == 2
    assert reason in capsys.readouterr().err
    assert (tmp_path / "baseline.json.gz").read_bytes() == before


def test_an_answer_without_a_tally_is_no_failure_of_the_guard(
    put: Callable[..., None], gate: Gate, tmp_path: Path
) -> None:
    def forget(log: EvalLog) -> None:
        for sample in (log.samples or [])[:8]:
            for score in (sample.scores or {}).values():
                del (score.metadata or {})["defense"]

    put("one/a", change=forget)
    assert gate("one", "--update") == 0
    assert gate("one", "--max-failures", "0") == 0


def test_an_ablation_goes_through_the_gate_row_by_row(
    put: Callable[..., None], gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        "zero_shot": with_args("m/base"),
        "no_reasoning": with_args("m/base", reasoning=False),
        "trained": with_args("m/tuned"),
        "refusing": with_args("m/base", on_failure="refuse"),
    }
    for name, change in changes.items():
        put(f"base/{name}", change=change)
        put(f"new/{name}", change=change)
    assert gate("base", "--update") == 0
    assert gate("new") == 0
    put("new/no_reasoning", safety=3.0, change=changes["no_reasoning"])
    assert gate("new") == 1
    out = capsys.readouterr().out
    name = "toy all, target, vlmguard (reasoning=false; rewriter=m/base)"
    assert f"WORSE: {name}: Safety 0-10: loss of 6.00 on 20 samples" in out
    assert "WORSE: toy all, target, vlmguard (rewriter=m/tuned)" not in out
    # The guard may change if the arguments still show which run is meant.
    put("new/no_reasoning", change=with_args("m/better", reasoning=False))
    assert gate("new") == 0
    # But among two runs with the same arguments it is not clear which one the new run replaces.
    put("new/trained", change=with_args("m/better"))
    assert gate("new") == 2
    out = capsys.readouterr().out
    assert "(rewriter=m/tuned): in the baseline, but no log of it was given" in out
    assert "(rewriter=m/better): not in the baseline" in out


def test_a_lone_run_is_compared_whatever_its_guard(put: Callable[..., None], gate: Gate) -> None:
    put("base/a", change=with_args("m/base"))
    put("new/a", change=with_args("m/other", reasoning=False))
    assert gate("base", "--update") == 0
    assert gate("new") == 0


def test_two_runs_of_one_thing_under_other_conditions_are_refused(
    put: Callable[..., None], gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    def newer(log: EvalLog) -> None:
        log.eval.task_version = "2-A"

    put("base/a")
    put("base/b", change=newer)
    assert gate("base", "--update") == 2
    assert "a.eval and b.eval are both toy all, target, vlmguard" in capsys.readouterr().err


def test_the_baseline_of_this_repository_names_the_versions_of_today(repo: Path) -> None:
    runs = read_baseline(repo / "results" / "baseline.json.gz")

    # Where they differ, `make baseline` renews it.
    assert [(run.benchmark, run.conditions["task version"]) for run in runs] == [
        ("microworld", VERSION)
    ]
    assert [run.provenance["defense_version"] for run in runs] == [
        cards().defenses[run.defense].version for run in runs
    ]
