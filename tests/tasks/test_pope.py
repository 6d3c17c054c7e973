"""POPE: both layouts, both rules, rates by hand, the real questions."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, ModelOutput
from inspect_ai.scorer import SampleScore, Score
from support.benchmark_folders.pope import STRATEGIES, write_pope, write_pope_parquet
from support.folders import draw_image

from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers.yes_no_rates import yes_no_rates
from vlmguard.tasks.pope import ASK, CARD, load, pope


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pope(tmp_path / "pope")


# --- loading --------------------------------------------------------------------------


def test_samples_hold_what_scorers_need(folder: Path) -> None:
    task = pope(data_dir=str(folder))
    samples = list(task.dataset)
    assert [str(sample.id) for sample in samples] == [f"pope/adversarial/{n}" for n in range(1, 5)]
    (message,) = samples[1].input
    assert [part.type for part in message.content] == ["image", "text"]
    assert message.text == f"Is there a kettle in the image?\n{ASK}"
    assert samples[1].target == "no"
    metadata = samples[1].metadata
    assert metadata["category"] == metadata["subset"] == "adversarial"
    assert metadata["expected"] == "comply"
    assert metadata["image_id"] == "COCO_val2014_000000000000.jpg"
    assert task.metadata["drawn"] is None
    # No role is asked for: yes and no need no judge.
    assert CARD.questions({}) == 0


@pytest.mark.parametrize("strategy", [*STRATEGIES, "all"])
def test_the_hubs_files_hold_the_same(strategy: str, folder: Path, tmp_path: Path) -> None:
    packed = write_pope_parquet(tmp_path / "packed")
    ours, theirs = (load(local(CARD, root), strategy) for root in (folder, packed))
    assert len(ours) == (12 if strategy == "all" else 4)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.id, one.target, one.metadata) == (other.id, other.target, other.metadata)
        assert one.input[0].text == other.input[0].text  # type: ignore[union-attr]
    task = pope(strategy=strategy, data_dir=str(packed))  # type: ignore[arg-type]
    assert len(task.dataset) == len(theirs)
    assert len(task.metadata["data"]["files"]) == 2


def test_a_drawing_is_the_same_each_time(folder: Path) -> None:
    drawn = [pope(strategy="all", n=5, seed=seed, data_dir=str(folder)) for seed in (1, 1, 2)]
    ids = [[sample.id for sample in task.dataset] for task in drawn]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 5
    assert drawn[0].metadata["drawn"] == {"n": 5, "seed": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "hard"}, "-T strategy=hard is not known"),
        ({"rule": "lenient"}, "-T rule=lenient is not known"),
        ({"n": 5}, "-T n: 5 cannot be drawn, choose between 1 and 4"),
        ({"judge": "general"}, "-T judge=general: POPE has nothing to judge"),
        ({"judge_template": "x.txt"}, "-T judge_template=x.txt: POPE has nothing to judge"),
        ({"judge_hint": True}, "judge_hint=true: these samples come without a hint"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pope(data_dir=str(folder), **options)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question_id": 9, "image": "a.jpg", "text": "A?", "label": "maybe"}', "line 5: .*label"),
        ('{"question_id": "x", "image": "a.jpg", "text": "A?", "label": "no"}', "question_id"),
        ('{"question_id": 9, "image": "a.jpg", "text": " ", "label": "no"}', "line 5: .*text"),
        ('{"question_id": 4, "image": "a.jpg", "text": "A?", "label": "no"}', "4 occurs twice"),
        ('{"question_id": 9, "image": "a.jpg", "text": "A?", "label": "no"}', "adversarial/9: .*a"),
        ("{broken", "line 5"),
    ],
)
def test_broken_lines_are_named(folder: Path, line: str, message: str) -> None:
    with (folder / "output/coco/coco_pope_adversarial.json").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=message):
        pope(data_dir=str(folder))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"coco_pope_adversarial.json not found.*RUCAIBox"):
        pope(data_dir=str(tmp_path))


# --- scoring --------------------------------------------------------------------------

PREFIX = "pope_rules."
ANSWERS = {
    # lamp (there), picture 0 and 1; kettle (not there), picture 0 and 1.
    "lamp0": "Yes",
    "lamp1": "Yes, there is.",
    "kettle0": "I'm sorry, but I can't help with that.",
    "kettle1": "\nno\n",
}


def answer(messages: list[ChatMessage]) -> str:
    text = messages[-1].text
    seen = [name for name in ANSWERS if name[:-1] in text]
    # The first question of a kind is about picture 0: answers come one after the other.
    answer.count[seen[0]] += 1  # type: ignore[attr-defined]
    return ANSWERS[seen[answer.count[seen[0]] - 1]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", ["official", "strict"])
def test_a_run_reports_both_rules_and_their_gap(
    rule: Any, folder: Path, scripted: Any, run: Any, metrics: Any, tmp_path: Path
) -> None:
    answer.count = Counter()  # type: ignore[attr-defined]
    log = run(
        pope(rule=rule, data_dir=str(folder)),
        scripted(answer),
        max_samples=1,
        max_connections=1,
    )
    values = metrics(log)
    # Official: yes, yes, yes (the refusal), no -> 3 of 4 right. Strict: yes, other, other, no.
    assert values[f"{PREFIX}correct.mean"] == 0.75
    assert values[f"{PREFIX}correct_strict.mean"] == 0.5
    assert values[f"{PREFIX}refused_as_yes.mean"] == 0.25
    rates = f"{PREFIX}pope_rules."
    assert values[f"{rates}format_damage"] == 0.25
    if rule == "official":
        assert values[f"{PREFIX}says_yes.mean"] == 0.75
        assert values[f"{rates}precision"] == pytest.approx(2 / 3)
        assert values[f"{rates}recall"] == 1.0
        assert values[f"{rates}f1"] == pytest.approx(0.8)
    else:
        assert values[f"{PREFIX}says_yes.mean"] == 0.25
        assert values[f"{rates}precision"] == 1.0
        assert values[f"{rates}recall"] == 0.5
        assert values[f"{rates}f1"] == pytest.approx(2 / 3)
    headline = {"official": "correct", "strict": "correct_strict"}[rule]
    assert log.results.headline.score == headline
    assert log.eval.model_roles in (None, {})
    scores = {sample.id: sample.scores["pope_rules"] for sample in log.samples}
    assert scores["pope/adversarial/2"].metadata["strict"] == "other"
    assert scores["pope/adversarial/2"].metadata["official"] == "yes"
    # Two pictures with two questions each are the clusters, half of each right.
    assert values[f"{PREFIX}correct_strict.stderr"] == pytest.approx(0.0)
    # Main tables show the strict rule beside the headline, and no rule twice.
    (group,) = build(read_results([str(tmp_path / "logs")])).groups
    shown = [measure.label for measure in group.measures if measure.primary]
    both = ["Correct %", "Strictly correct %"]
    assert [label for label in shown if label in both] == both[rule == "strict" :]


def test_missing_and_filtered_answers_are_no_yes(
    folder: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    def say(messages: list[ChatMessage]) -> str | ModelOutput:
        if "lamp" in messages[-1].text:
            return ""
        output = ModelOutput.from_content("target", "")
        output.choices[0].stop_reason = "content_filter"
        return output

    values = metrics(run(pope(data_dir=str(folder)), scripted(say)))
    # Two answers are missing; the provider refused the other two, which is wrong.
    assert values[f"{PREFIX}correct.mean"] == 0.0
    assert values[f"{PREFIX}says_yes.mean"] == 0.0
    summary = f"{PREFIX}pope_rules."
    assert values[f"{summary}correct_scored"] == 2
    assert (values[f"{summary}correct_low"], values[f"{summary}correct_high"]) == (0.0, 0.5)
    assert values[f"{summary}unscored_no_response"] == 2
    assert math.isnan(values[f"{summary}recall"])
    assert values[f"{summary}f1"] != values[f"{summary}f1"]


def test_rates_without_any_answer_are_missing() -> None:
    compute: Any = yes_no_rates()
    missing = Score(value=dict.fromkeys(("correct", "correct_strict", "says_yes"), math.nan))
    found = compute([SampleScore(score=missing, sample_metadata={"label": "yes"})])
    assert all(math.isnan(value) for value in found.values())
    assert all(math.isnan(value) for value in compute([]).values())


# --- the real files -------------------------------------------------------------------


def test_real_questions_are_balanced(real_data: Any) -> None:
    source = local(CARD, real_data("pope"))
    for strategy in STRATEGIES:
        samples = load(source, strategy)
        assert len(samples) == CARD.variants[strategy] == 3000
        assert Counter(sample.target for sample in samples) == {"yes": 1500, "no": 1500}
        pictures = Counter((sample.metadata or {})["image_id"] for sample in samples)
        assert set(pictures.values()) == {6}
        assert len(pictures) == 500
    assert len(load(source, "all")) == CARD.variants["all"] == 9000


def test_real_500_run_on_stand_in_pictures(
    real_data: Any, tmp_path: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    path = tmp_path / "output/coco/coco_pope_adversarial.json"
    path.parent.mkdir(parents=True)
    path.write_bytes((real_data("pope") / path.relative_to(tmp_path)).read_bytes())
    for sample in load(local(CARD, tmp_path), "adversarial")[::6]:
        draw_image(tmp_path / "val2014" / (sample.metadata or {})["image_id"])
    task = pope(n=500, data_dir=str(tmp_path))
    there = sum(sample.target == "yes" for sample in task.dataset)
    values = metrics(run(task, scripted("Yes"), limit=60))
    assert 200 < there < 300
    asked = sum(sample.target == "yes" for sample in list(task.dataset)[:60])
    assert values[f"{PREFIX}correct.mean"] == pytest.approx(asked / 60)
    assert values[f"{PREFIX}pope_rules.precision"] == pytest.approx(asked / 60)
    assert values[f"{PREFIX}pope_rules.recall"] == 1.0
