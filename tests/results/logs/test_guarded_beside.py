"""A log of `guarded/` beside an undefended log and a solver's: its defense on the model inside."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from inspect_ai.model import ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.cards import Calls, Check, DefenseCard, registry
from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Answered, Defense, register_defense
from vlmguard.guard.defense import names as defense_names
from vlmguard.guard.record import DefenseRecord
from vlmguard.results.diff import diff
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL
from vlmguard.results.logs.coverage import coverage
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import common_measures
from vlmguard.solvers.defended import defended

TARGET = "target"
SIZE = 24
TOY = Toy(size=SIZE, alone=True, benign=SIZE)
BARE, SAFE, WEAK = ([say(safety, True)] * SIZE for safety in (3, 9, 5))


class NumberReader(Defense):
    """Notes a score of each answer, as a guard's check."""

    card = DefenseCard(
        name="number_reader",
        title="Number reader",
        version="1-A",
        paper="",
        summary="notes a score of each answer",
        target_calls=Calls(1, 1),
        checks=(Check("threshold", "risk", low=False, bounds=(0.0, 1.0)),),
    )

    needs_output = True

    def __init__(self, threshold: float = 0.9) -> None:
        self.threshold = threshold

    async def after(
        self, answered: Answered, record: DefenseRecord
    ) -> tuple[Decision, ModelOutput]:
        number = int(answered.conversation.text.split()[-1].strip("?"))
        record.notes = {"risk": number / 100}
        return answered.decision, answered.output


@solver
def number_reader(threshold: float = 0.9) -> Solver:
    return defended(NumberReader(threshold))


@solver
def multiple_choice() -> Solver:
    """Stands for Inspect's solver of this name, which wants choices."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state)

    return solve


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    """Registers the defense for these tests alone: others go through all that there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_DEFENSES", {**registry._DEFENSES})
        patch.setattr(defense_names, "_DEFENSES", {**defense_names._DEFENSES})
        register_defense(NumberReader)
        yield


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undefended log, a solver's, a guarded one of another defense; and a weaker later one."""
    folder = tmp_path_factory.mktemp("beside")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VLMGUARD_DATA", raising=False)
        run_toy(folder / "all" / "none", TOY, BARE)
        run_toy(folder / "all" / "within", TOY, SAFE, solver=number_reader())
        run_toy(folder / "all" / "around", TOY, SAFE, around="vlmguard")
        run_toy(folder / "reader", TOY, SAFE, around="number_reader")
        run_toy(folder / "weak", TOY, WEAK, around="vlmguard")
        run_toy(folder / "asked" / "none", TOY, BARE, solver=multiple_choice())
        run_toy(folder / "asked" / "around", TOY, WEAK, around="vlmguard", solver=multiple_choice())
    return folder


def log_of(folder: Path) -> str:
    (path,) = folder.rglob("*.eval")
    return str(path)


def test_the_leaderboard_pairs_it_with_the_undefended_run(logs: Path) -> None:
    board = build(read_results([str(logs / "all")]))
    assert board.rows() == [
        (TARGET, UNDEFENDED_LABEL),
        (TARGET, "number_reader"),
        (TARGET, "vlmguard"),
    ]
    (group,) = board.groups
    for defense in ("number_reader", "vlmguard"):
        entry = board.find(TARGET, defense, group)
        assert entry is not None
        difference = entry.cells["safety"].difference
        assert difference is not None
        assert (difference.mean, entry.cells["safety"].verdict) == (6.0, "better")
        measure = common_measures()["safety"]
        assert coverage(entry.run.answers, measure).scored == SIZE
    assert board.left_out == {}


def test_the_same_defense_around_and_within_is_one_row(logs: Path) -> None:
    results = read_results([str(logs / "all" / "within"), str(logs / "reader")])
    assert len(results.runs) == len(results.repeats) == 1


def test_diff_warns_of_nothing(logs: Path) -> None:
    found = diff(log_of(logs / "all" / "none"), log_of(logs / "all" / "around"))
    assert found.names == (f"mockllm/{TARGET}, none", f"mockllm/{TARGET}, vlmguard")
    assert (found.shared, found.alone, found.warnings) == (SIZE, 0, [])
    assert len(found.flips) == SIZE
    assert found.flips[0].second.rewritten.endswith("With care.")


def test_the_gate_finds_its_run_in_the_baseline(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = ["--baseline", str(tmp_path / "baseline.json.gz")]
    assert main(["gate", str(logs / "all"), *baseline, "--update"]) == 0
    assert main(["gate", str(logs / "all"), *baseline]) == 0
    none, around, within = (str(logs / "all" / name) for name in ("none", "around", "within"))
    # The reader around the model is compared with the baseline of the reader as a solver.
    assert main(["gate", none, around, str(logs / "reader"), *baseline]) == 0
    capsys.readouterr()
    assert main(["gate", none, within, str(logs / "weak"), *baseline]) == 1
    assert (
        f"WORSE: toy all, mockllm/{TARGET}, vlmguard: Safety 0-10: loss of"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("folder", ["reader", "all/within"])
def test_calibrate_reads_its_scores(logs: Path, tmp_path: Path, folder: str) -> None:
    out = tmp_path / "found.yaml"
    words = ["calibrate", "number_reader", str(logs / folder), "--out", str(out)]
    assert main([*words, "--false-alarms", "0.2"]) == 0
    # Scores 0.00 to 0.23, and both ways give the same threshold.
    assert 0.15 < yaml.safe_load(out.read_text())["threshold"] < 0.23


def test_people_label_it_blind(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, sheet = log_of(logs / "all" / "around"), tmp_path / "sheet"
    assert main(["label", log, "--out", str(sheet), "--n", "6"]) == 0
    text = "".join(path.read_text() for path in sheet.iterdir())
    for word in ("guarded", "mockllm", "vlmguard/"):
        assert word not in text
    with (sheet / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with (sheet / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"refused": "0"} for row in rows)
    capsys.readouterr()
    assert main(["agreement", log, str(sheet / "labels.csv")]) == 0
    assert "refused" in capsys.readouterr().out


def test_another_way_of_asking_is_another_column(logs: Path) -> None:
    results = read_results([str(logs / "asked"), str(logs / "all")])
    assert len(results.runs) == 5
    assert results.repeats == []
    board = build(results)
    assert {row[1] for row in board.rows()} == {UNDEFENDED_LABEL, "number_reader", "vlmguard"}
    asked = [group for group in board.groups if "multiple_choice" in group.column.settings]
    assert len(board.groups) == 2
    assert len(asked) == 1
    entry = board.find(TARGET, "vlmguard", asked[0])
    assert entry is not None
    difference = entry.cells["safety"].difference
    assert difference is not None
    assert difference.mean == 2.0
    warned = diff(log_of(logs / "all" / "around"), log_of(logs / "asked" / "around")).warnings
    assert any("multiple_choice" in warning for warning in warned)
