"""The gate and whole kinds of hazard: it finds a guard that lost one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, read_eval_log, recompute_metrics, write_eval_log
from support.clones import clone, template_log
from support.lost_kinds import KINDS, guarded_log, write_copy

from vlmguard.cli import main
from vlmguard.guard.record import ANSWER_DIGEST, answer_digest
from vlmguard.results.gate.baseline import read_baseline

Gate = Callable[..., int]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return guarded_log(tmp_path_factory.mktemp("guarded"))


@pytest.fixture(scope="module")
def baseline(log: EvalLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of two runs that agree sample by sample."""
    folder = tmp_path_factory.mktemp("baseline")
    for name in ("a", "b"):
        write_copy(log, folder / "logs" / f"{name}.eval")
    path = folder / "baseline.json.gz"
    assert main(["gate", str(folder / "logs"), "--baseline", str(path), "--update"]) == 0
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_kind_of_hazard_fails(
    kind: str, log: EvalLog, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = write_copy(log, tmp_path / "a.eval", KINDS[kind])
    assert lost
    assert main(["gate", str(tmp_path), "--baseline", str(baseline)]) == 1
    assert f"lost in {lost}: microworld/" in capsys.readouterr().out


def test_a_run_that_lost_nothing_passes(
    log: EvalLog, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_copy(log, tmp_path / "a.eval")
    assert main(["gate", str(tmp_path), "--baseline", str(baseline), "--strict"]) == 0
    assert "Passed" in capsys.readouterr().out


def test_a_baseline_says_under_what_it_is_deterministic(baseline: Path) -> None:
    (row,) = read_baseline(baseline)
    said = row.deterministic
    assert said["target"] == "mockllm/target"
    assert '"temperature": 0.0' in said["settings"]
    assert "inspect_ai" in said["versions"]
    assert said["logs"] == "a.eval, b.eval"


def test_a_kind_that_is_not_measured_any_more_is_not_compared(
    log: EvalLog, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_copy(log, tmp_path / "a.eval")
    read = read_eval_log(str(tmp_path / "a.eval"))
    for sample in read.samples or []:
        if sample.metadata["category"] == "height":  # 30 of 412: within the tolerance
            sample.scores["oracle"].value = dict.fromkeys(  # type: ignore[index]
                ("safety", "helpful", "safe_and_helpful"), float("nan")
            )
    write_eval_log(read, str(tmp_path / "a.eval"))
    assert main(["gate", str(tmp_path), "--baseline", str(baseline)]) == 2
    assert "30 of 30 samples of category height have no value now" in capsys.readouterr().out


# When a baseline is deterministic, on small logs.

SIZE = 40


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template_log(tmp_path_factory.mktemp("template"), SIZE)


Put = Callable[..., None]


@pytest.fixture
def put(small: EvalLog, tmp_path: Path) -> Put:
    """A run that is unsafe in its first `lost` samples."""

    def write(
        name: str, lost: int = 0, change: Callable[[EvalLog], None] = lambda log: None
    ) -> None:
        def grades(number: int) -> tuple[float, float, float]:
            return (2.0 if number < lost else 9.0), 1.0, 0.0

        clone(small, tmp_path / f"{name}.eval", grades, defense="vlmguard", change=change)

    return write


def reseed(log: EvalLog) -> None:
    log.plan.config.seed = 7


def say_otherwise(log: EvalLog) -> None:
    """Change the answer, and its digest in the score."""
    assert log.samples
    sample = log.samples[3]
    sample.output.completion = "In other words."
    for score in (sample.scores or {}).values():
        digest = answer_digest(sample.output.completion)
        score.metadata = {**(score.metadata or {}), ANSWER_DIGEST: digest}


def test_a_loss_needs_no_proof_where_two_runs_agree(
    put: Put, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    put("base/a")
    put("base/b")
    put("new/a", lost=2)
    put("seed/a", lost=2, change=reseed)
    assert gate("base", "--update") == 0
    assert "deterministic: 2 runs agree in all 40 samples" in capsys.readouterr().out
    assert gate("new") == 1
    assert "Safe & helpful %: loss of 5.0 on 40 samples" in capsys.readouterr().out
    # Not the conditions of the two runs that agreed: this loss may be chance.
    assert gate("seed") == 0


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({}, "not deterministic, as far as one run can tell"),
        ({"lost": 1}, "not deterministic: 2 runs differ in 1 of 40 samples (e.g. toy/"),
        (
            {"change": say_otherwise},
            "not deterministic: 2 runs differ in 1 of 40 samples (e.g. toy/",
        ),
    ],
)
def test_without_two_runs_that_agree_a_loss_needs_a_proof(
    second: dict[str, object],
    reason: str,
    put: Put,
    gate: Gate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if second:
        put("base/a", **second)
    put("base/b")  # The newest counts.
    if not second:  # A copy is not a second run.
        (tmp_path / "base" / "a.eval").write_bytes((tmp_path / "base" / "b.eval").read_bytes())
    put("new/a", lost=3)
    put("gone/a", lost=20)
    assert gate("base", "--update") == 0
    out = capsys.readouterr().out
    assert reason in out
    # Three tests together: 2^-6 is above 0.04/3. Six images, two samples each, of 40.
    assert "smallest provable loss: Safety 0-10 2.70" in out
    assert "Safe & helpful % 30.0" in out
    assert gate("new") == 0
    said = capsys.readouterr().out
    assert (
        "Safe & helpful %: loss of 7.5 on 40 samples, not proven (smallest provable loss: 30.0)"
        in said
    )
    assert gate("new", "--strict") == 2
    assert gate("gone") == 1


def cached(log: EvalLog) -> None:
    log.plan.config.cache = True


def retried(log: EvalLog) -> None:
    """Two samples were kept from an earlier run."""
    for number, sample in enumerate((log.samples or [])[:2]):
        sample.uuid = f"kept-{number}"


def answered_from_a_cache(log: EvalLog) -> None:
    """By a solver's own `generate(cache=True)`, which is not in the settings."""
    for number, sample in enumerate((log.samples or [])[:3]):
        sample.output.choices[0].message.id = f"message-{number}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cached, "run with a cache, which may have answered calls"),
        (retried, "the logs share 2 answers, which were made once"),
        (answered_from_a_cache, "the logs share 3 answers, which were made once"),
    ],
)
def test_answers_that_were_made_once_prove_no_determinism(
    change: Callable[[EvalLog], None],
    reason: str,
    put: Put,
    gate: Gate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("base/a", change=change)
    put("base/b", change=change)
    assert gate("base", "--update") == 0
    assert f"not deterministic, as far as can be told: {reason}" in (
        capsys.readouterr().out.replace("a.eval was ", "").replace("b.eval was ", "")
    )
    (row,) = read_baseline(tmp_path / "baseline.json.gz")
    assert not row.deterministic


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("temperature", 0.7, "settings changed since the baseline (temperature not set -> 0.7)"),
        ("epochs", 3, "epochs not set -> 3"),
    ],
)
def test_other_temperature_or_epochs_are_not_compared(
    setting: str,
    value: float,
    said: str,
    put: Put,
    gate: Gate,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def change(log: EvalLog) -> None:
        setattr(log.eval.config if setting == "epochs" else log.plan.config, setting, value)
        log.eval.dataset.sample_ids = None  # Its answers stay as many as they are.
        recompute_metrics(log)

    put("base/a")
    put("new/a", change=change)
    assert gate("base", "--update") == 0
    assert gate("new") == 2
    assert said in capsys.readouterr().out


def test_a_baseline_that_loses_its_determinism_says_so(
    put: Put, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    put("base/a")
    put("base/b")
    put("one/a")
    assert gate("base", "--update") == 0
    assert gate("one", "--update") == 0
    assert "no longer deterministic: give two runs that agree" in capsys.readouterr().out
