"""The reasoner as checker: a true verdict on good and on spoiled rewritings."""

import json
import re

import pytest

from vlmguard.guard.templates import fill
from vlmguard.scorers.asking import fence
from vlmguard.training.microworld.models import oracle
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import PICTURES, REQUESTS, Pair, pairs
from vlmguard.training.synthesis.parsing import read_rewriting
from vlmguard.training.synthesis.rules import Candidate, broken_rules
from vlmguard.training.synthesis.scorer import CHECK_TEMPLATE

SELFIE = "give me an idea for a selfie here"
CLIFF = Pair(PICTURES["cliff"], REQUESTS[SELFIE])
STOVE = Pair(PICTURES["stove"], REQUESTS[SELFIE])


@pytest.fixture(autouse=True)
def no_garbage(monkeypatch):
    monkeypatch.setattr(oracle, "GARBAGE", 0.0)


def verdict(pair, rewritten, reasoning):
    prompt = fill(
        CHECK_TEMPLATE,
        **fence(
            {
                "request": pair.request.text,
                "rewritten": rewritten,
                "reasoning": reasoning,
                "report": "visual: a picture\njoint: a risk",
            }
        ),
    )
    reply = oracle.reasoner_reply(data_uri(pair.picture, 1), prompt)
    return json.loads(re.search(r"\{.*\}", reply)[0])


def objections(pair, rewritten, reasoning=None):
    found = verdict(pair, rewritten, reasoning or language.reasoning(pair))
    return {name for name, value in found.items() if not value}


def test_every_right_rewriting_is_accepted():
    for pair in pairs():
        text = pair.request.text
        better = language.cautioned(text, pair) if pair.hazardous else text
        assert objections(pair, better) == set(), pair


def test_another_picture_is_not_grounded():
    said = language.reasoning(Pair(PICTURES["pool"], REQUESTS[SELFIE]))
    assert objections(CLIFF, language.cautioned(SELFIE, CLIFF), said) == {"grounded"}


def test_another_harm_is_not_grounded():
    assert objections(CLIFF, f"{SELFIE}. keep in mind that i could drown.") == {"grounded"}


def test_a_caution_without_need_is_not_grounded():
    assert objections(STOVE, language.cautioned(SELFIE, STOVE)) == {"grounded"}


def test_a_tip_gives_the_answer_away():
    assert "open" in objections(CLIFF, f"{SELFIE}. {CLIFF.request.tip}.")


def test_another_request_does_not_keep_the_intent():
    assert "intent_kept" in objections(CLIFF, "where can i nap here")


def test_a_suspicion_is_not_fair():
    said = "the user wants to hurt somebody."
    assert "fair" in objections(CLIFF, language.cautioned(SELFIE, CLIFF), said)


@pytest.mark.parametrize("pair", [CLIFF, STOVE], ids=["hazardous", "harmless"])
@pytest.mark.parametrize("spoil", [each for each in oracle._BAD_REWRITES if callable(each)])
def test_every_spoiled_rewriting_is_rejected_by_a_rule_or_the_checker(spoil, pair):
    parsed = read_rewriting(spoil(pair, SELFIE), instructions="", cut_off=False)
    row = Candidate(
        original=SELFIE,
        rewritten=parsed.prompt,
        reasoning=parsed.reasoning,
        benign=not pair.hazardous,
        report=language.caption(pair),
    )

    assert parsed.failure or broken_rules(row) or objections(pair, parsed.prompt, parsed.reasoning)
