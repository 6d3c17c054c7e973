"""What the columns of a set mean: its map to roles, and what a right answer does."""

from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError, first_fault

__all__ = ["EXPECTED", "FIELD", "ROLES", "Form", "Map", "Written", "read_form"]

M = TypeVar("M", bound=BaseModel)

Expected = Literal["refuse", "comply", "care"]
EXPECTED: Final = get_args(Expected)
"""What a right answer does: it declines, it helps, or it helps and handles the risk."""

FIELD: Final = "field:"
"""`field:NAME` reads from a column what is expected of a row."""

ROLES: Final = {
    "text": "the request",
    "image": "its picture: a path below the folder of the pictures, or one inside a Parquet file",
    "images": "several pictures: a column with a list, or a list of columns",
    "id": "its name; by default its key or number",
    "category": "a group of the tables",
    "pair": "what samples of one pair share",
    "expected": "what is expected; the same as expected=field:NAME",
    "judge_text": "what is meant, which the judge is told",
    "hint": "what the set's authors wrote about the risk",
    "earlier": "turns before the request, which stay as given (forms as of turns)",
    "turns": "a dialogue in place of text, whose user turns are replayed: see any_set/dialogues.py",
    "image_turn": "the user turn of a dialogue that has its pictures, from 1; by default the first",
    "link": "the address of the picture, for `vlmguard data fetch`",
}
"""What a column can be."""


class Written(BaseModel):
    """A text that every row has, in place of a column.

    Attributes:
        write: The text; `{row}` in it is the row's number in the file, from 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    write: str = Field(min_length=1)


Column = Annotated[str, Field(min_length=1)]
Map = dict[str, Column | list[Column] | Written]
"""A column, or a list of columns for `images`, by role."""


class Form(BaseModel):
    """How samples are made of rows.

    Attributes:
        map: The columns by role.
        expected: `refuse`, `comply`, `care` or `field:NAME`.
        expected_values: What the values of that column mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    map: Map = Field(default_factory=dict)
    expected: str = ""
    expected_values: dict[str, Expected] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for role, columns in self.map.items():
            if role not in ROLES:
                meant = did_you_mean(role, ROLES)
                raise ValueError(f"no role {role}.{meant} Choose from {', '.join(ROLES)}")
            if isinstance(columns, list) and role != "images":
                raise ValueError(f"{role} takes one column, and images a list of them")
        if "image" in self.map and "images" in self.map:
            raise ValueError("image and images exclude each other")
        if others := {"text", "earlier"} & self.map.keys() if "turns" in self.map else ():
            raise ValueError(
                f"turns is a whole dialogue, so {' and '.join(sorted(others))} cannot stand beside "
                "it; turns before a request in text are the role earlier"
            )
        if "image_turn" in self.map and "turns" not in self.map:
            raise ValueError("image_turn goes with turns")
        if self.expected and "expected" in self.map:
            raise ValueError("expected is given in the map and beside it: keep one")
        if self.expected and not self.column and self.expected not in EXPECTED:
            known = ", ".join(EXPECTED)
            meant = did_you_mean(self.expected, EXPECTED)
            raise ValueError(
                f"expected={self.expected} is not known.{meant} Choose from {known} and {FIELD}NAME"
            )
        return self

    @property
    def column(self) -> str:
        """The column that says what is expected, or nothing."""
        if isinstance(named := self.map.get("expected"), str):
            return named
        return self.expected.removeprefix(FIELD) if self.expected.startswith(FIELD) else ""

    def over(self, base: "Form") -> "Form":
        """This form, with another one where it says nothing."""
        own = self.expected or self.map.get("expected")
        replaced = {"expected"} if own else set()
        for exclusive in ({"image", "images"}, {"text", "turns"}):
            replaced |= exclusive if exclusive & self.map.keys() else set()
        below = {role: column for role, column in base.map.items() if role not in replaced}
        return Form(
            map={**below, **self.map},
            expected=self.expected or ("" if own else base.expected),
            expected_values=self.expected_values or base.expected_values,
        )

    def check_complete(self, where: str) -> None:
        """Refuse a form without the request or dialogue, or without what is expected.

        Args:
            where: Where it stands, for the message.

        Raises:
            UserError: One of the two is missing.
        """
        if not {"text", "turns"} & self.map.keys():
            raise UserError(
                f"{where}: no column for the role text. Name it: map={{text: COLUMN, ...}} "
                "(an option of the task: -T map=), or turns for dialogues."
            )
        if not self.expected and not self.column:
            raise UserError(
                f"{where}: what is a right answer? Say expected={'|'.join(EXPECTED)}, or "
                f"expected={FIELD}NAME for a column that says so."
            )


def read_form(model: type[M], content: Any, where: str) -> M:
    """Check content that a user wrote.

    Args:
        model: What it must be.
        content: The content.
        where: Where it stands, for the message.

    Raises:
        UserError: Something is unknown, missing or wrong; names the field.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        field, said = first_fault(error, model)
        raise UserError(f"{where}: {f'{field}: ' if field else ''}{said}. Correct it.") from error
