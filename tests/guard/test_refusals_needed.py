"""A search for needed texts may skip nothing that a refusal's patterns find."""

import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.refusals import is_refusal, only_refuses, reading
from vlmguard.guard.refusals.needed import needed

OWN = Path(__file__).with_name("refusals")

_TEXT = st.text("abcd ", min_size=1, max_size=4)
_PIECE = st.one_of(
    _TEXT,
    st.sampled_from(["^", "$", r"\b", ".", r"\w", "[ab]", "[a-c]", "[^a]", "(?=a)", "(?! b)"]),
)
PATTERNS = st.recursive(
    _PIECE,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda ways: f"(?:{'|'.join(ways)})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{0,2}", "{1,2}", "{2}", "*?", "++"])).map(
            lambda both: f"(?:{both[0]}){both[1]}"
        ),
        inner.map(lambda each: f"({each})"),
        inner.map(lambda each: f"(?>{each})"),
    ),
    max_leaves=8,
)
WORDS = ["".join(letters) for length in range(5) for letters in product("ab c", repeat=length)]


@given(st.lists(PATTERNS, min_size=1, max_size=3))
def test_it_is_found_wherever_one_of_the_patterns_is(patterns: list[str]) -> None:
    fast = needed(patterns)
    missed = [
        word
        for word in WORDS
        if any(re.search(pattern, word) for pattern in patterns) and not fast.search(word)
    ]
    assert missed == []


@pytest.mark.parametrize(
    ("patterns", "plain", "marked"),
    [
        ([r"\bi (?:can't|cannot) help\b"], "here is some help", "i cannot help"),
        ([r"^(?:so )?no(?: way)?$", "refus(?:e|al)"], "of course", "no"),
        (["[äö]ffne .{1,5} nicht"], "ich will", "äffne das nicht"),
    ],
)
def test_plain_texts_are_skipped(patterns: list[str], plain: str, marked: str) -> None:
    assert needed(patterns).search(plain) is None
    assert needed(patterns).search(marked)


def test_a_pattern_that_needs_no_text_is_always_searched_for() -> None:
    assert needed(["never", r"\d+"]).search("seven")
    assert needed(["(?:no)?"]).search("")


def test_no_pattern_finds_nothing() -> None:
    assert needed([]).search("no") is None


def test_replies_are_read_as_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [line for path in sorted(OWN.rglob("*.txt")) for line in path.read_text().splitlines()]
    texts += [f"{one.rstrip('.')}, {two}" for one, two in zip(texts, texts[7:], strict=False)]
    fast = [(is_refusal(text), only_refuses(text)) for text in texts]
    fast_tables, every = reading._tables, re.compile("")

    def slow(script: str) -> tuple[re.Pattern[str], list[reading._Patterns]]:
        return every, [each._replace(needed=every) for each in fast_tables(script)[1]]

    monkeypatch.setattr(reading, "_tables", slow)
    assert fast == [(is_refusal(text), only_refuses(text)) for text in texts]
