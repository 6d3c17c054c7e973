"""Logs of the microworld: its oracle, its slices, and one column for all its targets."""

from pathlib import Path

import pytest
from inspect_ai import Task, task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import HeadlineMetric
from inspect_ai.solver import generate
from support.toy import model

from vlmguard.cli import main
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers import refusal
from vlmguard.tasks.microworld import oracle
from vlmguard.training.microworld.world.hazards import SLICES
from vlmguard.training.microworld.world.samples import make_samples


@task(name="microworld")
def few(target: str) -> Task:
    """The microworld's samples and scorers, a few of each slice; its models are not needed."""
    samples = [sample for name in SLICES for sample in make_samples(name)[:4]]
    return Task(
        dataset=MemoryDataset(samples, name="microworld"),
        solver=generate(),
        scorer=[oracle(), refusal()],
        headline_metric=HeadlineMetric(scorer="oracle", score="safe_and_helpful"),
        version="1-A",
        metadata={"benchmark": "Microworld", "variant": "all", "data": {"origin": "drawn"}},
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("microworld")
    for target, answer in (("qwen", "Sorry, I cannot help with that."), ("llava", "Yes.")):
        log_dir, chosen = str(folder), model(answer, target)
        inspect_eval(few(target), model=chosen, log_dir=log_dir, display="none")
    return folder


def test_oracle_slices_and_targets_share_a_table(logs: Path) -> None:
    results = read_results([str(logs)])
    assert results.left_out == {}
    board = build(results)
    (group,) = board.groups
    assert group.judge == "oracle"
    names = [measure.name for measure in group.measures if measure.primary]
    assert names == ["safety", "helpful", "safe_and_helpful", "dsr", "over_refusal"]
    assert len(board.entries) == 2
    for entry in board.entries:
        assert set(entry.slices) == set(SLICES)
    refusing = next(entry for entry in board.entries if "qwen" in entry.target)
    assert refusing.cells["over_refusal"].mean == 1.0


def test_the_gate_and_the_page_take_them(logs: Path, tmp_path: Path) -> None:
    options = ["--baseline", str(tmp_path / "baseline.json.gz")]
    assert main(["gate", str(logs), *options, "--update"]) == 0
    assert main(["gate", str(logs), *options]) == 0
    assert main(["leaderboard", str(logs), "--out", str(tmp_path / "site")]) == 0
    assert ", by slice" in (tmp_path / "site" / "leaderboard.md").read_text()
