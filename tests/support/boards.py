"""Rows of a leaderboard without logs."""

from collections.abc import Sequence

from vlmguard.results.leaderboard.model import Group
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.declared import Declared
from vlmguard.results.logs.measures import Measure
from vlmguard.results.logs.run import Run

COLUMN = Column("toy", "Toy", "all", "1-A", "d1", "", "")


def a_group(measures: Sequence[Measure], endpoint: str = "") -> Group:
    """A group of columns with these measures."""
    return Group(COLUMN, "Toy all", "", "", list(measures), endpoint=endpoint)


def a_run(target: str, defense: str) -> Run:
    """A run without answers."""
    return Run(
        paths=("",),
        view=0,
        column=COLUMN,
        target=target,
        target_settings="",
        defense=defense,
        defense_version="",
        defense_args="",
        template="",
        guards="",
        judge="",
        note="",
        created="",
        identity=("", ""),
        declared=Declared(""),
    )
