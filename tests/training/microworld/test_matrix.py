"""The paper's experiment in small: runs, tables and page, on two samples of each slice."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from vlmguard.errors import UserError
from vlmguard.results.frame import read_results
from vlmguard.results.run import Matrix
from vlmguard.training.microworld.matrix import CONTROLS, DEFENSES, plan, run_all
from vlmguard.training.microworld.report import report
from vlmguard.training.microworld.samples import make_samples
from vlmguard.training.microworld.world import SLICES

PICKED = [str(sample.id) for name in SLICES for sample in make_samples(name)[:2]]


def small(folder: Path, levels: list[str]) -> list[Matrix]:
    matrices = plan(["qwen2-vl"], levels, folder)
    for matrix in matrices:
        matrix.options["sample_id"] = PICKED
    return matrices


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    run_all(small(folder, ["low"]), 2, print)
    return folder


@pytest.mark.slow
def test_every_defense_and_control_is_run_on_every_slice(logs: Path) -> None:
    results = read_results([str(logs)])

    assert results.left_out == {}
    assert {run.defense for run in results.runs} == {*DEFENSES, *CONTROLS}
    for number, run in enumerate(results.runs):
        assert run.target == "microworld/qwen2-vl/low"
        assert set(results.samples(number).index) == set(PICKED)


@pytest.mark.slow
def test_what_is_done_is_not_done_again(logs: Path) -> None:
    before = sorted(logs.rglob("*.eval"))
    told: list[str] = []

    run_all(
        [each for each in small(logs, ["low"]) if each.defenses[0].name == "none"], 1, told.append
    )

    assert sorted(logs.rglob("*.eval")) == before
    assert told[0].startswith("[1/1] none on microworld/qwen2-vl/low")


@pytest.mark.slow
def test_the_report_holds_slices_controls_parts_and_the_caveat(logs: Path, tmp_path: Path) -> None:
    console = Console(width=140, record=True, markup=False)

    names = report(logs, tmp_path, console)

    text = console.export_text()
    for name in (
        "all",
        *SLICES,
        *CONTROLS,
        "undefended",
        "VLMGuard: rewriter",
        "ETA: answer check",
    ):
        assert name in text
    assert "they say nothing about real models" in " ".join(text.split())
    refused = next(line for line in text.splitlines() if "always_refuse  " in line)
    assert "10.00 [10.00, 10.00]" in refused
    assert "0.0 [0.0, 0.0]" in refused
    assert {"leaderboard.html", "leaderboard.md", "leaderboard.csv", "frontier.png"} <= set(names)
    assert "safety-and-helpfulness-by-slice.svg" in names
    page = (tmp_path / "leaderboard.html").read_text()
    assert "they say nothing about real models" in page
    assert str(logs) not in page
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert "always_refuse" in json.dumps(board)


def test_unknown_targets_and_levels_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="target=gpt is not known"):
        plan(["gpt"], ["low"], tmp_path)
    with pytest.raises(UserError, match="level=middling is not known"):
        plan(["qwen2-vl"], ["middling"], tmp_path)
