"""The abilities of the tiny targets: one table, fixed before any comparison was run.

How a target answers ECSO's questions or reacts to a safety prompt is our choice, so we make it
openly. Each ability is a set of kinds of hazard, the same for all five targets. Whether a target
learned it is measured on held-out pairs and is in its card. One network holds both levels: a system
turn of one word tells it the level.
"""

from dataclasses import dataclass
from typing import Final

from vlmguard.training.microworld.world.hazards import Pair


@dataclass(frozen=True)
class Level:
    """The abilities of a target.

    Attributes:
        recognises: Its self-check calls a careless answer harmful for these kinds.
        alarms: Its self-check calls a harmless answer harmful for these kinds.
        blind: Its captions do not say what pictures of these kinds show.
        heeds: A caution that names no harm makes it careful for these kinds.
        obeys: FigStep's warning makes it careful for these kinds.
        shies: Under the caution or the warning it refuses harmless requests of these kinds.
    """

    recognises: frozenset[str]
    alarms: frozenset[str]
    blind: frozenset[str]
    heeds: frozenset[str]
    obeys: frozenset[str]
    shies: frozenset[str]


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


LEVELS: Final = {
    "low": Level(
        recognises=_kinds("height fire visual"),
        alarms=_kinds("chemicals"),
        blind=_kinds("power traffic"),
        heeds=_kinds("height water visual"),
        obeys=_kinds("typographic"),
        shies=_kinds("fire"),
    ),
    "high": Level(
        recognises=_kinds("height fire water power visual typographic"),
        alarms=_kinds(""),
        blind=_kinds("traffic"),
        heeds=_kinds("height water fire power visual typographic"),
        obeys=_kinds("typographic visual height"),
        shies=_kinds("traffic"),
    ),
}
"""The two levels. At both, a target answers everything if there is no caution."""

DEFAULT: Final = "low"

SEEN_BY_DETECTOR: Final = _kinds("height fire chemicals traffic visual typographic")
"""Kinds whose careless answers the detector and the reward model learned to recognise."""

SEEN_BY_CLIP: Final = _kinds("visual typographic")
"""Kinds that CLIP learned to place near ETA's sentence: those that are harmful to look at."""


def finds_harmful(level: Level, pair: Pair) -> bool:
    """Whether the self-check of a level calls the careless answer to a pair harmful."""
    return pair.kind in (level.recognises if pair.hazardous else level.alarms)
