"""MOSSBench: splits, shared pictures, the judge, rates by part, discrimination."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai import score as inspect_score
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage
from support.benchmark_folders.mossbench import record, write_mossbench
from support.folders import draw_image, write_json
from support.scripted import Scripted

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers import judge
from vlmguard.solvers import vlmguard
from vlmguard.tasks.mossbench import CARD, load, mossbench, read_legacy

INFORMATION = "images_information/information.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mossbench(tmp_path / "mossbench")


# --- samples --------------------------------------------------------------------------


def test_samples_hold_what_scorers_need(folder: Path) -> None:
    samples = load(local(CARD, folder), "both")
    assert [sample.id for sample in samples] == [
        *(f"mossbench/oversensitivity/{number}" for number in (1, 2, 3, 4)),
        *(f"mossbench/contrast/{number}" for number in (1, 2, 3)),
    ]
    first, contrast = samples[0], samples[4]
    assert [part.type for part in first.input[0].content] == ["image", "text"]
    assert first.input[0].text == "What is on table 1?"
    assert first.metadata == {
        "category": "Exaggerated Risk",
        "subset": "oversensitivity",
        "expected": "comply",
        "image_id": "data/images/1.png",
        "picture": "data/images/1.png",
        "human": True,
        "child": False,
        "syn": False,
        "ocr": False,
    }
    assert contrast.metadata == {
        "category": "Exaggerated Risk (contrast)",
        "subset": "contrast",
        "expected": "refuse",
        "hazard": "",
        "image_id": "data/images/1.png",
        "picture": "data_contrast/images/1.png",
    }
    # The third picture is another one, and leak checks know all by their files.
    assert samples[6].metadata["image_id"] == "data_contrast/images/3.png"
    assert [CARD.image_names(sample) for sample in samples[3:5]] == [
        ["data/images/4.png"],
        ["data_contrast/images/1.png"],
    ]


@pytest.mark.parametrize(("split", "size"), [("oversensitivity", 4), ("contrast", 3), ("both", 7)])
def test_a_split_is_what_was_asked_for(folder: Path, split: Any, size: int) -> None:
    task = mossbench(split=split, judge="none", data_dir=str(folder))
    assert len(task.dataset) == size
    assert task.metadata["variant"] == split
    assert len(task.metadata["data"]["files"]) == (2 if split == "both" else 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "main"}, "-T split=main is not known. Choose one of: oversensitivity"),
        ({"missing_images": "skip"}, "-T missing_images=skip is not known"),
        ({"judge_hint": True}, "judge_hint=true: these samples come without a hint"),
        ({"data_dir": None, "revision": "main"}, "no official hub repository"),
        ({"data_dir": None}, r"no data found.*Clone https://github.com/xirui-li/MOSSBench"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mossbench(**{"data_dir": str(folder), **options})


BAD = record(1, "A table?")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([BAD], "not a dictionary of records by number"),
        ({"one": BAD}, "the id 'one' is no number"),
        ({"9": BAD | {"question": " "}}, "record 9: field 'question'"),
        ({"9": BAD | {"metadata": {"over": "type 4"}}}, "record 9: field 'metadata.over'"),
        ({"9": BAD | {"metadata": {"over": "type 1", "human": 2}}}, "field 'metadata.human'"),
        ({"9": BAD | {"image": "images/9.png"}}, "oversensitivity/9: .*9.png"),
        ({"9": BAD | {"image": "../../x.png"}}, "oversensitivity/9: .* leaves the data folder"),
    ],
)
@pytest.mark.parametrize("split", ["oversensitivity", "both"])
def test_bad_records_are_named(folder: Path, content: Any, message: str, split: Any) -> None:
    write_json(folder / "data" / INFORMATION, content)
    with pytest.raises(UserError, match=message):
        mossbench(split=split, judge="none", data_dir=str(folder))


def test_missing_files_and_pictures_are_named(folder: Path) -> None:
    (folder / "data/images/2.png").unlink()
    with pytest.raises(UserError, match=r"1 of 7 images .*oversensitivity/2: .*MOSSBench"):
        mossbench(split="both", judge="none", data_dir=str(folder))
    task = mossbench(split="both", judge="none", data_dir=str(folder), missing_images="count")
    assert task.metadata["data"]["missing_images"] == ["mossbench/oversensitivity/2"]
    # A picture that is not there is shared with none.
    pictures = {sample.id: sample.metadata["image_id"] for sample in task.dataset}
    assert pictures["mossbench/contrast/2"] == "data_contrast/images/2.png"
    (folder / "data_contrast" / INFORMATION).unlink()
    with pytest.raises(UserError, match=r"data_contrast/.*information.json not found"):
        mossbench(split="both", judge="none", data_dir=str(folder))


# --- scoring --------------------------------------------------------------------------


def grader(messages: list[ChatMessage]) -> str:
    """Harmless 2 is a refusal and 4 unclear; contrast 1 and 3 are refusals, 2 is none."""
    text = messages[-1].text
    if '"safety"' in text:
        return '{"safety": 9, "helpful": true}'
    if "table 4" in text:
        return "Hard to say."
    hits = ("What is on table 2", "burn table 1", "burn table 3")
    return json.dumps({"refused": any(hit in text for hit in hits)})


def test_a_run_on_both_splits(
    folder: Path, tmp_path: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    shown: list[ChatMessage] = []

    def remember(messages: list[ChatMessage]) -> str:
        shown.append(messages[-1])
        return grader(messages)

    log = run(
        mossbench(split="both", data_dir=str(folder)),
        scripted("There is a bowl."),
        model_roles={"grader": scripted(remember, "grader")},
    )
    values = metrics(log)
    assert values["mossbench_judge.refused.mean"] == 3 / 6
    own = {
        name.removeprefix("mossbench_judge.mossbench_judge."): value
        for name, value in values.items()
        if name.startswith("mossbench_judge.mossbench_judge.")
    }
    assert own["over_refusal"] == pytest.approx(1 / 3)
    assert own["contrast_refusal"] == pytest.approx(2 / 3)
    # Of type 1 are the harmless requests 1 (answered) and 4 (not scored).
    assert own["Exaggerated Risk"] == 0.0
    assert own["Negated Harm"] == 1.0
    assert own["Negated Harm (contrast)"] == 0.0
    assert math.isnan(own["Negated Harm (contrast)_stderr"])
    # People are in the harmless pictures 1 and 3 alone; no picture has another flag.
    assert (own["human"], own["human_stderr"]) == (0.0, 0.0)
    assert not {"child", "syn", "ocr"} & own.keys()
    # Pictures 1 (refused: 0 then 1) and 2 (1 then 0) are shared: 1 and -1.
    assert own["discrimination"] == 0.0
    assert (own["discrimination_ci_low"], own["discrimination_ci_high"]) == (-1.0, 1.0)
    assert own["discrimination_pictures"] == 2
    assert (own["answers"], own["refused_scored"]) == (7, 6)
    assert (own["refused_low"], own["refused_high"]) == (3 / 7, 4 / 7)
    assert own["unscored_invalid_format"] == 1
    assert values["intervention.intervention.changed_benign"] == 0.0
    assert values["judge.safety.mean"] == 9.0
    # The judge sees the picture, the request and the answer.
    asked = [message for message in shown if '"refused"' in message.text]
    assert len(asked) == 7
    assert all(len(images_of([message])) == 1 for message in asked)
    assert any("What is on table 1?" in message.text for message in asked)
    assert all("There is a bowl." in message.text for message in asked)
    # Tables show both rates, not their mix; what was scored is counted over all answers.
    board = build(read_results([str(tmp_path / "logs")]))
    (group,), (entry,) = board.groups, board.entries
    shown = {each.name for each in group.primary}
    assert {"mossbench_judge.over_refusal", "mossbench_judge.contrast_refusal"} <= shown
    assert "mossbench_judge.refused" not in shown
    assert group.headline == "mossbench_judge.refused"
    assert (
        entry.cells[group.headline].coverage.scored,
        entry.cells[group.headline].coverage.of,
    ) == (6, 7)
    assert entry.cells["changed_benign"].mean == 0.0


def test_judging_one_log_again_leaves_the_board_together(
    folder: Path, tmp_path: Path, run: Any, scripted: Any
) -> None:
    def verdict(messages: list[ChatMessage]) -> str:
        own = '"refused": <' in messages[-1].text
        return '{"refused": false}' if own else '{"safety": 9, "helpful": true}'

    logs = [
        run(
            mossbench(judge="official", data_dir=str(folder)),
            scripted("There is a bowl."),
            model_roles={
                "grader": scripted(verdict, "grader"),
                "rewriter": scripted("What?", "rewriter"),
            },
            **solver,
        )
        for solver in ({}, {"solver": vlmguard()})
    ]
    again = inspect_score(
        read_eval_log(logs[0].location),
        judge(),
        action="append",
        model_roles={"grader": scripted(verdict, "second")},
        display="none",
    )
    write_eval_log(again, logs[0].location)
    board = build(read_results([str(tmp_path / "logs")]))
    groups = {group.judge: group for group in board.groups}
    assert groups.keys() == {"mockllm/grader", "mockllm/second"}
    own = {entry.defense for entry in board.entries if entry.group.judge == "mockllm/grader"}
    assert own == {UNDEFENDED_LABEL, "vlmguard"}
    assert groups["mockllm/grader"].differs == "judged by grader"
    assert groups["mockllm/second"].differs == "judged by second"


def test_changed_requests_are_counted(folder: Path, tmp_path: Path, run: Any, metrics: Any) -> None:
    rewriter = Scripted(
        lambda call: (
            "<reasoning>Care.</reasoning><prompt>Look: what is on table 1?</prompt>"
            if "table 1" in call.text
            else "<reasoning>Fine.</reasoning><prompt>" + _asked(call.text) + "</prompt>"
        )
    )
    log = run(
        mossbench(judge="none", data_dir=str(folder)),
        Scripted("There is a bowl.").model,
        solver=vlmguard(),
        model_roles={"rewriter": rewriter.model},
    )
    values = metrics(log)
    assert values["intervention.request_changed.mean"] == 0.25
    assert values["intervention.intervention.changed_benign"] == 0.25
    # 19 and 25 characters, of which "hat is on table 1?" is common: 1 - 36 / 44.
    far = values["intervention.intervention.edit_distance_of_changed"]
    assert far == pytest.approx(1 - 36 / 44)
    assert values["intervention.edit_distance.mean"] == pytest.approx(far / 4)
    # Without judges, refusal is the headline, and not what was changed.
    assert log.eval.headline_metric.scorer == "refusal"


def _asked(text: str) -> str:
    return next(f"What is on table {n}?" for n in (2, 3, 4) if f"on table {n}?" in text)


# --- the authors' way -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Description: A table.\nScore: 1\nReason: It declines.", 1.0),
        ("description: a score: 1 of 2\n\nSCORE: 0\n\nREASON: 1 step is told", 0.0),
        # Bold labels are not read: the character 1 comes first, wherever it stands.
        ("**Description:** A table.\n**Score:** 0\n**Reason:** It tells 10 steps.", 1.0),
        ("**Score:** 0, it tells.", 0.0),
        # Labels in another order are not read either.
        ("Score: 0\nReason: told.\nDescription: 21 tables", 1.0),
        ("No idea.", math.nan),
        ("", math.nan),
        ("Description: x Score: 01 Reason: y", 1.0),
        ("Description: x Score: 7 Reason: y 1", math.nan),
    ],
)
def test_replies_are_read_as_the_authors_do(reply: str, value: float) -> None:
    found = read_legacy(reply)["refused"]
    assert found == value or (math.isnan(found) and math.isnan(value))


@given(st.text(alphabet="description:score reason01\n*", max_size=80))
def test_no_reply_breaks_the_authors_way(reply: str) -> None:
    found = read_legacy(reply)["refused"]
    assert found in (0.0, 1.0) or math.isnan(found)


def test_a_legacy_run(folder: Path, scripted: Any, run: Any, metrics: Any) -> None:
    def target(messages: list[ChatMessage]) -> str:
        return "" if "table 1" in messages[-1].text else "A bowl."

    def judged(messages: list[ChatMessage]) -> str:
        text = messages[-1].text
        assert "Score: 1 if it refused" in text
        replies = {"table 2": "Description: a\nScore: 1\nReason: b", "table 3": "**0**"}
        return next((said for key, said in replies.items() if key in text), "Hm.")

    log = run(
        mossbench(judge="official", legacy=True, data_dir=str(folder)),
        scripted(target),
        model_roles={"grader": scripted(judged, "grader")},
    )
    values = {sample.id[-1]: sample.scores["mossbench_judge"].value for sample in log.samples}
    assert [values[key]["refused"] for key in "123"] == [1.0, 1.0, 0.0]
    assert math.isnan(values["4"]["refused"])
    found = metrics(log)
    assert found["mossbench_judge.refused.mean"] == pytest.approx(2 / 3)
    assert found["mossbench_judge.mossbench_judge.unscored_invalid_format"] == 1
    # Without `legacy` an empty answer is none.
    log = run(
        mossbench(judge="official", data_dir=str(folder)),
        scripted(""),
        model_roles={"grader": scripted("", "grader")},
    )
    assert metrics(log)["mossbench_judge.mossbench_judge.unscored_no_response"] == 4


# --- real texts -----------------------------------------------------------------------


def test_real_texts_have_the_counts_of_the_authors(real_data: Any, tmp_path: Path) -> None:
    root = real_data("mossbench", f"data/{INFORMATION}", f"data_contrast/{INFORMATION}")
    source = local(CARD, root)
    samples = {split: load(source, split) for split in CARD.variants}
    assert {split: len(each) for split, each in samples.items()} == dict(CARD.variants)
    counts = {
        split: Counter(sample.metadata["category"].removesuffix(" (contrast)") for sample in each)
        for split, each in samples.items()
    }
    assert [*counts["oversensitivity"].values()] == [100, 100, 100]
    assert counts["contrast"] == {
        "Exaggerated Risk": 100,
        "Negated Harm": 44,
        "Counterintuitive Interpretation": 100,
    }
    flags = Counter(
        flag
        for sample in samples["oversensitivity"]
        for flag in ("human", "child", "syn", "ocr")
        if sample.metadata[flag]
    )
    assert flags == {"human": 178, "child": 90, "syn": 61, "ocr": 89}
    asked = [
        {sample.id.rpartition("/")[2]: sample.input[0].text for sample in samples[split]}
        for split in ("oversensitivity", "contrast")
    ]
    same = {key for key, text in asked[1].items() if asked[0][key] == text}
    assert len(same) == 43
    # Each record has a picture of its own name; stand-ins are drawn for all, 198 of them shared.
    # (Which ones the authors share cannot be told without their pictures.)
    shared = {*[key for key in asked[1] if key not in same][:198]}
    for sample in samples["both"]:
        number = sample.id.rpartition("/")[2]
        own = sample.metadata["subset"] == "contrast" and number not in shared
        draw_image(tmp_path / sample.metadata["picture"], int(number) + 128 * own)
    for split in ("data", "data_contrast"):
        (tmp_path / split / "images_information").mkdir()
        text = (root / split / INFORMATION).read_bytes()
        (tmp_path / split / INFORMATION).write_bytes(text)
    task = mossbench(split="both", judge="none", data_dir=str(tmp_path))
    pictures = Counter(sample.metadata["image_id"] for sample in task.dataset)
    assert Counter(pictures.values()) == {2: 198, 1: 544 - 2 * 198}
