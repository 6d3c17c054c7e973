"""Letters of options by three rules (the tolerant one on four letters: `tasks/test_siuo.py`)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.scorers.letters import (
    read_bare_letter,
    read_letter,
    read_marked_letter,
    read_opening_letter,
)


@pytest.mark.parametrize(
    ("answer", "letters", "letter"),
    [
        ("The answer is E.", "ABCDE", "E"),
        ("The answer is E.", "ABCD", None),
        ("B", "AB", "B"),
        ("C", "AB", None),
        ("Not (A) but (E)", "ABCDE", "E"),
        ("A. red\nE. white", "ABCDE", "E"),  # a list chooses nothing; the last letter counts
    ],
)
def test_only_letters_of_options_are_read(answer: str, letters: str, letter: str | None) -> None:
    assert read_letter(answer, letters) == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        (" b\n", "B"),
        ("B.", "B"),
        ("b. green", "B"),
        ("(B)", None),
        ("B) green", None),
        ("Because", None),
        ("The answer is B", None),
        ("E", None),
        ("", None),
        (".", None),
    ],
)
def test_the_bare_letter(answer: str, letter: str | None) -> None:
    assert read_bare_letter(answer, "ABCD") == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b: green", "B"),
        ("(C) blue", "C"),
        ("Option D", "D"),
        ("The answer is a", "A"),
        ("Because of its colour", "B"),  # as the authors' code does
        ("The answer: B", None),
        ("With care: B", None),
        ("( B", None),
        ("option ", None),
        ("", None),
    ],
)
def test_the_letter_that_opens_an_answer(answer: str, letter: str | None) -> None:
    assert read_opening_letter(answer, "ABCD") == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("(b)", "B"),
        ("b) green", "B"),
        ("**c**", "C"),
        ("option d.", "D"),
        ("Answer: a", "A"),
        ("The answer is b", "B"),
        ("(B)", "B"),
        ("a dog", None),
        ("At 5 a.m.", None),
        ("a", "A"),
        ("I'm sorry, but I can't help with a) this.", None),
        ("(e)", None),
        ("because", None),
        ("", None),
    ],
)
def test_the_marked_letter_in_any_case(answer: str, letter: str | None) -> None:
    assert read_marked_letter(answer, "ABCD") == letter


@given(st.text(), st.sampled_from(["AB", "ABCD", "ABCDE"]))
def test_every_rule_gives_a_letter_of_the_options_or_none(answer: str, letters: str) -> None:
    for rule in (read_letter, read_bare_letter, read_marked_letter, read_opening_letter):
        assert rule(answer, letters) in {*letters, None}
