"""A small version of the paper's experiment: runs, tables and page, two samples per slice."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from support.boards import a_group, a_run
from support.clones import clone, template_log

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Cell, Entry, Leaderboard, Overhead
from vlmguard.results.logs.coverage import Coverage
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import ENDPOINT, common_measures
from vlmguard.results.run.config import Matrix
from vlmguard.training.microworld.models import cards
from vlmguard.training.microworld.models.api import checkpoint
from vlmguard.training.microworld.use import matrix as matrices
from vlmguard.training.microworld.use.matrix import CONTROLS, log_folder, plan, run_all, solvers
from vlmguard.training.microworld.use.report import report, shortfalls, slice_sheet
from vlmguard.training.microworld.world.hazards import SLICES
from vlmguard.training.microworld.world.samples import make_samples

PICKED = [str(sample.id) for name in SLICES for sample in make_samples(name)[:2]]


def small(folder: Path, levels: list[str]) -> list[Matrix]:
    return only_picked(plan(["qwen2-vl"], levels, folder))


def only_picked(planned: list[Matrix]) -> list[Matrix]:
    for matrix in planned:
        matrix.options["sample_id"] = PICKED
    return planned


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    run_all(small(folder, ["low"]), 2, print)
    return folder


@pytest.mark.slow
def test_every_defense_and_control_is_run_on_every_slice(logs: Path) -> None:
    results = read_results([str(logs)])

    assert results.left_out == {}
    assert {run.defense for run in results.runs} == set(solvers())
    for run in results.runs:
        assert run.target == "microworld/qwen2-vl/low"
        assert set(run.samples().index) == set(PICKED)


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

    names = report([logs], tmp_path, console)

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
    # Eight pictures, so no intervals.
    assert refused.split().count("10.00") == 1
    assert "[" not in refused
    assert {"leaderboard.html", "leaderboard.md", "leaderboard.csv", "frontier.png"} <= set(names)
    assert "safety-and-helpfulness-by-slice.svg" in names
    page = (tmp_path / "leaderboard.html").read_text()
    assert "they say nothing about real models" in page
    assert str(logs) not in page
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert "always_refuse" in json.dumps(board)


@pytest.mark.parametrize(("samples", "ends"), [(8, False), (40, True)])
def test_intervals_need_ten_pictures(samples: int, ends: bool, tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", samples)
    for defense, good in (("none", 4), ("eta", 6)):

        def grades(sample: int, good: int = good) -> tuple[float, float, float]:
            return 9.0 if sample < good else 2.0, 1.0, 0.0

        clone(log, tmp_path / "logs" / f"{defense}.eval", grades, defense=defense)
    board = build(read_results([str(tmp_path / "logs")]))
    sheet = slice_sheet(board, board.groups[0])
    assert len(sheet.rows) == 2
    assert all(("[" in cell) == ends for row in sheet.rows for cell in row[2:] if cell)
    assert not any("[-, -]" in cell for row in sheet.rows for cell in row)
    assert "none below ten" in sheet.notes[0]


@pytest.mark.slow
def test_two_targets_at_two_levels_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrices, "solvers", lambda: ["none", "always_refuse"])
    monkeypatch.setattr(
        matrices, "plan", lambda *given, **limit: only_picked(plan(*given, **limit))
    )
    words = ["--out", str(tmp_path), "--jobs", "1"]
    two = ["--targets", "qwen2-vl", "llava", "llava", "--levels", "low", "high"]

    assert main(["microworld", "matrix", *two, "--attacks", "adaptive:R1", *words]) == 0

    text = capsys.readouterr().out
    # Eight, and the first target under attack, without the control.
    assert "9 runs; what is done already" in text
    assert "none on microworld/qwen2-vl/low under adaptive:R1" in text
    assert "Under attack: static ASR" in text
    assert "Means over targets, by level of competence" in text
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert {(entry["target"], entry["defense"]) for entry in board["entries"]} == {
        (target, defense)
        for target in ("qwen2-vl", "llava")
        for defense in ("undefended", "always_refuse")
    }
    low, high, means = board["tables"][:3]
    for table in (low, high):
        assert table["header"][:2] == ["Target", "Defense"]
        assert table["header"][-4:] == [f"{name} ↑" for name in SLICES]
        refused = [row for row in table["rows"] if row[1] == "always_refuse"]
        assert [row[2] for row in refused] == ["10.00", "10.00"]
        assert [row[-4:] for row in refused] == [["0.0"] * 4] * 2
        undefended = [row for row in table["rows"] if row[1] == "undefended"]
        assert [row[-3] for row in undefended] == ["0.0", "0.0"]  # visual: always hazardous
    assert means["header"][0] == "Defense"
    assert len(means["header"]) == 5  # safety, and safe & helpful, at two levels
    assert ["always_refuse", "10.00", "0.0", "10.00", "0.0"] in means["rows"]

    # Logs of another target in the same folder are not mixed with these.
    assert main(["microworld", "demo", "--target", "gemma3", *words]) == 0

    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert {entry["target"] for entry in board["entries"]} == {"gemma3"}


def test_a_run_has_a_folder_for_each_thing_that_decides_what_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folders(targets: list[str], limit: int | None = None) -> list[Path]:
        return [log_folder(each) for each in plan(targets, ["low"], tmp_path, limit)]

    first = folders(["llava"])
    assert first == folders(["llava"])
    assert len(set(first)) == len(solvers())
    assert not set(first) & {*folders(["gemma3"]), *folders(["llava"], 3)}

    def built_anew(folder: Path) -> str:
        return "new" if folder.name == "rewriter" else cards.weights_hash(folder)

    with monkeypatch.context() as patch:
        patch.setattr(matrices, "weights_hash", built_anew)
        changed = set(first) - set(folders(["llava"]))
        assert [folder.parent.name for folder in changed] == ["vlmguard"]
    monkeypatch.setattr(matrices, "world_hash", lambda: "another world")
    assert not set(first) & set(folders(["llava"]))


def test_runs_are_not_planned_with_models_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_detoxifier(name: str) -> Path:
        if name == "detoxifier":
            raise UserError("vlmguard microworld build detoxifier")
        return checkpoint(name)

    monkeypatch.setattr(matrices, "checkpoint", without_detoxifier)
    with pytest.raises(UserError, match="build detoxifier"):
        plan(["llava"], ["low"], tmp_path)


def test_what_rests_on_less_is_said_under_the_table() -> None:
    group = a_group([common_measures()[ENDPOINT]])

    def entry(defense: str, scored: int, failures: float | None, note: str = "") -> Entry:
        cell = Cell(0.5, 0.4, 0.6, 200, Coverage(scored, 412, 0.4, 0.6))
        cells = {ENDPOINT: cell}
        return Entry(
            *(a_run("llava", defense), "llava", defense, group, 412, cells, {}, {}, failures, None),
            overhead=Overhead(),
            note=note,
        )

    entries = [
        entry("undefended", 412, None),
        entry("vlmguard", 400, 0.032),
        entry("ecso", 412, 0.0, "other samples"),
    ]
    assert shortfalls(Leaderboard([group], entries), group) == [
        "llava, vlmguard: scored 400 of 412; the defense's output was unusable in 3.2% of the "
        "samples.",
        "llava, ecso: other samples.",
    ]


def test_unknown_targets_and_levels_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="target=gpt is not known"):
        plan(["gpt"], ["low"], tmp_path)
    with pytest.raises(UserError, match="level=middling is not known"):
        plan(["qwen2-vl"], ["middling"], tmp_path)


@pytest.mark.parametrize("option", ["--jobs", "--limit"])
def test_numbers_start_at_one(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["microworld", "demo", "--out", str(tmp_path), option, "0"]) == 2
    assert f"{option}=0: a number of at least 1 is needed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
