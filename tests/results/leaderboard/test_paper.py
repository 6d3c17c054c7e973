"""The paper's tables, with ours beside the published numbers."""

import re

import pytest
from rich.console import Console
from support.clones import clone, template_log

from vlmguard.results.formats.console import print_sheets
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.paper import by_benchmark, paper_sheets
from vlmguard.results.logs.frame import read_results


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """Six benchmarks, five of them the paper's, with safety 6 and refusals 0, 2, 4, ... of 20."""
    folder = tmp_path_factory.mktemp("paper")
    log = template_log(folder / "template", 20)
    subsets = [
        *(("MM-SafetyBench", "sd"), ("MM-SafetyBench", "sd_typo"), ("MM-SafetyBench", "typo")),
        *(("SIUO", "generation"), ("VLGuard", "unsafe"), ("Else", "where")),
    ]
    for number, (benchmark, variant) in enumerate(subsets):
        for defense, grade in (("none", 6.0), ("eta", 7.0), ("ecso", 6.5)):

            def grades(
                sample: int, number: int = number, grade: float = grade
            ) -> tuple[float, float, float]:
                return grade, 1.0, float(sample < 2 * number)

            path = folder / "logs" / f"{number}-{defense}.eval"
            clone(
                log,
                path,
                grades,
                benchmark=benchmark,
                variant=variant,
                target="hf/a-name/that-is-rather-long-8b-hf",
                defense=defense,
            )
    return build(read_results([str(folder / "logs")]))


def column(sheet: Sheet, above: str, heading: str) -> int:
    """The number of a column by the headings above it."""
    tops = [title for title, width in sheet.spans for _ in range(width)]
    return next(
        place
        for place, names in enumerate(zip(tops, sheet.header, strict=True))
        if names == (above, heading)
    )


def test_paper_layout_sets_ours_beside_the_published(ours: Leaderboard) -> None:
    main, beside, gains, dsr, cost = paper_sheets(ours)
    assert not any("Else" in title for title, _ in main.spans)
    assert "1 further group (" in main.notes[-1]
    safety = column(main, "SIUO generation", "Safety 0-10 ↑")
    rows = {tuple(row[:3]): row for row in main.rows}
    mine = rows["ours", ours.entries[0].target, "eta"]
    assert re.fullmatch(r"7\.00\n\[6\.\d\d, 7\.\d\d\]", mine[safety])
    assert mine[safety + 1].startswith("100.0")
    assert mine[safety + 2] == "20 of 20"
    theirs = rows["paper", "LLaVA-1.5-7B", "vlmguard"]
    assert theirs[safety : safety + 3] == ["6.77", "58.43", "167"]
    names = [row[2] for row in main.rows if row[1] == "Qwen2-VL-7B"]
    assert names == ["undefended", "vlmguard"]
    # Refused 0, 2, 4, 6, 8 of 20; the paper's five are 53.1 50.8 65.4 56 55.3.
    means = {(row[0], row[2]): row[-1] for row in dsr.rows}
    assert (means["ours", "undefended"], means["paper", "vlmguard"]) == ("20.0", "56.1")
    assert beside.title == "Harm beside harmless"
    # Of one target there are no two readings.
    assert not gains.rows
    assert cost.rows


def test_only_ours_are_ranked(ours: Leaderboard) -> None:
    main, *_, dsr, _ = paper_sheets(ours)
    safety = column(main, "SIUO generation", "Safety 0-10 ↑")
    assert [main.rows[row][2] for row, at in main.best if at == safety] == ["eta"]
    assert [main.rows[row][2] for row, at in main.second if at == safety] == ["ecso"]
    assert {main.rows[row][0] for row, _ in main.best | main.second} == {"ours"}
    # DSR has no direction.
    assert not dsr.best | dsr.second


def test_no_word_is_broken_at_80_columns(ours: Leaderboard) -> None:
    tables = [sheet for sheet in paper_sheets(ours) if sheet.rows]
    sheets = [part for sheet in tables for part in by_benchmark(sheet, True)]
    console = Console(width=80, record=True)
    print_sheets(sheets, console)
    printed = console.export_text().split()
    shown = [
        word
        for sheet in sheets
        for row in [sheet.header, *sheet.rows]
        for cell in row
        for word in cell.split()
    ]
    assert not set(shown) - set(printed)
    notes = [note for sheet in tables for note in sheet.notes]
    assert [note for part in sheets for note in part.notes] == notes
    assert any("[6." in cell for row in sheets[0].rows for cell in row)


def test_with_room_a_benchmark_is_one_table(ours: Leaderboard) -> None:
    main, beside, *_ = paper_sheets(ours)
    parts = by_benchmark(main, False)
    assert [part.title for part in parts] == [f"Main table: {title}" for title, _ in main.spans[1:]]
    assert parts[0].header[:3] == ["Source", "Target", "Defense"]
    (same,) = by_benchmark(beside, False)
    assert same == beside
