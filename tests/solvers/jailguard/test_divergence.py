"""Divergence of answers, against scipy, and its vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from vlmguard.solvers.jailguard.divergence import LARGEST, hashed_vectors, largest_divergence

TEXTS = st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=6)


def of_texts(*texts: str) -> float:
    return largest_divergence(hashed_vectors(texts))


def test_the_golden_number() -> None:
    # Cosines: 0.6 of the first two, 0.8 of the last two, 0 of the others, which counts as 0.01.
    vectors = np.array([[2.0, 0.0], [0.3, 0.4], [0.0, 7.0]])
    rows = np.array([[1, 0.6, 0.01], [0.6, 1, 0.8], [0.01, 0.8, 1]])
    # scipy's entropy makes distributions of the rows itself.
    expected = max(entropy(p, q) for p in rows for q in rows)
    assert largest_divergence(vectors) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(2.8416, abs=1e-4)  # by hand


def test_it_is_of_ordered_pairs() -> None:
    """The divergence of two rows is not symmetric; the larger one counts."""
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    alone, shared = [0.01, 0.01, 1], [1, 1, 0.01]
    there, back = entropy(shared, alone), entropy(alone, shared)
    assert there != pytest.approx(back)
    assert largest_divergence(vectors) == pytest.approx(max(there, back))


@given(TEXTS, st.randoms())
def test_the_order_of_answers_does_not_matter(
    texts: list[str], random: "np.random.Generator"
) -> None:
    found = of_texts(*texts)
    assert 0 <= found <= LARGEST
    random.shuffle(texts)
    assert of_texts(*texts) == pytest.approx(found, abs=1e-9)


@given(st.text(max_size=60), st.integers(2, 9))
def test_equal_answers_do_not_diverge(text: str, count: int) -> None:
    assert of_texts(*[text] * count) == 0.0


@pytest.mark.parametrize(
    "answers",
    [
        ("The rope is red and long.", "This rope is long and red."),
        ("绳子是红色的，很长。", "这条绳子很长，是红色的。"),
        ("الحبل أحمر وطويل.", "الحبل طويل وأحمر."),
    ],
)
def test_answers_of_other_words_diverge_more(answers: tuple[str, str]) -> None:
    same = of_texts(*answers)
    assert 0 < same < of_texts(answers[0], "I'm sorry, I can't help with that.")


def test_the_vectors_count_runs_of_letters() -> None:
    # " ab", "ab " and " ab " of the one, and those of a second word: 3 of 6, each once.
    one, both = hashed_vectors(["ab", "Ab CD"])
    cosine = one @ both / np.linalg.norm(one) / np.linalg.norm(both)
    assert cosine == pytest.approx(3 / math.sqrt(3 * 6))
    # Twice the same counts log(3), not twice log(2).
    assert set(hashed_vectors(["ab ab"])[0]) == {0.0, math.log(3)}
    assert not hashed_vectors([""]).any()
