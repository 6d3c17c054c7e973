"""ScienceQA-IMG: the request, both rules, and what words around an answer cost."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, ModelOutput
from support.benchmark_folders.scienceqa import scienceqa_rows, write_scienceqa
from support.parquet import write_parquet
from support.scripted import choices

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.tasks.scienceqa import ASK, CARD, load, scienceqa

RULES = "scienceqa_rules.scienceqa_rules"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_scienceqa(tmp_path / "scienceqa")


def test_a_request_has_context_question_options_and_asks_for_the_letter(folder: Path) -> None:
    first, second, *_, last = load(local(CARD, folder), "test")
    assert first.input[0].text.splitlines() == [  # type: ignore[union-attr]
        "Pots are round.",
        "Which colour has pot 0",
        *("A. red", "B. green", "C. blue", "D. grey", "E. white"),
        ASK,
    ]
    assert second.input[0].text.startswith("Which colour")  # type: ignore[union-attr]
    assert [part.type for part in first.input[0].content] == ["image", "text"]  # type: ignore[union-attr]
    assert (first.id, first.target, last.target) == ("scienceqa/0", "A", "B")
    assert last.metadata is not None
    assert last.metadata["letters"] == "AB"
    assert last.metadata["category"] == "social science"
    assert last.metadata["expected"] == "comply"
    # The first two questions are about one picture, so their errors are clustered.
    ids = [(each.metadata or {})["image_id"] for each in (first, second, last)]
    assert ids[0] == ids[1] != ids[2]


def test_both_rules_and_their_gap(
    folder: Path, scripted: Any, run: Any, metrics: Any, tmp_path: Path
) -> None:
    answers = {
        "0": "A",  # right by both
        "1": " b. green",  # right by both
        "2": "With care: the answer is C.",  # right, but not for whoever needs the bare letter
        "3": "I see no pot.",  # no letter
        "4": "D",  # none of its two options
    }

    def target(messages: list[ChatMessage]) -> str:
        return answers[messages[-1].text.split("pot ")[1][0]]

    log = run(scienceqa(data_dir=str(folder)), scripted(target))
    found = metrics(log)
    assert found["scienceqa_rules.correct.mean"] == 3 / 5
    assert found["scienceqa_rules.correct_strict.mean"] == 2 / 5
    assert found["scienceqa_rules.unparsed.mean"] == 2 / 5
    assert found[f"{RULES}.format_damage"] == pytest.approx(1 / 5)
    assert found["scienceqa_rules.correct.grouped_natural science"] == 1 / 2
    assert log.results.headline.score == "correct"
    assert (log.plan.config.max_tokens, log.plan.config.temperature) == (16, 0.0)
    (entry,) = build(read_results([str(tmp_path / "logs")])).entries
    assert entry.cells["scienceqa_rules.strictly_correct"].mean == 2 / 5
    assert entry.cells["scienceqa_rules.correct"].mean == 3 / 5


def test_missing_answers_are_unscored_and_marked_refusals_wrong(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    def target(messages: list[ChatMessage]) -> str | ModelOutput:
        text = messages[-1].text
        return (
            "" if "pot 0" in text else choices(("", "content_filter")) if "pot 1" in text else "C"
        )

    found = metrics(run(scienceqa(data_dir=str(folder)), scripted(target)))
    # Of the four scored ones number 2 is right.
    assert found["scienceqa_rules.correct.mean"] == 1 / 4
    assert found[f"{RULES}.correct_scored"] == 4
    assert found[f"{RULES}.format_damage"] == 0.0
    # Number 1, and number 4, which has no C.
    assert found["scienceqa_rules.unparsed.mean"] == 2 / 4


def test_a_drawing_is_fixed_and_noted(folder: Path) -> None:
    task = scienceqa(n=3, seed=1, data_dir=str(folder))
    again = scienceqa(n=3, seed=1, data_dir=str(folder))
    assert [each.id for each in task.dataset] == [each.id for each in again.dataset]
    assert (task.metadata or {})["drawn"] == {"n": 3, "seed": 1}


def test_more_than_a_partial_folder_holds_is_no_fault_of_the_option(folder: Path) -> None:
    with pytest.raises(UserError) as refused:
        scienceqa(n=500, data_dir=str(folder))
    held = len(scienceqa(data_dir=str(folder)).dataset)
    assert f"holds {held} of the 2,017 of ScienceQA-IMG (vlmguard data scienceqa" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": 5}, r"row 0: field 'record': answer 5 is none of the 5 choices"),
        ({"choices": ["red"]}, r"row 0: field 'choices'"),
        ({"question": " "}, r"row 0: field 'question'"),
        ({"image": None}, r"scienceqa/0: .*row 0 of test-0.parquet holds no image"),
    ],
)
def test_bad_rows_are_found_before_the_first_call(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    rows = scienceqa_rows()
    write_parquet(tmp_path / "ScienceQA-IMG/test-0.parquet", [{**rows[0], **changed}, *rows[1:]])
    with pytest.raises(UserError, match=message):
        scienceqa(data_dir=str(tmp_path))


def test_no_judge_can_be_asked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="judge=general: ScienceQA has nothing to judge"):
        scienceqa(judge="general", data_dir=str(folder))
    with pytest.raises(UserError, match=r"ScienceQA-IMG/test-\*.parquet not found"):
        scienceqa(data_dir=str(tmp_path))
