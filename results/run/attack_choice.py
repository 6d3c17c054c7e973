"""An attack in the configuration of a matrix, and the names of folders."""

import hashlib
import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlmguard.guard.attacks import ChosenAttack, chosen_attack

__all__ = ["UNATTACKED", "AttackChoice", "Named"]

UNATTACKED: Final = "none"

_FOLDER_NAME: Final = re.compile(r"[\w+=,-][\w .+=,-]{0,99}")
_NO_FOLDER_NAME: Final = re.compile(r"[^\w .+=,-]+")
_LONGEST: Final = 40
"""Letters of the folder of an attack that has no label."""


class Named(BaseModel):
    """What a configuration names; in a file, the name alone will do.

    Attributes:
        name: Its name.
        label: Its name in tables of a plan, and of its folder; made from the name by default.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    label: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @field_validator("label")
    @classmethod
    def _a_name(cls, label: str | None) -> str | None:
        return _folder_name(label)


class AttackChoice(Named):
    """An attack on every request.

    Attributes:
        name: The attack, as for `-T attack`: `NAME[:VALUE][:OPTION=VALUE]...`; or `none`.
        tries: The most tries of a search or a dialogue, by default those of its card; with it, a
            static attack is tried again too, each time with another seed.
        optional: Whether it is left out, and named, where a role that it asks has no model.
    """

    name: str = Field(min_length=1)
    tries: int | None = Field(default=None, ge=1)
    optional: bool = False

    @property
    def folder(self) -> str:
        """Its name in paths: `adaptive-R1`; a long one ends in a digest."""
        if self.label is not None:
            return self.label
        made = _NO_FOLDER_NAME.sub("-", self.name).lstrip(" .")
        if len(made) <= _LONGEST:
            return made
        return f"{made[:_LONGEST]}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"

    @property
    def chosen(self) -> ChosenAttack | None:
        """The attack itself; None for `none`.

        Raises:
            UserError: There is no such attack or option.
        """
        return None if self.name == UNATTACKED else chosen_attack(self.name, "attack")


def _folder_name(label: str | None) -> str | None:
    """A label of a defense or an attack, if it can be the name of a folder below log_dir.

    Raises:
        ValueError: It cannot.
    """
    if label is not None and not _FOLDER_NAME.fullmatch(label):
        raise ValueError(f"{label!r}: letters, digits, blanks and . _ - + = , are allowed")
    return label
