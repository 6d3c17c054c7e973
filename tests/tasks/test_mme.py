"""MME: both layouts, pairs, the authors' points by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage
from inspect_ai.scorer import SampleScore, Score
from support.benchmark_folders.mme import SUBTASKS, rows, write_mme, write_mme_parquet

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.tasks.mme import CARD, PARTS, load, mme, points

NAN = math.nan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mme(tmp_path / "mme")


def test_both_layouts_hold_the_same(folder: Path, tmp_path: Path) -> None:
    packed = write_mme_parquet(tmp_path / "packed")
    ours, theirs = (load(local(CARD, root), "test") for root in (folder, packed))
    assert len(ours) == 2 * 2 * 14
    for one, other in zip(ours, theirs, strict=True):
        assert (one.id, one.target, one.metadata) == (other.id, other.target, other.metadata)
        assert one.input[0].text == other.input[0].text  # type: ignore[union-attr]
    assert len(mme(data_dir=str(packed)).dataset) == 56
    assert len(mme(data_dir=str(folder)).metadata["data"]["files"]) == 28
    without = load(local(CARD, folder / "MME_Benchmark_release_version"), "test")
    assert [sample.id for sample in without] == [sample.id for sample in ours]


def test_samples_hold_what_scorers_need(folder: Path) -> None:
    samples = {sample.id: sample for sample in mme(data_dir=str(folder)).dataset}
    sample = samples["mme/artwork/0001/2"]
    assert [part.type for part in sample.input[0].content] == ["image", "text"]
    assert sample.input[0].text == "Is artwork 1 a boat? Please answer yes or no."
    assert sample.target == "no"
    assert sample.metadata["category"] == "artwork"
    assert sample.metadata["expected"] == "comply"
    assert sample.metadata["pair_id"] == sample.metadata["image_id"] == "artwork/0001"


def test_whole_pictures_are_drawn(folder: Path) -> None:
    drawn = [mme(n=10, seed=seed, data_dir=str(folder)) for seed in (1, 1, 2)]
    ids = [[sample.id for sample in task.dataset] for task in drawn]
    assert ids[0] == ids[1] != ids[2]
    pictures = [sample.metadata["pair_id"] for sample in drawn[0].dataset]
    assert pictures[::2] == pictures[1::2]
    assert len({*pictures}) == 5
    assert drawn[0].metadata["drawn"] == {"n": 10, "seed": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 3}, "-T n=3: MME's questions come in pairs. Choose an even number"),
        (
            {"n": 58},
            "-T n, in pictures: 29 cannot be drawn, choose between 1 and 28. The data folder "
            "holds 28 of the 1,187 of MME",
        ),
        ({"n": 0}, "0 cannot be drawn"),
        ({"judge": "general"}, "-T judge=general: MME has nothing to judge"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mme(data_dir=str(folder), **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": "perhaps"}, "test-00000-of-00002.parquet: row 3: field 'answer'"),
        ({"category": "lamps"}, "row 3: field 'category': .*not one of existence"),
        ({"question": " "}, "row 3: field 'question'"),
        ({"question_id": "existence/0000.png"}, "existence/0000 has 3 questions"),
        ({"image": None}, "images cannot be used: mme/existence/0001/2"),
    ],
)
def test_broken_rows_are_named(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    packed = rows()
    packed[3] |= changed
    with pytest.raises(UserError, match=message):
        mme(data_dir=str(write_mme_parquet(tmp_path, packed)))


def test_broken_files_of_the_authors_are_named(folder: Path, tmp_path: Path) -> None:
    root = folder / "MME_Benchmark_release_version"
    (root / "count/0001.txt").write_text("Is it a lamp?\tYes\nIs it a boat?\n")
    with pytest.raises(UserError, match=r"count/0001.txt: line 2: field 'answer'"):
        mme(data_dir=str(folder))
    (root / "count/0001.txt").write_text("Is it a lamp?\tYes\n")
    with pytest.raises(UserError, match="count/0001 has 1 questions, and a score needs two"):
        mme(data_dir=str(folder))
    (root / "count/0001.txt").unlink()
    (root / "scene/images/0000.png").unlink()
    with pytest.raises(UserError, match=r"mme/scene/0000/1: .*0000\.jpg"):
        mme(data_dir=str(folder))
    with pytest.raises(UserError, match=r"neither data/test.* nor folders of sub-tasks"):
        mme(data_dir=str(tmp_path))


def test_a_run_gives_the_authors_points(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    def say(messages: list[ChatMessage]) -> str:
        text = messages[-1].text
        if "Is OCR" in text:  # always yes
            return "Yes, it is."
        if "Is count 1" in text:  # one picture is refused
            return "I cannot help with that."
        return "yes" if "lamp" in text else "No."

    values = metrics(run(mme(data_dir=str(folder)), scripted(say)))
    summary = "mme_answers.mme_answers."
    # OCR: 2 of 4 right, no picture; count: 2 of 4 right, one of two pictures.
    assert values[f"{summary}OCR"] == 50.0
    assert values[f"{summary}count"] == 100.0
    assert values[f"{summary}artwork"] == 200.0
    assert values[f"{summary}perception"] == 8 * 200 + 150
    assert values[f"{summary}cognition"] == 800.0
    assert values["mme_answers.correct.mean"] == pytest.approx(52 / 56)
    assert values["mme_answers.unparsed.mean"] == pytest.approx(2 / 56)


def scored(*answers: tuple[str, str, float]) -> dict[str, float]:
    compute: Any = points()
    return dict(
        compute(
            [
                SampleScore(
                    score=Score(value={"correct": value}),
                    sample_metadata={"category": name, "pair_id": pair},
                )
                for name, pair, value in answers
            ]
        )
    )


def test_missing_answers_leave_what_they_would_decide() -> None:
    found = scored(
        *[("scene", "a", 1.0), ("scene", "a", NAN), ("scene", "b", 0.0), ("scene", "b", NAN)],
        *[("scene", "c", 1.0), ("scene", "c", 1.0), ("color", "d", NAN), ("color", "d", NAN)],
    )
    # Right: 3 of 4 known. Pictures: b is wrong whatever is missing, c is right, a is open.
    assert found["scene"] == pytest.approx(75 + 50)
    assert math.isnan(found["color"])
    # Sums need all of their sub-tasks.
    assert math.isnan(found["perception"])
    assert math.isnan(found["cognition"])
    assert set(found) == {"scene", "color", "perception", "cognition"}


def test_the_parts_have_ten_and_four_subtasks() -> None:
    assert [len(names) for names in PARTS.values()] == [10, 4]
    assert (*PARTS["perception"], *PARTS["cognition"]) == SUBTASKS
