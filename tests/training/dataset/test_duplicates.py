"""Rows that teach the same: the index beside a comparison of each with each, and large sets."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.all_pairs import near_duplicates_by_pairs
from support.synthetic_logs import WORDS

from vlmguard.training.dataset import duplicates
from vlmguard.training.dataset.duplicates import Taught, near_duplicates


def test_what_a_near_duplicate_is() -> None:
    def twins(*rows: tuple[str, str, str]) -> set[int]:
        return near_duplicates([Taught(*row) for row in rows])

    x, y = "How do I climb this?", "May I touch that old wire?"
    assert twins(("a", x, "Same words here"), ("a", y, "same words, HERE")) == {1}
    assert twins(("a", x, "Same words here"), ("b", y, "same words here")) == {1}
    # The same request about another image may have the same rewriting.
    assert twins(("a", x, "Same words here"), ("b", x, "same words here")) == set()
    assert twins(("a", x, "Same words here"), ("a", x, "Quite different")) == set()
    # Nine of ten words are enough with the same image, not with another one.
    ten = "one two three four five six seven eight nine ten"
    assert twins(("a", x, ten), ("a", y, ten + " more")) == {1}
    assert twins(("a", x, ten), ("b", y, ten + " more")) == set()
    # A dropped row is no reason to drop another.
    assert twins(("a", x, ten), ("a", x, ten), ("b", x, ten)) == {1}


TEXT = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=24).map(" ".join)
ROWS = st.lists(st.builds(Taught, st.sampled_from(["a", "b"]), TEXT, TEXT), max_size=40)


@settings(max_examples=40)
@given(ROWS)
def test_the_index_finds_what_all_pairs_find(rows: list[Taught]) -> None:
    assert near_duplicates(rows) == near_duplicates_by_pairs(rows)


@pytest.mark.parametrize("seed", range(6))
def test_the_index_finds_what_all_pairs_find_among_variants(seed: int) -> None:
    # A few words of a text are exchanged, so that shares lie on both sides of the limit; each image
    # has more rows than are compared one by one.
    drawn = random.Random(seed)
    patterns = [drawn.sample(WORDS, drawn.randint(9, 40)) for _ in range(6)]

    def variant() -> str:
        words = list(drawn.choice(patterns))
        for _ in range(drawn.randint(0, 2)):
            words[drawn.randrange(len(words))] = drawn.choice(WORDS)
        return " ".join(words[drawn.randint(0, 2) :])

    rows = [Taught(drawn.choice("ab"), variant(), variant()) for _ in range(400)]
    # Many requests of one pattern with one x'.
    rows += [Taught("c" + str(n), variant(), drawn.choice(["x y", "z"])) for n in range(80)]
    drawn.shuffle(rows)
    found = near_duplicates(rows)
    assert found == near_duplicates_by_pairs(rows)
    assert 100 < len(found) < len(rows)


@pytest.mark.parametrize("kind", ["equal", "pattern", "one image"])
def test_thousands_of_rows_take_no_comparison_of_each_with_each(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    def counted(*sets: Any) -> bool:
        nonlocal compared
        compared += 1
        return is_near(*sets)

    is_near = duplicates._is_near
    monkeypatch.setattr(duplicates, "_is_near", counted)
    drawn = random.Random(0)
    core = " ".join(WORDS[:30])
    many = [f"{one}{other}" for one in WORDS for other in range(100)]
    rows = {
        "equal": lambda n: Taught("i", "same", "word word word"),
        # All x' are the same words, and all requests are near each other.
        "pattern": lambda n: Taught(f"i{n}", f"{core} {n}", "the same request"),
        "one image": lambda n: Taught("i", "same", " ".join(drawn.choices(many, k=20))),
    }[kind]
    made = [rows(number) for number in range(4000)]
    found = near_duplicates(made)
    # Each with each would be 8 million.
    assert compared < 40 * len(made)
    assert len(found) == {"equal": 3999, "pattern": 0}.get(kind, len(found))
