"""The gate: what passes, what is worse, what cannot be compared, and its report for CI."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from inspect_ai.log import EvalLog
from support.clones import clone, not_asked, template_log

from vlmguard.cli import main

SIZE = 160
BENIGN = 40

Gate = Callable[..., int]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template_log(tmp_path_factory.mktemp("template"), SIZE, BENIGN)


def guarded(seed: int, weakness: str = "") -> Callable[[int], tuple[float, float, float]]:
    """A guard in front of a target that samples its answers.

    Seven of ten risky questions get unsafe answers unless they are rewritten; rewriting works in
    nine of ten. A seed changes only the target's sampling: each grade by a point, and one in ten
    answers completely.
    """
    world, chance = random.Random(7), random.Random(seed)
    facts = [(world.random(), world.random(), world.random()) for _ in range(SIZE)]

    def grades(number: int) -> tuple[float, float, float]:
        risky, works, lost = facts[number]
        benign = number >= SIZE - BENIGN
        rewritten = weakness != "identity" and not (weakness == "diluted" and lost < 0.3)
        if weakness == "refuses":
            return 10.0, 0.0, 1.0
        safe = benign or risky > 0.7 or (rewritten and works < 0.9)
        if chance.random() < 0.1:
            safe = chance.random() < (0.95 if rewritten or benign else 0.35)
        safety = (9.0 if safe else 3.0) + chance.choice([-1.0, 0.0, 0.0, 1.0])
        return safety, float(chance.random() < (0.93 if safe else 0.8)), 0.0

    return grades


@pytest.fixture
def baseline(log: EvalLog, tmp_path: Path, gate: Gate) -> Path:
    clone(log, tmp_path / "base" / "a.eval", guarded(0), defense="vlmguard")
    assert gate("base", "--update") == 0
    return tmp_path / "baseline.json.gz"


def test_the_same_run_passes(
    baseline: Path, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate("base") == 0
    assert gate("base", "--strict") == 0
    assert "Passed: nothing is shown to be worse." in capsys.readouterr().out


def test_ten_reruns_pass(baseline: Path, log: EvalLog, gate: Gate, tmp_path: Path) -> None:
    for seed in range(1, 11):

        def reseed(copied: EvalLog, seed: int = seed) -> None:
            copied.plan.config.seed = seed

        clone(
            log, tmp_path / f"{seed}" / "a.eval", guarded(seed), defense="vlmguard", change=reseed
        )
        assert gate(str(seed)) == 0, seed


@pytest.mark.parametrize(
    ("weakness", "measure"),
    [("identity", "Safety 0-10"), ("refuses", "Helpful %"), ("diluted", "Safety 0-10")],
)
def test_weakened_rewriters_are_caught(
    baseline: Path,
    log: EvalLog,
    gate: Gate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    weakness: str,
    measure: str,
) -> None:
    clone(log, tmp_path / "new" / "a.eval", guarded(3, weakness), defense="vlmguard")
    assert gate("new", "--junit", str(tmp_path / "junit.xml")) == 1
    out = capsys.readouterr().out
    assert f"WORSE: toy all, target, vlmguard: {measure}: loss of" in out
    assert "toy/" in out
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    failed = [
        case.get("name") for case in root.iter("testcase") if case.find("failure") is not None
    ]
    assert "safety" in failed or weakness == "refuses"
    assert int(root[0].get("failures", "0")) == len(failed)


def test_a_loss_within_tolerance_passes(
    baseline: Path, log: EvalLog, gate: Gate, tmp_path: Path
) -> None:
    # Every safe answer is a tenth of a point lower: most significant, but half of the tolerance.
    base = guarded(0)
    grades = [base(number) for number in range(SIZE)]

    def lower(number: int) -> tuple[float, float, float]:
        safety, helpful, refused = grades[number]
        return safety - (0.1 if safety > 7.5 else 0.0), helpful, refused

    clone(log, tmp_path / "lower" / "a.eval", lower, defense="vlmguard")
    assert gate("lower") == 0
    assert gate("lower", "--tolerance", "safety=0.01") == 1
    clone(log, tmp_path / "new" / "a.eval", guarded(0, "diluted"), defense="vlmguard")
    assert gate("new") == 1
    wide = [
        "--tolerance",
        "safety=5",
        "--tolerance",
        "safe_and_helpful=1",
        "--tolerance",
        "helpful=1",
    ]
    assert gate("new", *wide) == 0
    clone(log, tmp_path / "new" / "a.eval", guarded(0), defense="vlmguard")
    for wrong in ("safety", "safety=nan", "safety=-1", "safty=5"):
        assert gate("base", "--tolerance", wrong) == 2


def test_limits_can_be_widened(
    baseline: Path, log: EvalLog, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def put(
        folder: str, failures: int = 0, change: Callable[[EvalLog], None] = lambda log: None
    ) -> None:
        place = tmp_path / folder / "a.eval"
        clone(log, place, guarded(0), defense="vlmguard", failures=failures, change=change)

    put("unscored", change=leave_unscored)
    assert gate("unscored") == 2
    assert gate("unscored", "--max-unscored", "0.2") == 0
    put("failing", failures=60)
    assert gate("failing") == 2
    assert gate("failing", "--max-failures", "0.4") == 0
    put("fewer", change=leave_out)
    assert gate("fewer") == 2
    capsys.readouterr()
    assert gate("fewer", "--intersect") == 0
    assert "on 150 samples" in capsys.readouterr().out
    assert gate("unscored", "--max-unscored", "20") == 2
    assert "--max-unscored=20.0" in capsys.readouterr().err


def small_log(log: EvalLog, size: int) -> Callable[[EvalLog], None]:
    def cut(copied: EvalLog) -> None:
        copied.samples = (copied.samples or [])[:size]

    return cut


def test_too_few_samples_to_tell(
    log: EvalLog, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def new(number: int) -> tuple[float, float, float]:
        return (2.0 if number == 0 else 9.0), 1.0, 0.0

    for folder, grades in (("base", lambda _: (9.0, 1.0, 0.0)), ("new", new)):
        clone(
            log, tmp_path / folder / "a.eval", grades, defense="vlmguard", change=small_log(log, 8)
        )
    assert gate("base", "--update") == 0
    assert gate("new") == 0
    assert "loss of 12.5 on 8 samples, not proven" in capsys.readouterr().out
    assert gate("new", "--strict") == 2


def change_version(log: EvalLog) -> None:
    log.eval.task_version = "2-A"


def change_data(log: EvalLog) -> None:
    log.eval.metadata = {**(log.eval.metadata or {}), "data": {"files": {"x": "other"}}}


def change_judge(log: EvalLog) -> None:
    for sample in log.samples or []:
        sample.scores["judge"].metadata["judges"] = ["other"]  # type: ignore[index]


def change_template(log: EvalLog) -> None:
    for sample in log.samples or []:
        sample.scores["judge"].metadata["judge_template"] = "ffff"  # type: ignore[index]


def leave_out(log: EvalLog) -> None:
    log.samples = (log.samples or [])[10:]


def leave_unscored(log: EvalLog) -> None:
    for sample in (log.samples or [])[:30]:
        sample.scores["judge"].value = dict.fromkeys(  # type: ignore[index]
            ("safety", "helpful", "safe_and_helpful"), float("nan")
        )


def measure_less(log: EvalLog) -> None:
    not_asked(log, "judge", "helpful")


def leave_unfinished(log: EvalLog) -> None:
    log.status = "started"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_version, "task version changed"),
        (change_data, "data changed"),
        (change_judge, "judge or templates changed"),
        (change_template, "judge or templates changed"),
        (leave_out, "other samples than in the baseline (150 shared of 150 and 160)"),
        (leave_unscored, "18.8% of the answers unscored"),
        (leave_unfinished, "status started"),
        (measure_less, "helpful is in the baseline and was not measured"),
    ],
)
def test_what_cannot_be_compared_is_status_2(
    baseline: Path,
    log: EvalLog,
    gate: Gate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[EvalLog], None],
    reason: str,
) -> None:
    clone(log, tmp_path / "new" / "a.eval", guarded(1), defense="vlmguard", change=change)
    assert gate("new") == 2
    said = capsys.readouterr()
    assert reason in said.out + said.err


def test_a_measure_that_the_baseline_lacks_makes_it_stale(
    log: EvalLog, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone(log, tmp_path / "old" / "a.eval", guarded(0), defense="vlmguard", change=measure_less)
    clone(log, tmp_path / "new" / "a.eval", guarded(0), defense="vlmguard")
    assert gate("old", "--update") == 0
    assert gate("new") == 2
    assert "helpful measured now and not in the baseline" in capsys.readouterr().out


def test_guard_failures_and_missing_runs_are_status_2(
    baseline: Path, log: EvalLog, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone(log, tmp_path / "new" / "a.eval", guarded(1), defense="vlmguard", failures=60)
    assert gate("new") == 2
    assert "unusable in 37.5% of the samples" in capsys.readouterr().out
    clone(log, tmp_path / "other" / "a.eval", guarded(1), defense="ecso")
    assert gate("other") == 2
    out = capsys.readouterr().out
    assert "no log of it was given" in out
    assert "not in the baseline" in out


def test_step_summary_and_unreadable_baselines(
    baseline: Path, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert gate("base") == 0
    assert (
        "| toy all, target, vlmguard | as good or better |" in (tmp_path / "summary.md").read_text()
    )
    for content in (b"", b"{", json.dumps({"format": 9}).encode(), b'{"format": 1, "runs": [{}]}'):
        (tmp_path / "broken.json").write_bytes(content)
        status = main(["gate", str(tmp_path / "base"), "--baseline", str(tmp_path / "broken.json")])
        assert status == 2


def test_baseline_is_reproducible_and_never_half_written(
    baseline: Path, gate: Gate, log: EvalLog, tmp_path: Path
) -> None:
    before = baseline.read_bytes()
    assert gate("base", "--update") == 0
    assert baseline.read_bytes() == before
    clone(log, tmp_path / "bad" / "a.eval", guarded(1), defense="vlmguard")
    (tmp_path / "bad" / "cut.eval").write_bytes(b"PK")
    assert gate("bad", "--update") == 2
    assert baseline.read_bytes() == before
