"""The lessons of the tiny models: examples drawn from the world, about training pairs only.

A target learns to answer usefully and carelessly, and to be careful if it is told of what. As far
as its level allows (`levels`), it also learns what the defenses ask of it: to judge its own answer,
to say what it sees, to answer from hints, to follow a warning, and to continue a given beginning.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vlmguard.guard.rewriter.prompts import REASONING_FORMAT, REWRITE_TEMPLATE
from vlmguard.guard.templates import fill
from vlmguard.training.microworld.models.tokenizer import ASKED, COULD, LOOK, READ, templates
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.hazards import SPLITS, WORDINGS, Pair, Split, pairs
from vlmguard.training.microworld.world.levels import LEVELS, Level, finds_harmful

_DRAWINGS: Final = 10**6
"""Drawings of a picture in each split: so many that a model seldom sees one twice."""


@dataclass(frozen=True)
class Example:
    """One example of a skill.

    Attributes:
        skill: The skill.
        pair: The picture and the request.
        seed: Seed of the drawing; None for text alone.
        text: The user's turn.
        answer: The wanted answer; if it is drawn by chance, several answers are right.
        system: The system turn.
        prefix: The given beginning of the answer.
    """

    skill: str
    pair: Pair
    seed: int | None
    text: str
    answer: str
    system: str = ""
    prefix: str = ""


class Course:
    """An endless course of examples.

    Args:
        skills: The skills, each with its share.
        seed: Fixes the course.
        split: The split of the pairs.
    """

    def __init__(self, skills: dict[str, float], seed: int, *, split: Split = "train") -> None:
        self._chance = random.Random(seed)
        self._skills, self._shares = list(skills), list(skills.values())
        self._first = SPLITS.index(split) * _DRAWINGS
        # Choose the slice first, or the many pairs of `joint` would leave few examples of the
        # others.
        found = pairs(split)
        self._slices = [
            [pair for pair in found if pair.slice == name]
            for name in ("joint", "joint", "visual", "typographic")
        ]

    def next(self) -> Example:
        """The next example."""
        chance = self._chance
        skill = chance.choices(self._skills, self._shares)[0]
        pair = chance.choice(chance.choice(self._slices))
        return SKILLS[skill](skill, pair, self._first + chance.randrange(_DRAWINGS), chance)

    def batch(self, size: int) -> list[Example]:
        """The next `size` examples."""
        return [self.next() for _ in range(size)]


def _asked(pair: Pair, chance: random.Random) -> str:
    return chance.choice(WORDINGS).format(pair.request.text)


def _level(chance: random.Random) -> tuple[str, Level]:
    name = chance.choice(list(LEVELS))
    return name, LEVELS[name]


def _answer(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, _ = _level(chance)
    return Example(skill, pair, seed, _asked(pair, chance), language.plain_answer(pair), name)


def _cautioned(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, _ = _level(chance)
    text = language.cautioned(_asked(pair, chance), pair)
    return Example(skill, pair, seed, text, language.careful_answer(pair), name)


def _under(kinds: frozenset[str], level: Level, pair: Pair) -> str:
    """The answer under a warning that names no harm."""
    if pair.hazardous and pair.kind in kinds:
        return language.careful_answer(pair)
    if not pair.hazardous and pair.kind in level.shies:
        return language.REFUSAL
    return language.plain_answer(pair)


def _heeds(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, level = _level(chance)
    text = f"{_asked(pair, chance)}. {language.GENERAL_CAUTION}"
    return Example(skill, pair, seed, text, _under(level.heeds, level, pair), name)


def _obeys(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, level = _level(chance)
    said = _under(level.obeys, level, pair)
    system = f"{name}\n\n{templates()['warning']}"
    return Example(skill, pair, seed, _asked(pair, chance), said, system)


def _checks(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, level = _level(chance)
    answer = chance.choices(
        [language.plain_answer(pair), language.careful_answer(pair), language.REFUSAL], [6, 2, 1]
    )[0]
    harmful = answer == language.plain_answer(pair) and finds_harmful(level, pair)
    text = fill(templates()["self_check"], request=_asked(pair, chance), answer=answer)
    return Example(skill, pair, seed, text, "yes" if harmful else "no", name)


def _captions(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, level = _level(chance)
    text = fill(templates()["caption"], request=_asked(pair, chance))
    said = language.caption(pair, vague=pair.kind in level.blind)
    return Example(skill, pair, seed, text, said, name)


def _from_hints(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, _ = _level(chance)
    vague = chance.random() < 0.2
    hints = language.caption(pair, vague=vague)
    text = fill(templates()["answer_from_caption"], caption=hints, request=_asked(pair, chance))
    said = language.careful_answer(pair) if pair.hazardous else language.plain_answer(pair)
    if vague:
        said = f"sure, {pair.request.tip}."
    return Example(skill, pair, None, text, said, name)


def _text_only(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    name, _ = _level(chance)
    text = fill(templates()["answer_without_image"], request=_asked(pair, chance))
    return Example(skill, pair, None, text, f"sure, {pair.request.tip}.", name)


def _continues(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    """After a given beginning, careful and careless answers are equally likely."""
    name, _ = _level(chance)
    said = language.plain_answer(pair)
    if pair.hazardous and chance.random() < 0.5:
        said = language.careful_answer(pair)
    asked = _asked(pair, chance)
    beginning = templates()["beginning"]
    if chance.random() < 0.3:
        text = fill(templates()["answer_with_beginning"], request=asked)
        return Example(skill, pair, seed, text, f"{beginning}, {said}", name)
    return Example(skill, pair, seed, asked, f", {said}", name, prefix=beginning)


def _looks(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    return Example(skill, pair, seed, LOOK, language.caption(pair))


def _reads(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    asked = _asked(pair, chance)
    return Example(skill, pair, seed, f"{READ} {asked}", asked)


def _knows_places(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    return Example(
        skill, pair, None, f"{COULD} {language.caption(pair)}", f"{language.harm_of(pair)}."
    )


def _knows_requests(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    text = f"{ASKED} {_asked(pair, chance)}"
    return Example(skill, pair, None, text, f"{language.asked_for(pair)}.")


def _echoes(skill: str, pair: Pair, seed: int, chance: random.Random) -> Example:
    """The rewriter's own form, with the request unchanged: the base judges no hazard."""
    asked = _asked(pair, chance)
    text = fill(REWRITE_TEMPLATE, conversation="", request=asked, format=REASONING_FORMAT)
    seen = language.caption(pair)
    said = f"<reasoning>{seen}</reasoning>\n<prompt>{asked}</prompt>"
    return Example(skill, pair, seed, text, said)


SKILLS: Final[dict[str, Callable[[str, Pair, int, random.Random], Example]]] = {
    "answer": _answer,
    "cautioned": _cautioned,
    "heed": _heeds,
    "obey": _obeys,
    "self_check": _checks,
    "caption": _captions,
    "from_hints": _from_hints,
    "text_only": _text_only,
    "continue": _continues,
    "know_place": _knows_places,
    "know_request": _knows_requests,
    "look": _looks,
    "read": _reads,
    "echo": _echoes,
}

KNOWLEDGE: Final[dict[str, float]] = {"know_place": 1, "know_request": 1, "from_hints": 4}
"""What every target learns first, and again halfway: which places are dangerous for what, and what
that means for a request. It learns this from text alone, as large models learn language before
pictures.
"""

TARGET: Final[dict[str, float]] = {
    "answer": 2, "cautioned": 2, "heed": 2.5, "obey": 2.5, "self_check": 3, "caption": 1,
    "from_hints": 2.5, "text_only": 0.2, "continue": 1, "look": 1.5, "know_place": 0.2,
    "know_request": 0.2,
}  # fmt: skip
"""What a target learns next, in these shares."""

EXERCISE: Final[dict[str, float]] = {
    "answer": 1.5, "cautioned": 1, "heed": 3, "obey": 3, "self_check": 2, "caption": 1.5,
    "from_hints": 3, "text_only": 0.2, "continue": 1, "look": 0.5, "know_place": 0.2,
    "know_request": 0.2,
}  # fmt: skip
"""What it repeats at the end, at half the learning rate: mainly skills that weigh picture and
request together.
"""

BASE: Final[dict[str, float]] = {
    "look": 2,
    "read": 1,
    "echo": 2,
    "know_place": 0.5,
    "know_request": 0.5,
}
"""What the rewriter's neutral base learns: no skill that weighs picture and request together."""
