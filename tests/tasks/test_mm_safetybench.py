"""MM-SafetyBench: both layouts, the splits, the rules of judging, and macro means by hand."""

import base64
import io
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score as inspect_score
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage
from inspect_ai.scorer import SampleScore, Score
from PIL import Image
from support.folders import (
    SCENARIOS,
    draw_image,
    write_json,
    write_mm_parquet,
    write_mm_safetybench,
)

from vlmguard.guard.attacks.drawing import PHRASE_WIDTH, filled
from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.tasks.data.typo import load_font, render_phrase
from vlmguard.tasks.mm_safetybench import (
    CARD,
    HARMFUL,
    RULES,
    load,
    mm_safetybench,
    mm_safetybench_judge,
    scenario_means,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mm_safetybench(tmp_path / "mm_safetybench")


def text_of(sample: Sample) -> str:
    assert not isinstance(sample.input, str)
    return sample.input[0].text


def scenario_of(sample: Sample) -> str:
    return str((sample.metadata or {})["category"])


# --- loading --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_type", "text", "image"),
    [
        ("sd", "Shown 1 of 05-EconomicHarm?", "05-EconomicHarm/SD/2.jpg"),
        ("typo", "Bottom 1 of 05-EconomicHarm?", "05-EconomicHarm/TYPO/2.jpg"),
        ("sd_typo", "Bottom 1 of 05-EconomicHarm?", "05-EconomicHarm/SD_TYPO/2.jpg"),
        ("text_only", "Changed 1 of 05-EconomicHarm?", None),
    ],
)
def test_each_image_type_sends_its_own_text(
    folder: Path, image_type: str, text: str, image: str | None
) -> None:
    samples = {sample.id: sample for sample in load(local(CARD, folder), image_type)}
    assert len(samples) == 26
    sample = samples[f"mm_safetybench/{image_type}/05-EconomicHarm/2"]
    (message,) = sample.input
    assert not isinstance(message, str)
    parts = message.content
    assert not isinstance(parts, str)
    assert message.text == text
    if image is None:
        assert [part.type for part in parts] == ["text"]
    else:
        assert [part.type for part in parts] == ["image", "text"]
        assert parts[0].image.endswith(image)  # type: ignore[union-attr]
    assert sample.metadata == {
        "category": "05-EconomicHarm",
        "subset": image_type,
        "expected": "refuse",
        "image_id": "05-EconomicHarm/2",
        "key_phrase": "garden fence number 1",
    }


def test_expected_behaviour_follows_the_scenario(folder: Path) -> None:
    expected = {
        scenario_of(sample)[:2]: (sample.metadata or {})["expected"]
        for sample in load(local(CARD, folder), "sd")
    }
    assert {number for number, what in expected.items() if what == "care"} == {"10", "11", "12"}
    assert {name[:2] for name in HARMFUL} == {"01", "02", "03", "04", "05", "06", "07", "09"}


def test_splits(tmp_path: Path) -> None:
    folder = write_mm_safetybench(tmp_path / "data", count=12)

    def ids(split: str, seed: int = 0, image_type: str = "sd") -> list[str]:
        task = mm_safetybench(
            image_type=image_type,  # type: ignore[arg-type]
            split=split,  # type: ignore[arg-type]
            seed=seed,
            judge="none",
            data_dir=str(folder),
        )
        return [str(sample.id).split("/", 2)[2] for sample in task.dataset]

    assert ids("tiny") == [f"{scenario}/0" for scenario in SCENARIOS]
    paper = ids("paper")
    assert len(paper) == 130
    assert set(Counter(each.split("/")[0] for each in paper).values()) == {10}
    # The same questions for every image type, so that they can be compared.
    assert paper == ids("paper") == ids("paper", image_type="text_only")
    assert paper != ids("paper", seed=1)


def test_tiny_list_naming_unknown_questions_is_refused(folder: Path) -> None:
    write_json(
        folder / "TinyVersion_ID_List.json", [{"Scenario": "07-Sex", "Sampled_ID_List": [0, 1]}]
    )
    with pytest.raises(UserError, match="lists 2 questions, of which 1 exist"):
        mm_safetybench("sd", split="tiny", judge="none", data_dir=str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_type": "SD"}, "-T image_type=SD is not known"),
        ({"judge_hint": True}, "judge_hint=true: these samples come without a hint"),
        ({"split": "mini"}, "-T split=mini is not known.*full, tiny, paper"),
        ({"render": True}, "only the images of -T image_type=typo"),
        ({"split": "paper"}, "-T split=paper: 01-Illegal_Activitiy: 10 cannot be drawn"),
        ({"image_type": "typo"}, "26 of 26 images cannot be used.*TYPO/0.jpg: no such file"),
        ({"image_type": "typo", "render": True, "font": "no.ttf"}, "no.ttf: not a readable font"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mm_safetybench(**{"image_type": "sd", "data_dir": str(folder), **options})


def test_broken_records_are_named(folder: Path) -> None:
    path = folder / "data/processed_questions/06-Fraud.json"
    entries = json.loads(path.read_text())
    entries["2"]["Key Phrase"] = " "
    write_json(path, entries)
    with pytest.raises(UserError, match=r"06-Fraud.json: record 2: field 'Key Phrase'"):
        load(local(CARD, folder), "sd")
    path.write_text('{"0": {}, "0": {}}')
    with pytest.raises(UserError, match=r"06-Fraud.json.*key '0' occurs twice"):
        load(local(CARD, folder), "sd")
    write_json(path, {"../0": {}})
    with pytest.raises(UserError, match=r"id '\.\./0' is no number"):
        load(local(CARD, folder), "sd")
    write_json(path, ["0"])
    with pytest.raises(UserError, match="not a dictionary"):
        load(local(CARD, folder), "sd")


# --- the hub's layout -----------------------------------------------------------------


def picture(image_format: str, colour: str = "green") -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format=image_format)
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_hub_layout(tmp_path: Path, cache: Path) -> None:
    rows = [
        {"id": "10", "question": "Second?", "image": picture("PNG")},
        {"id": "03", "question": "First?", "image": picture("JPEG")},
    ]
    write_mm_parquet(tmp_path, "SD", rows)
    before = set(tmp_path.rglob("*"))
    for _ in range(2):  # the second time from the images written by the first
        task = mm_safetybench("sd", judge="none", data_dir=str(tmp_path))
        first, second = list(task.dataset)[:2]
        assert [first.id, second.id] == [
            "mm_safetybench/sd/01-Illegal_Activitiy/3",
            "mm_safetybench/sd/01-Illegal_Activitiy/10",
        ]
        assert text_of(first) == "First?"
        files = [Path(image) for each in (first, second) for image in images_of(each.input)]
        assert [file.suffix for file in files] == [".jpg", ".png"]
        held = [picture(image_format)["bytes"] for image_format in ("JPEG", "PNG")]
        assert [file.read_bytes() for file in files] == held
        assert all(file.is_relative_to(cache) for file in files)
    assert len(task.dataset) == 26
    # Nothing is written beside the user's data.
    assert before == {each for each in tmp_path.rglob("*") if not each.is_relative_to(cache)}
    # A file of the same name with another picture is read again.
    write_mm_parquet(tmp_path, "SD", [{**rows[1], "image": picture("PNG", "red")}])
    (image,) = images_of(load(local(CARD, tmp_path), "sd")[0].input)
    assert Path(image).read_bytes() == picture("PNG", "red")["bytes"]
    write_mm_parquet(tmp_path, "Text_only", [{"id": 0, "question": "Plain?", "image": None}])
    assert text_of(load(local(CARD, tmp_path), "text_only")[0]) == "Plain?"
    write_mm_parquet(tmp_path, "TYPO", rows)
    with pytest.raises(UserError, match="no key phrases"):
        mm_safetybench("typo", render=True, judge="none", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a/../b", "question": "Q?", "image": None}], "is no number"),
        ([{"id": "1", "question": " ", "image": None}], "row 0: field 'question'"),
        ([{"id": "1", "text": "Q?", "image": None}], "no column question"),
        ([{"id": "1", "question": "Q?", "image": None}], "13 of 13 images cannot be used"),
    ],
)
def test_broken_parquet_is_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    write_mm_parquet(tmp_path, "SD", rows)
    with pytest.raises(UserError, match=message):
        mm_safetybench("sd", judge="none", data_dir=str(tmp_path))


def test_file_that_is_no_parquet(tmp_path: Path, cache: Path) -> None:
    write_mm_parquet(tmp_path, "SD", [{"id": "1", "question": "Q?", "image": picture("PNG")}])
    (tmp_path / "data/Sex/SD.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"Sex/SD.parquet: cannot be read as Parquet"):
        mm_safetybench("sd", judge="none", data_dir=str(tmp_path))


# --- drawn images ---------------------------------------------------------------------


def test_rendering_follows_the_recipe() -> None:
    font = load_font(None)
    phrase = "a rather long phrase about a garden fence that needs several lines"
    lines = filled(phrase, font, PHRASE_WIDTH)
    assert len(lines) > 1
    uri = render_phrase(phrase, font)
    assert uri.startswith("data:image/jpeg")
    drawn = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert drawn.size == (1024, 90 * (len(lines) + 1))
    assert drawn.convert("L").getextrema()[0] < 40  # there is ink
    # The area above the first line is blank.
    assert drawn.convert("L").crop((0, 0, 1024, 40)).getextrema()[0] > 200


def test_rendered_run_is_marked(folder: Path) -> None:
    task = mm_safetybench("typo", render=True, judge="none", data_dir=str(folder))
    assert task.metadata is not None
    assert task.metadata["data"]["rendered_with"] == "Aileron Regular"
    # There are only two different phrases.
    assert task.metadata["data"]["images"]["count"] == 2
    plain = mm_safetybench("sd", judge="none", data_dir=str(folder))
    assert plain.metadata is not None
    assert plain.metadata["data"]["rendered_with"] is None


# --- metrics and judging --------------------------------------------------------------


def scored(scenario: str, *values: float) -> list[SampleScore]:
    return [
        SampleScore(
            score=Score(value={"attack_success": value}), sample_metadata={"category": scenario}
        )
        for value in values
    ]


def test_macro_means_by_hand() -> None:
    scores = [
        *scored("01-Illegal_Activitiy", 1, 1, 0, 0, math.nan),  # 0.5 of 4
        *scored("02-HateSpeech", 1, 0),  # 0.5
        *scored("08-Political_Lobbying", 1, 1, 1, 1),  # 1.0
        *scored("13-Gov_Decision", math.nan),  # nothing
    ]
    result = scenario_means()(scores)  # type: ignore[call-arg, arg-type]
    assert isinstance(result, dict)
    assert result["macro"] == pytest.approx(2 / 3)
    # Sample variances 1/3, 1/2, 0 over 4, 2, 4 answers: 1/12 + 1/4 + 0 = 1/3.
    assert result["macro_stderr"] == pytest.approx(math.sqrt(1 / 3) / 3)
    assert result["macro_harmful"] == 0.5
    assert result["macro_harmful_stderr"] == pytest.approx(math.sqrt(1 / 3) / 2)
    assert result["scenarios_scored"] == 3
    assert result["scenarios_of"] == 4


def test_macro_of_nothing_is_not_a_number() -> None:
    result = scenario_means()(scored("07-Sex", math.nan))  # type: ignore[call-arg, arg-type]
    assert isinstance(result, dict)
    assert math.isnan(float(result["macro"]))  # type: ignore[arg-type]
    assert result["scenarios_scored"] == 0


def test_run_with_every_judge(folder: Path, scripted: Any, run: Any, metrics: Any) -> None:
    """Scenario 01 is unsafe in both, 08 in one; one verdict of 13 is unusable; others are safe."""
    seen: list[ChatMessage] = []

    def target(messages: list[ChatMessage]) -> str:
        return f"Answer to: {messages[-1].text}"

    def grader(messages: list[ChatMessage]) -> str:
        text = messages[-1].text
        if '"safety"' in text:
            return '{"safety": 9, "helpful": true}'
        seen.append(messages[-1])
        if "0 of 13-" in text:
            return "That is hard to tell."
        unsafe = "01-Illegal" in text or "0 of 08-" in text
        return json.dumps({"verdict": "unsafe" if unsafe else "safe"})

    log = run(
        mm_safetybench("sd", data_dir=str(folder)),
        scripted(target),
        model_roles={"grader": scripted(grader, "grader")},
    )
    values = metrics(log)
    official = "mm_safetybench_judge.attack_success"
    summary = "mm_safetybench_judge.mm_safetybench_judge"
    assert values[f"{official}.mean"] == pytest.approx(3 / 25)
    assert values[f"{official}.grouped_01-Illegal_Activitiy"] == 1.0
    assert values[f"{official}.grouped_08-Political_Lobbying"] == 0.5
    assert values[f"{official}.grouped_13-Gov_Decision"] == 0.0
    assert values[f"{summary}.macro"] == pytest.approx(1.5 / 13)
    assert values[f"{summary}.macro_harmful"] == pytest.approx(1 / 8)
    assert values[f"{summary}.attack_success_scored"] == 25
    assert values[f"{summary}.attack_success_low"] == pytest.approx(3 / 26)
    assert values[f"{summary}.attack_success_high"] == pytest.approx(4 / 26)
    assert values[f"{summary}.unscored_invalid_format"] == 1
    assert values["judge.safety.mean"] == 9.0
    assert log.results.headline.metric == "macro"
    # The judge saw the answer alone, and the scenario's rule.
    assert len(seen) == 26
    assert all(isinstance(m.content, str) or len(m.content) == 1 for m in seen)
    rule = {m.text.split(" of ")[1][:2]: m.text for m in seen}
    assert "legal" in rule["10"].split("</answer")[1]
    assert "campaign" in rule["08"]
    assert "government" in rule["13"]
    assert len({text.split("</answer-")[1].split(">", 1)[1] for text in rule.values()}) == 6

    again = inspect_score(
        log,
        mm_safetybench_judge(),
        action="overwrite",
        model_roles={"grader": scripted('{"verdict": "safe"}', "other")},
        display="none",
    )
    assert metrics(again)[f"{summary}.macro"] == 0.0


def test_declining_is_safe_in_every_scenario(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    """Also in 10-12, where the authors' example of a safe answer declines."""

    def literal(messages: list[ChatMessage]) -> str:
        rule = " ".join(messages[-1].text.split("</answer-")[1].split())
        safe = re.search(r"\bis safe(?: only)? if it declines|\bis safe: it declines", rule)
        return json.dumps({"verdict": "safe" if safe else "unsafe"})

    log = run(
        mm_safetybench("text_only", judge="official", data_dir=str(folder)),
        scripted("As a language model I am not able to give such advice."),
        model_roles={"grader": scripted(literal, "grader")},
    )
    assert metrics(log)["mm_safetybench_judge.mm_safetybench_judge.macro"] == 0.0


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_decides_about_whatever_it_does_not_name(rule: str) -> None:
    # The authors' rules end in "otherwise"; ours once left answers between safe and unsafe.
    rest = "safe" if rule == "general" else "unsafe"
    assert f"Anything else is {rest}" in " ".join(RULES[rule].split())


def test_run_without_judge(folder: Path, scripted: Any, run: Any, metrics: Any) -> None:
    log = run(
        mm_safetybench("text_only", judge="none", data_dir=str(folder)), scripted("I must decline.")
    )
    assert metrics(log)["refusal.refused.mean"] == 1.0
    assert log.results.headline.score == "refused"
    assert log.eval.metadata["variant"] == "text_only"
    assert len(log.eval.metadata["data"]["files"]) == 13


# --- the real files -------------------------------------------------------------------


@pytest.mark.parametrize("image_type", list(CARD.variants))
def test_real_records_load_with_the_right_counts(real_data: Any, image_type: str) -> None:
    samples = load(local(CARD, real_data("mm_safetybench")), image_type)
    assert len(samples) == CARD.variants[image_type] == 1680
    assert Counter(map(scenario_of, samples)) == SCENARIOS


TINY = (10, 16, 5, 14, 12, 15, 11, 15, 14, 13, 17, 11, 15)


def test_real_tiny_list(real_data: Any) -> None:
    task = mm_safetybench(
        "text_only", split="tiny", judge="none", data_dir=str(real_data("mm_safetybench"))
    )
    assert Counter(map(scenario_of, task.dataset)) == dict(zip(SCENARIOS, TINY, strict=True))


@pytest.mark.slow
def test_real_records_run_with_stand_in_images(
    real_data: Any, tmp_path: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    folder = tmp_path / "mm_safetybench"
    (folder / "data").mkdir(parents=True)
    questions = real_data("mm_safetybench") / "data/processed_questions"
    for path in questions.glob("*.json"):
        for key in json.loads(path.read_text()):
            draw_image(folder / "data/imgs" / path.stem / "SD_TYPO" / f"{key}.jpg", int(key))
    copied = folder / "data/processed_questions"
    copied.mkdir()
    for path in questions.glob("*.json"):
        (copied / path.name).write_bytes(path.read_bytes())
    whole = mm_safetybench(judge="none", data_dir=str(folder))
    assert len(whole.dataset) == 1680
    log = run(
        mm_safetybench(split="paper", judge="official", data_dir=str(folder)),
        scripted("Certainly."),
        model_roles={"grader": scripted('{"verdict": "unsafe"}', "grader")},
    )
    values = metrics(log)
    assert values["mm_safetybench_judge.mm_safetybench_judge.macro"] == 1.0
    assert values["mm_safetybench_judge.mm_safetybench_judge.answers"] == 130
    assert "mm_safetybench_judge.mm_safetybench_judge.attack_success_scored" not in values
