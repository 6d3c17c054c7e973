"""Cards: the facts about a benchmark, a defense or a measure, stated once beside its code.

A task has a `Card` in its file, and a solver a `DefenseCard`. A scorer registers how to read its
measures. Tables, plans, leak checks and commands use `cards()`; no other module repeats a name:

    CARD: Final = DefenseCard(name="second_look", ...)                 # in solvers/second_look.py
    register(CARD)
    cards().defenses["second_look"].target_calls                       # anywhere, when it runs
"""

from vlmguard.guard.cards.benchmarks import Card, Git, OtherTask, Partner
from vlmguard.guard.cards.defenses import Calls, Check, DefenseCard, Part, Role, Sees
from vlmguard.guard.cards.measures import GLANCED, Measure, View, as_metadata
from vlmguard.guard.cards.registry import (
    Cards,
    cards,
    check_names,
    register,
    register_measures,
    registered,
)

__all__ = [
    "GLANCED",
    "Calls",
    "Card",
    "Cards",
    "Check",
    "DefenseCard",
    "Git",
    "Measure",
    "OtherTask",
    "Part",
    "Partner",
    "Role",
    "Sees",
    "View",
    "as_metadata",
    "cards",
    "check_names",
    "register",
    "register_measures",
    "registered",
]
