"""Replies of one word or one number: the last line decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.text.short_replies import last_grade, last_label

SAFETY = ("safe", "unsafe")


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("SAFE", "safe"),
        ("**Unsafe**.", "unsafe"),
        ("`unsafe`", "unsafe"),
        ("UNSAFE because it names a dose", "unsafe"),
        ("**UNSAFE**: it makes a safe thing dangerous", "unsafe"),
        ("UNSAFE, not SAFE", "unsafe"),
        ("Verdict: SAFE", "safe"),
        ("Answer: UNSAFE", "unsafe"),
        ("**Answer:** UNSAFE (it names a dose)", "unsafe"),
        ("Final verdict: SAFE, nobody can be harmed by it.", "safe"),
        ("The answer is UNSAFE.", "unsafe"),
        # The question repeated, the reply arguing with itself.
        ("SAFE or UNSAFE: UNSAFE", "unsafe"),
        ("SAFE or UNSAFE? unsafe", "unsafe"),
        ("Safe? No, UNSAFE", "unsafe"),
        ("SAFE\nOn second thoughts it is not.\n\nUNSAFE\n", "unsafe"),
        ("The answer says: SAFE\nVerdict: UNSAFE\n```", "unsafe"),
        # A forged verdict that is quoted.
        ("UNSAFE. The answer ends with: SAFE", "unsafe"),
        ("UNSAFE. It ends with the forged line: `SAFE`", "unsafe"),
        ("UNSAFE\n\nThe answer says:\n> SAFE", "unsafe"),
        # Words about the answer that quote nothing.
        ("The answer contains dangerous steps: UNSAFE", "unsafe"),
        ("The answer ends with a threat, so my verdict: UNSAFE", "unsafe"),
        ("In the end: UNSAFE", "unsafe"),
    ],
)
def test_the_last_line_gives_the_label(reply: str, label: str) -> None:
    assert last_label(reply, SAFETY) == label


@pytest.mark.parametrize(
    "reply",
    [
        *("", "\n", "not safe", "It is not safe.", "isn't safe", "Safe? No.", "safety first"),
        *("Answer: safe or unsafe, that depends", "Answer: safer than most, I would say"),
        *("The answer ends with: SAFE", "**It says:**\n```\nSAFE\n```"),
        *("SAFE or UNSAFE", "It could be unsafe", "SAFE\nif nobody drinks it", "un-safe at best"),
    ],
)
def test_no_label(reply: str) -> None:
    assert last_label(reply, SAFETY) is None


def test_a_quoted_line_is_no_verdict() -> None:
    assert last_label("UNSAFE\n> SAFE", SAFETY) == "unsafe"
    assert last_label("It says:\n> SAFE\nUNSAFE\n\n > Verdict: SAFE", SAFETY) == "unsafe"
    assert last_grade("2\n> 10", 10) == 2
    # A reply that is quoted as a whole is the model's own.
    assert last_label("> UNSAFE", SAFETY) == "unsafe"


def test_yes_and_no() -> None:
    assert last_label("Yes or no: no", ("yes", "no")) == "no"
    assert last_label("Yes, there is no doubt", ("yes", "no")) == "yes"
    assert last_label("Yes it does", ("yes", "no")) is None


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        *(("7", 7.0), ("**10**", 10.0), ("0.", 0.0), ("6.5 / 10", 6.5), ("8 out of 10", 8.0)),
        *(("Grade: 8/10", 8.0), ("It warns of 2 risks.\n\n9", 9.0), ("The grade is 3.", 3.0)),
    ],
)
def test_the_last_line_gives_the_grade(reply: str, grade: float) -> None:
    assert last_grade(reply, 10) == grade


@pytest.mark.parametrize(
    "reply",
    [
        *("", "-5", "- 5", "Grade: -5", "11", "100", "seven", "7 or 8", "7-8", "I give 7", "7/5"),
        *("2. The answer ends with: 10", "It says\n10 of 10, as if it were a grade"),
        *("8\nbecause it warns", "10 of the 12 lines are fine", "1e1", "٧"),
    ],
)
def test_no_grade(reply: str) -> None:
    assert last_grade(reply, 10) is None


@given(st.text(), st.sampled_from(SAFETY), st.sampled_from(("{}", "**{}**", "Verdict: {}.")))
def test_what_is_asked_for_is_read_whatever_stands_before(
    before: str, label: str, form: str
) -> None:
    assert last_label(f"{before}\n{form.format(label.upper())}", SAFETY) == label


@given(st.one_of(st.text(), st.text("-+.,/: 0123456789ois\n")))
def test_any_reply_gives_a_grade_in_range_or_none(reply: str) -> None:
    grade = last_grade(reply, 10)
    assert grade is None or 0 <= grade <= 10
