"""SPA-VL: the unsafe rate of harm by our judge, and helpfulness of help by the general one."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage
from support.benchmark_folders.spa_vl import spa_vl_rows, write_spa_vl
from support.parquet import write_parquet

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.tasks.spa_vl import CARD, load, spa_vl


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_spa_vl(tmp_path / "spa_vl")


def test_each_subset_says_what_is_expected(folder: Path) -> None:
    harm, helping = (load(local(CARD, folder), subset)[0] for subset in ("harm", "help"))
    assert (harm.id, helping.id) == ("spa_vl/harm/0", "spa_vl/help/0")
    assert harm.input[0].text == "How is this garden of harm 0"  # type: ignore[union-attr]
    assert harm.metadata is not None
    assert harm.metadata["category"] == "Plants"
    assert harm.metadata["classes"] == ["Plants", "Beds", "Roses"]
    assert harm.metadata["expected"] == "care"
    assert (helping.metadata or {})["expected"] == "comply"
    # Both questions are about one picture.
    assert harm.metadata["image_id"] == (helping.metadata or {})["image_id"]


def test_the_unsafe_rate_of_harm(folder: Path, scripted: Any, run: Any, metrics: Any) -> None:
    seen: list[str] = []

    def grader(messages: list[ChatMessage]) -> str:
        seen.append(messages[-1].text)
        number = messages[-1].text.split("of harm ")[1][0]
        return {"0": '{"verdict": "unsafe"}', "1": '{"verdict": "safe"}'}.get(number, "No idea.")

    log = run(
        spa_vl(judge="official", data_dir=str(folder)),
        scripted("It grows well."),
        model_roles={"grader": scripted(grader, "grader")},
    )
    found = metrics(log)
    assert found["spa_vl_judge.unsafe.mean"] == 1 / 2
    assert found["spa_vl_judge.unsafe.grouped_Plants"] == 1 / 2
    assert found["spa_vl_judge.spa_vl_judge.unsafe_scored"] == 2
    assert found["spa_vl_judge.spa_vl_judge.unsafe_low"] == pytest.approx(1 / 3)
    assert found["spa_vl_judge.spa_vl_judge.unsafe_high"] == pytest.approx(2 / 3)
    assert log.results.headline.score == "unsafe"
    assert "It grows well." in seen[0]


def test_a_text_classifiers_last_line_is_read(
    folder: Path, scripted: Any, run: Any, metrics: Any, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "unsafe.txt").write_text("{request} {answer}")
    log = run(
        spa_vl(judge="official", judge_template=str(prompts), data_dir=str(folder)),
        scripted("It grows well."),
        model_roles={"grader": scripted("[CATEGORY]: O1\n[RESULT]: unsafe", "grader")},
    )
    assert metrics(log)["spa_vl_judge.unsafe.mean"] == 1.0


def test_help_is_judged_by_the_general_judge_alone(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    def target(messages: list[ChatMessage]) -> str:
        return "I must decline." if messages[-1].text.endswith("2") else "It grows well."

    def grader(messages: list[ChatMessage]) -> str:
        helpful = "I must decline" not in messages[-1].text
        return json.dumps({"safety": 10, "helpful": helpful})

    log = run(
        spa_vl(subset="help", data_dir=str(folder)),
        scripted(target),
        model_roles={"grader": scripted(grader, "grader")},
    )
    found = metrics(log)
    assert found["judge.helpful.mean"] == pytest.approx(2 / 3)
    assert found["judge.safe_and_helpful.mean"] == pytest.approx(2 / 3)
    assert found["refusal.refused.mean"] == pytest.approx(1 / 3)
    assert log.results.headline.score == "safe_and_helpful"
    assert not [name for name in found if name.startswith("spa_vl_judge")]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"question": ""}, r"harm-0.parquet: row 0: field 'question'"),
        ({"class2": None}, r"row 0: field 'class2'"),
        ({"image": None}, r"spa_vl/harm/0: .*row 0 of harm-0.parquet holds no image"),
    ],
)
def test_bad_rows_are_found_before_the_first_call(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    rows = spa_vl_rows("harm")
    write_parquet(tmp_path / "test/harm-0.parquet", [{**rows[0], **changed}, *rows[1:]])
    with pytest.raises(UserError, match=message):
        spa_vl(judge="none", data_dir=str(tmp_path))


def test_wrong_and_missing_subsets_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"subset=helpful is not known.*harm, help"):
        spa_vl(subset="helpful", data_dir=str(folder))  # type: ignore[arg-type]
    write_parquet(tmp_path / "other/test/help/0000.parquet", spa_vl_rows("help"))
    assert len(load(local(CARD, tmp_path / "other"), "help")) == 3
    with pytest.raises(UserError, match=r"test/harm-\*.parquet or .* not found"):
        spa_vl(data_dir=str(tmp_path / "other"))
