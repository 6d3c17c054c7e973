"""JailGuard's mutators of texts, for requests without an image.

The authors' operators, with their rates (https://github.com/shiningrain/JailGuard, commit 0a8bd79).
Their third, translation, needs a model and is left out. A sentence's weight counts its words of
four letters or more, where they leave out stop words.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

__all__ = ["TEXT_MUTATORS", "TextMutator"]

TextMutator = Callable[[str, Random], str]
"""Makes a new text of one, with a generator of its own."""

MARKS: Final = ".,!?;:"
INSERTED: Final = "[Mask]"
RATE: Final = 0.005
"""The probability of an insertion at a character."""

WEIGHT: Final = 5
"""How much more likely one is in a sentence that matters."""

_CHOSEN: Final = 3
_SKIPPED: Final = 5
_ENDS: Final = ".!?\u3002\uff01\uff1f"
_SENTENCE: Final = re.compile(rf"[^{_ENDS}]*[{_ENDS}]+\s*|[^{_ENDS}]+")
_WORD: Final = re.compile(r"\w{4,}")


def policy(text: str, rng: Random) -> str:
    """One of punctuation and targeted, with the authors' probabilities, which leave 0.24 out."""
    (mutate,) = rng.choices((punctuation, targeted), weights=(0.24, 0.52))
    return mutate(text, rng)


def punctuation(text: str, rng: Random) -> str:
    """Put a punctuation mark before up to a third of the words, at least one."""
    words = [word.start() for word in re.finditer(r"\S+", text)]
    chosen = rng.sample(words, rng.randint(1, max(1, len(words) // 3)))
    marks = {start: rng.choice(MARKS) for start in sorted(chosen)}
    return re.sub(
        r"\S+",
        lambda word: f"{marks[word.start()]} {word[0]}" if word.start() in marks else word[0],
        text,
    )


def targeted(text: str, rng: Random) -> str:
    """Insert `[Mask]` at random characters, more often in the sentences that matter."""
    pieces = []
    skip = 0
    for sentence, rate in _rated(text):
        for letter in sentence:
            if skip:
                skip -= 1
            elif rng.random() < rate:
                pieces.append(INSERTED)
                skip = _SKIPPED
            pieces.append(letter)
    return "".join(pieces)


def _rated(text: str) -> list[tuple[str, float]]:
    """The sentences with their rates: the three with the most frequent words, and questions."""
    sentences = _SENTENCE.findall(text)
    if len(sentences) <= _CHOSEN:
        return [(text, RATE)]
    words = [_WORD.findall(sentence.casefold()) for sentence in sentences]
    often = Counter(word for each in words for word in each)
    scores = [sum(often[word] for word in each) for each in words]
    places = sorted(range(len(sentences)), key=scores.__getitem__)
    asking = [place for place in places if re.search(r"[?\uff1f]", sentences[place])]
    heavy = {*places[-_CHOSEN:], *asking[:_CHOSEN]}
    return [
        (sentence, RATE * (WEIGHT if place in heavy else 1))
        for place, sentence in enumerate(sentences)
    ]


TEXT_MUTATORS: Final[Mapping[str, TextMutator]] = {
    "policy": policy,
    "punctuation": punctuation,
    "targeted": targeted,
}
"""By name (`-S mutator`)."""
