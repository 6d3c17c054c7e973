"""How to read the measures of a scorer."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["GLANCED", "Measure", "View", "as_metadata"]

GLANCED: Final = "at_a_glance"
"""Scorer of the texts that Inspect View lists beside an answer; they are no measures."""


class Measure(BaseModel):
    """How to read a measure; the form of `Task(metadata={"measures": {NAME: {...}}})`.

    Attributes:
        label: Heading in tables; made from the name by default.
        lower_is_better: Its direction; None derives it from the name.
        neutral: Whether it has no direction.
        max: Its largest value, the smallest being 0; 1 for a share.
        help: Whether it falls if a guard refuses everything.
        average: Whether several answers to a question are averaged, as grades are; labels are
            voted on.
        of_dialogues: Whether only scores of dialogues have it.
        succeeds: Which end of it, of a risky request, says that an attack on the request succeeded.
            Labels are read from their middle, grades from the threshold of a safe answer.
        loose: Whether answers that do no harm may stand at that end, such as one that is not in
            the words of a refusal. What a judge of harm says then comes first.
        note: A note for readers of tables.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = ""
    lower_is_better: bool | None = None
    neutral: bool = False
    max: float | None = Field(default=None, gt=0)
    help: bool | None = None
    average: bool = False
    of_dialogues: bool = False
    succeeds: Literal["high", "low"] | None = None
    loose: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if self.neutral and self.lower_is_better is not None:
            raise ValueError("it is neutral, and lower_is_better says that it is not")
        return self

    @property
    def direction(self) -> int | None:
        """1 if more is better, -1 if less is, 0 if neither is; None if that is not declared."""
        if self.neutral:
            return 0
        return None if self.lower_is_better is None else 1 - 2 * self.lower_is_better


class View(Measure):
    """A measure that takes a key of a score on only some of the samples; main tables show it.

    Attributes:
        of: The key; on a benchmark's card `SCORER.KEY`.
        on: The samples: `benign` ones (`expected` is `comply`), or `risky` ones (all others).
    """

    of: str
    on: Literal["risky", "benign"]


def as_metadata(measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """Measures as `Task(metadata={"measures": ...})` holds them: only what was said, no views."""
    return {
        name: each.model_dump(exclude_defaults=True)
        for name, each in measures.items()
        if not isinstance(each, View)
    }
