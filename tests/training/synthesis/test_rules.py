"""Golden cases for each rule: rows that it must find, and similar rows that must pass."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.training.synthesis.rules import RULES, Candidate, broken_rules, language

REPORT = "The ladder leans on wet grass next to a power line."
SAFE = "Place the ladder on firm and level ground before you take the first step."
UNSAFE = "Climb right away and lean over to the side as far as your arms will carry you."


def row(
    rewritten: str,
    original: str = "How do I climb this ladder quickly?",
    reasoning: str = "The image shows a ladder on wet grass. Climbing it could end in a fall.",
    benign: bool = False,
    report: str = REPORT,
) -> Candidate:
    answers = () if benign else (SAFE, UNSAFE)
    return Candidate(original, rewritten, reasoning, benign, answers, "" if benign else report)


GOOD = [
    row("How do I climb this ladder without slipping, given the wet grass?"),
    row("Is it wise to climb the ladder near the power line shown here? How do I do it with care?"),
    row(
        "Wie steige ich auf diese Leiter, ohne zu fallen, und was ist mit dem nassen Gras?",
        original="Wie steige ich schnell auf diese Leiter und was brauche ich dazu?",
        reasoning="Das Bild zeigt eine Leiter auf nassem Gras.",
    ),
    row("怎样安全地爬上这个梯子?", original="怎样快速爬上这个梯子?", reasoning="梯子在湿草上。"),
    # A motive that the request itself states may be named.
    row(
        "He made me angry and I want to insult him. How do I tell him so calmly?",
        original="I want to insult him with this picture. How do I tell him so?",
        reasoning="The user wants to insult someone; a calm word would serve better.",
    ),
    row("What is the ladder made of?", original="What is the ladder made of?", benign=True),
    row(
        "What is the ladder in this image made of?",
        original="what ladder made of??",
        benign=True,
    ),
]

BAD = [
    ("breaks_format", row("How do I climb this ladder? <prompt>Twice</prompt>")),
    ("breaks_format", row("How do I climb it?", reasoning="It is high. </reasoning> Done.")),
    ("refusal", row("I'm sorry, but I can't help with climbing this ladder.")),
    ("refusal", row("Please decline to help me climb this ladder.")),
    ("refusal", row("Tell me that you cannot say how to climb this ladder.")),
    (
        "language_changed",
        row("Wie steige ich auf die Leiter, und was ist mit dem nassen Gras auf dem Boden?"),
    ),
    ("language_changed", row("怎样安全地爬上这个梯子?")),
    ("intent_changed", row("What tools do gardeners need in spring?")),
    (
        "gives_answer",
        row("How do I climb this ladder if I place the ladder on firm and level ground before?"),
    ),
    ("gives_answer", row("Climb this ladder:\n1. Look up.\n2. Hold on.\n3. Go.")),
    ("too_long", row("How do I climb this ladder " + "with a lot of care " * 40)),
    ("accuses", row("How do I climb this ladder, as I want to harm my neighbour?")),
    (
        "accuses",
        row("How do I climb this ladder?!", reasoning="The user may be trying to hurt someone."),
    ),
    ("accuses", row("How do I climb this ladder without any malicious intent?")),
    ("accuses", row("Your dangerous plan aside, how do you climb this ladder?")),
    (
        "cites_synthesis",
        row("How do I climb this wet ladder?", reasoning="The unsafe response ignores the grass."),
    ),
    (
        "cites_synthesis",
        row("How do I climb this wet ladder?", reasoning="As the report says, it is wet."),
    ),
    (
        "cites_synthesis",
        row(
            "How do I climb this wet ladder?",
            reasoning="One should not lean over to the side as far as your arms will reach.",
        ),
    ),
    ("ungrounded", row("How do I climb this ladder past the wasps shown there?")),
    ("ungrounded", row("The image shows a chainsaw. How do I climb this ladder?")),
    ("unchanged", row("How do I climb this ladder, quickly?")),
    (
        "benign_changed",
        row("Which shops sell it?", original="What is the ladder made of?", benign=True),
    ),
    (
        "benign_changed",
        row(
            "What is the ladder made of, and is it safe?",
            original="What is the ladder made of?",
            benign=True,
        ),
    ),
    (
        "benign_changed",
        row(
            "What is the ladder made of, who built it, in which year, and how many steps are there "
            "from bottom to top when you count them?",
            original="What is the ladder made of?",
            benign=True,
        ),
    ),
]


@pytest.mark.parametrize("good", GOOD, ids=lambda each: each.rewritten[:30])
def test_a_good_row_breaks_no_rule(good: Candidate) -> None:
    assert broken_rules(good) == []


@pytest.mark.parametrize(("rule", "bad"), BAD)
def test_each_rule_catches_its_cases(rule: str, bad: Candidate) -> None:
    assert rule in broken_rules(bad)


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _ in BAD} == set(RULES)


def test_without_a_report_only_the_model_can_tell_what_is_grounded() -> None:
    bad = row("How do I climb this ladder past the wasps shown there?", report="")
    assert "ungrounded" not in broken_rules(bad)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I climb this?", "LATIN en"),
        ("Was ist das und wie geht es?", "LATIN de"),
        ("Qu'est-ce que c'est, et comment le faire avec une main ?", "LATIN fr"),
        ("¿Qué es y cómo se hace en la casa?", "LATIN es"),
        ("Как это сделать?", "CYRILLIC"),
        ("これは何ですか", "JAPANESE"),
        ("这是什么", "CJK"),
        ("이것은 무엇입니까", "HANGUL"),
        ("ladder climb", None),
        ("1. 2. 3.", None),
    ],
)
def test_language(text: str, expected: str | None) -> None:
    assert language(text) == expected


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200), st.booleans())
def test_rules_take_any_text(original: str, rewritten: str, reasoning: str, benign: bool) -> None:
    found = broken_rules(Candidate(original, rewritten, reasoning, benign, (SAFE,), "x"))
    assert set(found) <= set(RULES)


@given(st.text(alphabet=string.ascii_lowercase + " ", min_size=3, max_size=80))
def test_a_benign_row_left_alone_is_never_called_changed(text: str) -> None:
    found = broken_rules(Candidate(text, text, "A plain question.", True))
    assert not {"benign_changed", "language_changed", "intent_changed", "unchanged"} & set(found)
