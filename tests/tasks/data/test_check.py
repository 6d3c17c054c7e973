"""`vlmguard data`: which data exist, whether they are complete, and the exit status."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.folders import write_figstep, write_mm_safetybench, write_vlguard

from vlmguard.cli import main
from vlmguard.guard.cards import Card, cards
from vlmguard.tasks.data.check import check
from vlmguard.tasks.figstep import CARD as FIGSTEP

CARDS = {name: card for name, card in cards().benchmarks.items() if card.layouts}


def small(card: Card, **counts: int) -> Card:
    """The card of a benchmark as small as our folders."""
    return Card(**{**vars(card), "sha256": {}, "variants": {**card.variants, **counts}})


def test_complete_absent_and_incomplete(tmp_path: Path) -> None:
    folder = write_figstep(tmp_path / "figstep")
    card = small(FIGSTEP, tiny=10)
    report = check(card, tmp_path)
    states = {variant.name: variant.state for variant in report.variants}
    assert states == {"full": "absent", "tiny": "complete"}
    assert report.state == "incomplete"
    assert report.sound

    (folder / "data/images/SafeBench-Tiny/query_ForbidQI_3_1_6.png").write_bytes(b"half")
    report = check(card, tmp_path)
    (tiny,) = [variant for variant in report.variants if variant.name == "tiny"]
    assert (tiny.state, tiny.samples, tiny.images, tiny.usable) == ("incomplete", 10, 10, 9)
    # As in the message of a run: the record, its file, and why.
    assert tiny.problems[0].startswith("figstep/")
    assert "query_ForbidQI_3_1_6.png: not a readable image" in tiny.problems[0]
    assert not report.sound

    report = check(small(FIGSTEP, tiny=11), tmp_path)
    assert report.variants[1].state == "incomplete"


def test_some_of_a_variants_question_files_are_incomplete(tmp_path: Path) -> None:
    folder = write_mm_safetybench(tmp_path / "mm_safetybench")
    (folder / "data/processed_questions/07-Sex.json").unlink()
    report = check(CARDS["mm_safetybench"], tmp_path)
    assert {variant.state for variant in report.variants} == {"incomplete"}
    assert not report.sound
    (problem,) = report.variants[0].problems
    assert problem.startswith("12 of 13 scenarios are there. MM-SafetyBench: data/processed_ques")
    assert "07-Sex.json" in problem


def test_broken_records_are_shown(tmp_path: Path) -> None:
    folder = write_vlguard(tmp_path / "vlguard")
    (folder / "test.json").write_text('[{"safe": true}]')
    report = check(CARDS["vlguard"], tmp_path)
    assert {variant.state for variant in report.variants} == {"incomplete"}
    assert "record 0: field 'image'" in report.variants[0].problems[0]


def test_all_variants_in_place_are_complete(tmp_path: Path) -> None:
    write_vlguard(tmp_path / "vlguard")
    card = small(CARDS["vlguard"], unsafe=4, safe_unsafe=3, safe_safe=3)
    report = check(card, tmp_path)
    assert report.state == "complete"
    altered = Card(**{**vars(card), "sha256": {"test.json": "00000000"}})
    report = check(altered, tmp_path)
    assert report.files == {"test.json": False}
    assert report.state == "incomplete"
    assert not report.sound


def test_image_outside_the_folder_is_a_problem(tmp_path: Path) -> None:
    folder = write_vlguard(tmp_path / "vlguard")
    text = (folder / "test.json").read_text().replace("HOD/u0.png", "../../../u0.png")
    (folder / "test.json").write_text(text)
    report = check(CARDS["vlguard"], tmp_path)
    assert "leaves the data folder" in report.variants[0].problems[0]


def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A new clone has no folder yet, so only where to get the data is shown.
    assert main(["data"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(": absent\n  license") == len(CARDS)
    assert "folder    none: name one with --data-dir" in shown
    assert "Clone https://github.com/ThuCCSLab/FigStep" in shown
    assert main(["data", "figstep"]) == 1
    assert main(["data", "--json"]) == 0
    capsys.readouterr()
    assert main(["data", "--data-dir", str(tmp_path / "nowhere")]) == 2
    capsys.readouterr()

    # No data exist, and no benchmark was named.
    assert main(["data", "--data-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "VLGuard (vlguard): absent" in shown
    assert "ys-zong/VLGuard, gated" in shown
    assert "CC BY-NC 4.0" in shown
    assert "layout    data/question/safebench.csv" in shown
    assert main(["data", "figstep", "--data-dir", str(tmp_path)]) == 1
    capsys.readouterr()
    assert main(["data", "nosuch", "--data-dir", str(tmp_path)]) == 2
    assert ", ".join(CARDS) in capsys.readouterr().err

    write_figstep(tmp_path / "figstep")
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    assert main(["data", "figstep", "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["name"] == "figstep"
    assert report["files"] == {"data/question/SafeBench-Tiny.csv": False}
    tiny = next(variant for variant in report["variants"] if variant["name"] == "tiny")
    assert (tiny["expected"], tiny["samples"], tiny["usable"]) == (50, 10, 10)
    assert main(["data"]) == 1
    assert "ALTERED" in capsys.readouterr().out


def test_unknown_subcommand_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dance"])
    assert stop.value.code == 2
    assert "dance" in capsys.readouterr().err


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_cards_agree_with_the_real_files(card: Any, real_data: Any) -> None:
    report = check(card, real_data(card.name).parent)
    assert all(report.files.values())
    # VLGuard needs only test.json. Files of one name in two folders are told apart by these.
    for name in set(card.sha256) - {"train.json"}:
        assert any(Path(found).match(name) for found in report.files), name
    for variant in report.variants:
        assert variant.samples == variant.expected
    tiny = [variant for variant in report.variants if variant.name == "tiny"]
    assert all(variant.state == "complete" for variant in tiny)
