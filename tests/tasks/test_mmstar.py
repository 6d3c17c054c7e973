"""MMStar: both rules, and means in which categories count alike."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage
from support.benchmark_folders.mmstar import mmstar_rows, write_mmstar
from support.parquet import write_parquet

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.tasks.mmstar import ASK, CARD, load, mmstar

RULES = "mmstar_rules.mmstar_rules"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mmstar(tmp_path / "mmstar")


def test_a_sample_holds_question_letter_and_category(folder: Path) -> None:
    first = load(local(CARD, folder), "val")[0]
    assert first.id == "mmstar/0"
    assert first.input[0].text == (  # type: ignore[union-attr]
        f"What is in pot 0\nOptions: A: soil, B: sand, C: stones, D: water\n{ASK}"
    )
    assert first.target == "A"
    assert first.metadata is not None
    assert first.metadata["category"] == "math: geometry"
    assert first.metadata["axis"] == "math"
    assert first.metadata["expected"] == "comply"


def test_categories_count_alike_and_both_rules_are_shown(
    folder: Path, scripted: Any, run: Any, metrics: Any, tmp_path: Path
) -> None:
    answers = {
        "0": "A",  # right by both
        "1": "With care: it is not A but B",  # right by the last letter that stands alone
        "2": "The answer is c",  # right by both
        "3": "Because of the light.",  # no letter; a B by the authors' rule
        "4": "Soil: (A)",  # right, but it opens with no letter
    }

    def target(messages: list[ChatMessage]) -> str:
        return answers[messages[-1].text.split("pot ")[1][0]]

    log = run(mmstar(data_dir=str(folder)), scripted(target))
    found = metrics(log)
    assert found["mmstar_rules.correct.mean"] == 4 / 5
    assert found["mmstar_rules.correct_strict.mean"] == 2 / 5
    assert found["mmstar_rules.unparsed.mean"] == 1 / 5
    assert found[f"{RULES}.format_damage"] == pytest.approx(2 / 5)
    # Geometry 1, statistics 1, emotion 1/2.
    assert found[f"{RULES}.macro"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found[f"{RULES}.math"] == 1.0
    assert found[f"{RULES}.coarse perception"] == 0.5
    assert log.results.headline.metric == "macro"
    assert log.results.headline.score == "mmstar_rules"
    # Tables have the same mean over categories.
    (entry,) = build(read_results([str(tmp_path / "logs")])).entries
    assert entry.cells["mmstar_rules.strictly_correct"].mean == 2 / 5
    assert entry.cells["mmstar_rules.correct"].mean == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_the_hubs_conversion_is_read_too(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_parquet(other / "val/0000.parquet", mmstar_rows())
    found, known = load(local(CARD, other), "val"), load(local(CARD, folder), "val")
    assert [each.id for each in found] == [each.id for each in known]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": "E"}, r"mmstar.parquet: row 0: field 'answer'"),
        ({"index": 1}, r"the id mmstar/1 occurs twice"),
        ({"l2_category": ""}, r"row 0: field 'l2_category'"),
        ({"image": None}, r"mmstar/0: .*row 0 of mmstar.parquet holds no image"),
    ],
)
def test_bad_rows_are_found_before_the_first_call(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    rows = mmstar_rows()
    write_parquet(tmp_path / "mmstar.parquet", [{**rows[0], **changed}, *rows[1:]])
    with pytest.raises(UserError, match=message):
        mmstar(data_dir=str(tmp_path))


def test_no_judge_can_be_asked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="judge=official: MMStar has nothing to judge"):
        mmstar(judge="official", data_dir=str(folder))
    with pytest.raises(UserError, match=r"mmstar.parquet or .* not found"):
        mmstar(data_dir=str(tmp_path))
    assert len(mmstar(n=2, data_dir=str(folder)).dataset) == 2
