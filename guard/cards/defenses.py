"""What there is to know of a defense: its calls, its roles, its checks and its parts."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vlmguard.guard.record import DefenseRecord

__all__ = ["Calls", "Check", "DefenseCard", "Part", "Role", "Sees"]


@dataclass(frozen=True)
class Calls:
    """Calls of a model for one sample.

    Attributes:
        least: The fewest.
        most: The most; None if that depends on the answer.
        when: What the number depends on, for people: `if triggered`.
        further_images: How many more there may be for each image after a sample's first.
    """

    least: int
    most: int | None
    when: str = ""
    further_images: int = 0

    def __str__(self) -> str:
        if self.most is None:
            number = f"{self.least} or more"
        else:
            number = str(self.most) if self.least == self.most else f"{self.least} to {self.most}"
        when = f" ({self.when})" if self.when else ""
        more = f", {self.further_images} more a further image" if self.further_images else ""
        return number + when + more


@dataclass(frozen=True)
class Role:
    """A model besides the target.

    Attributes:
        name: The role (`--model-role NAME=MODEL`).
        calls: Its calls for one sample.
        option: Argument of the solver that names a checkpoint instead, if there is one.
        needed: Whether the defense cannot run without the role or the option.
    """

    name: str
    calls: Calls
    option: str | None = None
    needed: bool = True


@dataclass(frozen=True)
class Check:
    """A check with a threshold, which `vlmguard calibrate` sets.

    Attributes:
        option: The solver's argument (`-S`).
        note: The key of the score in the record's notes.
        low: Whether low scores raise an alarm, or high ones.
        model: Argument that names the checkpoint of the scores, if there is one.
        bounds: The range of thresholds that the solver accepts.
    """

    option: str
    note: str
    low: bool
    model: str | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class Part:
    """A part of a defense that makes a decision, for tables that compare it with the truth.

    Attributes:
        name: Its name in tables.
        reads: The input of its decision: the target's `answer`, the `image`, or the `request` with
            its image; or the `caption` of an image that it writes.
        positive: What counts as its alarm, for people.
        acted: Whether it raised an alarm; None if it did not run, or said nothing of use.
        wrote: The request or caption that it wrote, or None. None in its place for a part that only
            raises alarms.
        stages: Its calls, as records name them, without a number.
        option: The solver's argument without which it does not run; empty if there is none.
    """

    name: str
    reads: Literal["answer", "image", "request", "caption"]
    positive: str
    acted: "Callable[[DefenseRecord], bool | None]" = field(repr=False)
    wrote: "Callable[[DefenseRecord], str | None] | None" = field(
        default=lambda record: record.rewritten, repr=False
    )
    stages: tuple[str, ...] = ()
    option: str = ""


Sees = Literal["all", "each", "none", "altered", "format"]
"""What a stage sees of several images: all at once, each in a call of its own, text alone, or all
of them altered; or it depends on the guard model's `format`, whose table says it."""


def _as_stated(args: Mapping[str, Any], bound: Collection[str]) -> Mapping[str, "Calls"]:
    return {}


def _lacks_nothing(args: Mapping[str, Any], bound: Collection[str], target: str) -> list[str]:
    return []


@dataclass(frozen=True)
class DefenseCard:
    """A defense.

    Attributes:
        name: Name of the solver.
        title: Name of the method.
        version: `NUMBER-LETTER`; raised when scores of old and new rows must not be mixed.
        paper: Its publication.
        summary: What it does, in one line.
        target_calls: Calls of the target for one sample.
        roles: Models besides the target.
        images: What each of its stages sees of a sample with several images, by the stage's name in
            the record, without its number.
        options: The solver's arguments that matter most, in the order of the README.
        notes: What to say of values of its options, by option.
        fidelity: How closely it follows its authors.
        blind_to: Harms that it cannot see by construction.
        ours: Whether it is the method that this suite builds; it comes first in lists and figures.
        published_as: Its name in published tables; the title by default.
        checks: Its checks with a threshold. The defense raises an alarm if all of them do.
        all_checks: Arguments with which every check runs on every answer, if the defaults do not do
            that.
        parts: Its parts that make decisions.
        lacks: Says what else it needs to start, each with the way out, from its arguments, the
            roles with a model, and the target (empty if it is not chosen yet).
        calls: Gives the calls of `target` or a role, by name, where they depend on its arguments or
            on the roles with a model; others are as stated above.
        taught: Its texts that our tiny models learned, by purpose; no other card has the same
            purpose. Another text, or one more, needs new weights. A defense without such texts is
            left out of their experiment.
    """

    name: str
    title: str
    version: str
    paper: str
    summary: str
    target_calls: Calls
    roles: tuple[Role, ...] = ()
    images: Mapping[str, Sees] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    fidelity: str = ""
    blind_to: str = ""
    ours: bool = False
    published_as: str = ""
    checks: tuple[Check, ...] = ()
    all_checks: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    lacks: Callable[[Mapping[str, Any], Collection[str], str], list[str]] = field(
        default=_lacks_nothing, repr=False
    )
    calls: Callable[[Mapping[str, Any], Collection[str]], Mapping[str, Calls]] = field(
        default=_as_stated, repr=False
    )
    taught: Mapping[str, str] = field(default_factory=dict, repr=False)
