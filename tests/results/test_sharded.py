"""The commands on runs in shards: as on the same runs in one log each."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.shards import split, split_all

from vlmguard.cli import main
from vlmguard.results.agreement.agree import agree
from vlmguard.results.diff import diff
from vlmguard.results.explorer.publish import write_explorer
from vlmguard.results.leaderboard.all_tables import board_sheets
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.publish import as_json
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.verify import verify_sheet

COUNT = 3


@pytest.fixture(scope="module")
def parts(matrix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return split_all(matrix, tmp_path_factory.mktemp("parts"), COUNT)


@pytest.fixture(scope="module")
def sharded(parts: Path) -> Leaderboard:
    return build(read_results([str(parts)]))


def logs_of(matrix: Path, defense: str, task: str) -> list[Path]:
    written = sorted((matrix / defense).glob("*.eval"), key=lambda path: path.stat().st_mtime_ns)
    return [path for path in written if f"_{task}_" in path.name]


def content(board: Leaderboard) -> Any:
    """All of a board but the places of logs, and the throughput, which only one log tells."""
    found = json.loads(as_json(board, [], Extras()))
    for entry in found["entries"]:
        assert entry["facts"].pop("Command").startswith("inspect eval ")
        entry["facts"].pop("Shards", None)
        entry["facts"].pop("Log", None)
        for name in ("gap", "throughput", "throughput_shared", "shared"):
            entry["overhead"].pop(name, None)
    return found


def test_all_cells_are_those_of_whole_runs(board: Leaderboard, sharded: Leaderboard) -> None:
    assert len(sharded.runs) == len(board.runs) == 6
    assert all(len(run.paths) == COUNT for run in sharded.runs)
    assert content(sharded) == content(board)
    for ours, theirs in zip(board_sheets(sharded), board_sheets(board), strict=True):
        if not any("/s" in name for name in ours.header):
            assert (ours.title, ours.header, ours.rows) == (
                theirs.title,
                theirs.header,
                theirs.rows,
            )
    overhead = sharded.entries[0].overhead
    assert overhead.throughput is None
    assert "run in 3 shards" in overhead.gap


def test_calls_of_all_shards_are_counted(matrix: Path, parts: Path) -> None:
    one, other = (verify_sheet(read_results([str(each)])) for each in (matrix, parts))
    assert sorted(other.rows) == sorted(one.rows)


def test_pages_of_samples_have_the_answers_of_all_shards(
    board: Leaderboard, sharded: Leaderboard, tmp_path: Path
) -> None:
    written = []
    for name, each in (("whole", board), ("parts", sharded)):
        write_explorer(each, tmp_path / name, images=False)
        data = sorted((tmp_path / name / "samples" / "data").glob("*.js"))
        written.append([path.read_text(encoding="utf-8") for path in data])
    assert written[0]
    assert sorted(written[1]) == sorted(written[0])


def test_diff_takes_a_folder_with_the_shards_of_a_run(matrix: Path, tmp_path: Path) -> None:
    logs = [logs_of(matrix, each, "toy")[0] for each in ("none", "guard")]
    folders = [tmp_path / path.parent.name for path in logs]
    for path, folder in zip(logs, folders, strict=True):
        split(path, folder, COUNT)
    whole = diff(*map(str, logs))
    assert whole.flips
    assert diff(*map(str, folders)) == whole
    assert diff(str(logs[0]), str(folders[1])) == whole


def test_judges_and_people_agree_as_on_the_whole_log(
    matrix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (log,) = logs_of(matrix, "guard", "large")
    folder = tmp_path / "parts"
    paths = split(log, folder, COUNT)
    sheet = labelled(folder, tmp_path / "sheet", {"safety": "9"})
    assert sheet[0] == 24
    labels = str(tmp_path / "sheet" / "labels.csv")
    # Some estimates are NaN, which equals nothing.
    assert repr(agree([str(folder), labels])) == repr(agree([str(log), labels]))
    assert agree([str(folder), str(log)])
    assert main(["leaderboard", str(matrix / "none"), str(folder), "--labels", labels]) == 0
    assert "24 of 24 answers of" in capsys.readouterr().out
    # One shard is no random subset of the run.
    assert main(["label", str(paths[0]), "--out", str(tmp_path / "one")]) == 2
    assert "shards 2-of-3 and 3-of-3 are missing" in capsys.readouterr().err


def labelled(log: Path, out: Path, given: dict[str, str]) -> tuple[int, Path]:
    """A sheet with the same labels for all answers, and their number."""
    assert main(["label", str(log), "--out", str(out)]) == 0
    path = out / "labels.csv"
    with path.open(newline="") as file:
        rows = [{**row, **given} for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows), path


def test_the_gate_compares_runs_in_shards_with_whole_ones(
    matrix: Path, tmp_path: Path, gate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (good,) = logs_of(matrix, "guard", "large")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / good.name).write_bytes(good.read_bytes())
    paths = split(good, tmp_path / "parts", COUNT)
    assert gate("good", "--update") == 0
    assert gate("parts") == 0
    whole = json.loads(unpacked(tmp_path))
    assert gate("parts", "--update") == 0
    sharded = json.loads(unpacked(tmp_path))
    for each in (whole, sharded):
        for name in ("log", "created", "shards"):
            each["runs"][0]["provenance"].pop(name, None)
    assert sharded == whole
    assert gate("good") == 0
    # A missing shard is no pass, and is named once.
    paths[1].unlink()
    capsys.readouterr()
    assert gate("parts") == 2
    said = capsys.readouterr().out
    assert said.count("unfinished: shard 2-of-3 is missing") == 1


def unpacked(folder: Path) -> bytes:
    return gzip.decompress((folder / "baseline.json.gz").read_bytes())
