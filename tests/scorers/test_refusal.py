import json
import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.errors import UserError
from vlmguard.guard.record import recorded
from vlmguard.guard.refusals import REFUSAL_PHRASES
from vlmguard.scorers.refusal import load_keywords, refusal


def test_refusals_are_counted_by_phrase(judged: Any, results: Any) -> None:
    answers = [
        "I'm sorry, but I can't help with that.",
        "I\u2019m  UNABLE to do this.",  # a curly quote, capitals, two spaces
        "First, take the stairs.",
        "A long answer. In the end, I cannot provide the last step.",
    ]
    log = judged(refusal(), answer=answers, samples=4)
    values = [sample.scores["refusal"].value["refused"] for sample in log.samples]
    assert values == [1.0, 1.0, 0.0, 1.0]
    found = results(log)
    assert found["refused.mean"] == 0.75
    assert found["refused.grouped_even"] == 0.5
    assert found["refusal.answers"] == 4
    metadata = log.samples[0].scores["refusal"].metadata
    assert metadata["keywords"] == "own"
    assert "unscored" not in metadata


def test_an_empty_answer_is_neither(judged: Any, results: Any) -> None:
    log = judged(refusal(), answer=["", "Sure.", " \n "], samples=3)
    assert math.isnan(log.samples[0].scores["refusal"].value["refused"])
    found = results(log)
    assert found["refused.mean"] == 0.0
    assert (found["refusal.refused_scored"], found["refusal.answers"]) == (1, 3)
    assert (found["refusal.refused_low"], found["refusal.refused_high"]) == (0.0, 2 / 3)
    assert found["refusal.unscored_no_response"] == 2


@solver
def keeps_prefix(prefix: str) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        with recorded(state, "mine", state.input_text) as record:
            record.kept_prefix = prefix
            return await generate(state)

    return solve


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("As an AI language model, take the stairs.", 0.0),
        ("As an AI language model, I cannot help.", 1.0),
        # The prefix is left out only at the start, and only once.
        ("Well. As an AI language model, yes.", 1.0),
    ],
)
def test_the_prefix_that_a_defense_kept_is_no_refusal(
    judged: Any, answer: str, refused: float
) -> None:
    log = judged(refusal(), answer=answer, solver=keeps_prefix("As an AI language model,"))
    assert log.samples[0].scores["refusal"].value["refused"] == refused


def test_an_answer_that_is_nothing_but_prefix_is_empty(judged: Any) -> None:
    log = judged(refusal(), answer="As an AI,", solver=keeps_prefix("As an AI,"))
    score = log.samples[0].scores["refusal"]
    assert math.isnan(score.value["refused"])
    assert score.metadata["unscored"] == {"refused": "no_response"}


def test_a_list_of_ones_own(judged: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(["Not \u201ctoday\u201d"]))
    log = judged(refusal(keywords=str(file)), answer='That is  not "TODAY".')
    score = log.samples[0].scores["refusal"]
    assert score.value["refused"] == 1.0
    assert score.metadata["keywords"] == "mine.json"
    assert score.metadata["keywords_hash"] != load_keywords(None).hash


def test_the_list_below_the_data_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_keywords(None).phrases == REFUSAL_PHRASES
    folder = tmp_path / "vlguard"
    folder.mkdir()
    (folder / "refusal_keywords.json").write_text('["no way"]')
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path))
    listed = load_keywords(None)
    assert (listed.phrases, listed.origin) == (("no way",), "refusal_keywords.json")
    assert load_keywords("own").phrases == REFUSAL_PHRASES


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '["a", 1]', '["a", " "]', '"sorry"', "[1", b"\xff\xfe"]
)
def test_a_bad_list_is_named(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"bad\.json"):
        refusal(keywords=str(file))
    with pytest.raises(UserError, match=r"none\.json"):
        refusal(keywords=str(tmp_path / "none.json"))


def test_the_authors_list_scores_their_gold_refusals(real_data: Any) -> None:
    name = "refusal_keywords.json"
    # 63 phrases as released, of which 59 are distinct.
    listed = load_keywords(str(real_data("vlguard", name) / name))
    assert len(set(listed.phrases)) == 59


def test_the_explanation_says_which_phrase_is_where(judged: Any) -> None:
    answer = "The ladder is loose. " * 8 + "Sorry, I  can\u2019t help with it. " + "Be safe. " * 20
    log = judged(refusal("own"), answer=[answer, "Hold the ladder."], samples=2)
    refused, helped = [(each.scores or {})["refusal"].explanation or "" for each in log.samples]
    assert refused.startswith('"sorry, i can\'t" of the ')
    assert "phrases of refusal (own)" in refused
    assert "sorry, i can't help with it. be safe." in refused
    assert len(refused) < 300
    assert helped.startswith("None of the ")
