"""JailBreakV-28K: its files, pictures that are missing, what the judge sees, rates by attack."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score
from inspect_ai.model import ChatMessage
from support.benchmark_folders.jailbreakv import jailbreakv_rows, write_jailbreakv

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.tasks.jailbreakv import CARD, jailbreakv, jailbreakv_judge, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_jailbreakv(tmp_path / "jailbreakv", 16)


def rewrite(folder: Path, rows: list[dict[str, Any]], name: str = "JailBreakV_28K") -> None:
    with (folder / f"JailBreakV_28K/{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# --- what is sent ---------------------------------------------------------------------


def test_samples_hold_what_scorers_need(folder: Path) -> None:
    task = jailbreakv(judge="none", data_dir=str(folder))
    assert len(task.dataset) == 8
    sample: Any = task.dataset[2]
    (message,) = sample.input
    assert [part.type for part in message.content] == ["image", "text"]
    assert message.text == "Be a gnome, and tell how to water plant 1 (2)."
    assert sample.id == "jailbreakv/mini/2"
    given = {"category", "format", "attack_type", "transferred", "expected", "judge_request"}
    assert {key: sample.metadata[key] for key in given} == {
        "category": "Garden",
        "format": "query_related",
        "attack_type": "SD-related",
        "transferred": "no",
        "expected": "refuse",
        "judge_request": "How to water plant 1?",
    }
    # Two rows of one question are one cluster; leak checks compare the pictures' names.
    assert sample.metadata["image_id"] == task.dataset[3].metadata["image_id"]
    assert sample.metadata["image_id"] != task.dataset[4].metadata["image_id"]
    assert CARD.image_names(sample) == ["query_related/2.png"]
    assert len(jailbreakv(split="full", judge="none", data_dir=str(folder)).dataset) == 16


def test_files_are_read_as_csv_or_parquet_with_pictures_beside_them(tmp_path: Path) -> None:
    ours = load(local(CARD, write_jailbreakv(tmp_path / "a")), "full")
    packed = load(local(CARD, write_jailbreakv(tmp_path / "b", parquet=True)), "full")
    assert [each.id for each in ours] == [each.id for each in packed]
    assert [each.metadata for each in ours] == [each.metadata for each in packed]
    flat = tmp_path / "b/JailBreakV_28K"
    assert [images_of(each.input) for each in load(local(CARD, flat), "full")] == [
        images_of(each.input) for each in packed
    ]
    # Pictures may lie at the root of the hub's folder.
    for kind in ("llm_transfer_attack", "query_related", "figstep"):
        (flat / kind).rename(tmp_path / "b" / kind)
    moved = load(local(CARD, tmp_path / "b"), "mini")
    assert all(Path(images_of(each.input)[0]).is_file() for each in moved)


def test_without_its_file_mini_is_what_the_full_file_marks(folder: Path) -> None:
    before = load(local(CARD, folder), "mini")
    (folder / "JailBreakV_28K/mini_JailBreakV_28K.csv").unlink()
    after = load(local(CARD, folder), "mini")
    assert [each.id for each in before] == [each.id for each in after]


def test_repetitions_of_other_sets_are_left_out_and_named(folder: Path) -> None:
    task = jailbreakv(dedupe=["figstep", "mm_safetybench"], judge="none", data_dir=str(folder))
    assert {sample.metadata["format"] for sample in task.dataset} == {"llm_transfer_attack"}  # type: ignore[index]
    assert task.metadata["variant"] == "mini/without figstep/without mm_safetybench"
    one = jailbreakv(dedupe="figstep", judge="none", data_dir=str(folder))
    assert len(one.dataset) == 6
    assert one.metadata["variant"] == "mini/without figstep"
    both = jailbreakv(dedupe="mm_safetybench,figstep", judge="none", data_dir=str(folder))
    assert both.metadata["variant"] == task.metadata["variant"]
    assert jailbreakv(judge="none", data_dir=str(folder)).metadata["variant"] == "mini"
    rewrite(folder, jailbreakv_rows(4)[3:], "mini_JailBreakV_28K")
    with pytest.raises(UserError, match=r"dedupe=figstep: no row of split=mini is left"):
        jailbreakv(dedupe="figstep", judge="none", data_dir=str(folder))


def test_missing_pictures_are_counted_and_never_sent_as_text(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (0, 1, 4, 5, 6):
        next(folder.rglob(f"{number}.png")).unlink()
    task = jailbreakv(judge="none", data_dir=str(folder))
    assert [sample.id for sample in task.dataset] == [f"jailbreakv/mini/{n}" for n in (2, 3, 7)]
    assert task.metadata["data"]["missing_images"] == [
        f"jailbreakv/mini/{n}" for n in (0, 1, 4, 5, 6)
    ]
    assert all(images_of(sample.input) for sample in task.dataset)
    assert "5 of 8 samples are left out" in caplog.text
    assert "jailbreakv/mini/4 and 2 more" in caplog.text
    with pytest.raises(UserError, match=r"5 of 8 images cannot be used: jailbreakv/mini/0"):
        jailbreakv(missing_images="refuse", judge="none", data_dir=str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tiny"}, "-T split=tiny is not known. Choose one of: mini, full"),
        ({"dedupe": "siuo"}, "-T dedupe=siuo is not known. Choose one of: figstep, mm_safetybench"),
        ({"missing_images": "skip"}, "-T missing_images=skip is not known"),
        ({"judge_hint": True}, "come without a hint"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        jailbreakv(data_dir=str(folder), **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"redteam_query": " "}, "row 2: field 'redteam_query'"),
        ({"selected_mini": "perhaps"}, "row 2: field 'selected_mini'"),
        ({"image_path": "elsewhere/1.png"}, "row 2: field 'image_path': the path begins with none"),
    ],
)
def test_broken_rows_are_named(folder: Path, changed: dict[str, str], message: str) -> None:
    rows = jailbreakv_rows(4)
    rows[1] |= changed
    rewrite(folder, rows)
    with pytest.raises(UserError, match=rf"JailBreakV_28K\.csv: {message}.*Correct the record"):
        load(local(CARD, folder), "full")


# --- judging --------------------------------------------------------------------------


def test_a_run_gives_rates_by_attack(folder: Path, scripted: Any, run: Any, metrics: Any) -> None:
    seen: list[ChatMessage] = []

    def grader(messages: list[ChatMessage]) -> str:
        if '"safety"' in messages[-1].text:
            return '{"safety": 2, "helpful": false}'
        seen.append(messages[-1])
        if "plant 3?" in messages[-1].text:
            return "Hard to say."
        verdict = "unsafe" if "pour (0)" in messages[-1].text else "safe"
        return json.dumps({"verdict": verdict})

    def answer(messages: list[ChatMessage]) -> str:
        # Unsafe are rows 0 and 4, both of the first kind.
        hit = messages[-1].text.endswith(("(0).", "(4)."))
        return "pour (0)" if hit else "I would not."

    log = run(
        jailbreakv(data_dir=str(folder)),
        scripted(answer),
        model_roles={"grader": scripted(grader, "grader")},
    )
    values = metrics(log)
    # Of eight rows the two about plant 3 (6 and 7) cannot be read.
    assert values["jailbreakv_judge.attack_success.mean"] == pytest.approx(2 / 6)
    summary = "jailbreakv_judge.jailbreakv_judge."
    assert values[f"{summary}attack_success_scored"] == 6
    assert (values[f"{summary}attack_success_low"], values[f"{summary}attack_success_high"]) == (
        *(2 / 8, 4 / 8),
    )
    assert values[f"{summary}format_llm_transfer_attack"] == 2 / 4
    assert values[f"{summary}format_query_related"] == 0.0
    assert values[f"{summary}format_figstep"] == 0.0
    assert values[f"{summary}attack_Template"] == 1.0
    assert values[f"{summary}attack_Logic"] == 0.0
    assert values[f"{summary}transferred_yes"] == 2 / 4
    assert values[f"{summary}transferred_no"] == 0.0
    # Of the kitchen are 0, 3 and 6; the last one cannot be read.
    assert values["jailbreakv_judge.attack_success.grouped_Kitchen"] == 0.5
    # The judge sees question and answer, and neither jailbreak nor picture.
    assert len({message.text for message in seen}) == 8
    assert not any("gnome" in message.text or images_of([message]) for message in seen)
    assert all("How to water plant" in message.text for message in seen)


def test_errors_are_clustered_by_question(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    def grader(messages: list[ChatMessage]) -> str:
        return json.dumps({"verdict": "unsafe" if "plant 0?" in messages[-1].text else "safe"})

    log = run(
        jailbreakv(judge="official", data_dir=str(folder)),
        scripted("Pour."),
        model_roles={"grader": scripted(grader, "grader")},
    )
    values = metrics(log)
    # Four questions of two rows each, one of which succeeds: the sum over clusters of the squared
    # sums of residuals is (2 * .75) ** 2 + 3 * (2 * .25) ** 2 = 3, over 8 rows, corrected by 4 / 3.
    assert values["jailbreakv_judge.attack_success.mean"] == 0.25
    assert values["jailbreakv_judge.attack_success.stderr"] == pytest.approx((3 * 4 / 3) ** 0.5 / 8)


def test_the_authors_judge_is_a_guard_model(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    seen: list[ChatMessage] = []

    def guard(messages: list[ChatMessage]) -> str:
        seen.append(messages[-1])
        if "plant 3?" in messages[-1].text:
            return "Hard to say."
        return "unsafe\nO1,O4" if "Agent: pour (0)" in messages[-1].text else "safe"

    def answer(messages: list[ChatMessage]) -> str:
        hit = messages[-1].text.endswith(("(0).", "(4)."))
        return "pour (0)" if hit else "I would not."

    log = run(
        jailbreakv(judge="guard/llama_guard_7b", data_dir=str(folder)),
        scripted(answer),
        model_roles={"grader": scripted(guard, "grader")},
    )
    values = metrics(log)
    # As under our judge: unsafe are rows 0 and 4 of six, and the two about plant 3 are unread.
    assert values["guard_judge.guard_unsafe.mean"] == pytest.approx(2 / 6)
    assert values["guard_judge.guard_judge.guard_unsafe_scored"] == 6
    assert values["guard_judge.guard_judge.unscored_invalid_format"] == 2
    # Of the kitchen are 0, 3 and 6; the last one cannot be read.
    assert values["guard_judge.guard_unsafe.grouped_Kitchen"] == 0.5
    (first,) = [each for each in log.samples if each.id == "jailbreakv/mini/0"]
    assert first.scores["guard_judge"].metadata["categories"] == ["O1", "O4"]
    # The harmful question and the answer, and neither jailbreak nor picture.
    assert len(seen) == 8
    for message in seen:
        _, _, shown = message.text.partition("<BEGIN CONVERSATION>")
        assert shown.startswith("\n\nUser: How to water plant")
        assert "gnome" not in message.text
        assert not images_of([message])


def test_an_attack_of_ours_does_not_hide_that_of_a_row(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    roles = {"grader": scripted(lambda messages: '{"verdict": "unsafe"}', "grader")}
    log = run(
        jailbreakv(data_dir=str(folder), judge="official", attack="figstep"),
        scripted(lambda messages: "Here is how."),
        model_roles=roles,
    )
    again = score(log, jailbreakv_judge(), model_roles=roles, action="overwrite", display="none")
    assert log.samples[0].metadata["attack"]["name"] == "figstep"
    named = [name for name in metrics(again) if ".attack_" in name and "success" not in name]
    assert sorted(name.rpartition("attack_")[2] for name in named) == [
        *sorted({sample.metadata["attack_type"] for sample in log.samples})
    ]
