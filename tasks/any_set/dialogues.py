"""Reads the turns of a conversation from a record: a list, JSON, or text with speakers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import parse_json
from vlmguard.tasks.any_set.rows import as_text

__all__ = ["FORMS_OF_TURNS", "Said", "read_turns"]

FORMS_OF_TURNS: Final = (
    "a list of the user's turns, a list of {role, content} (or text; image optional), either of "
    "them as JSON, or text with lines that begin with User:, Assistant: or System:"
)
"""The forms, for messages."""

_SPEAKERS: Final[Mapping[str, str]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
}
_LINE: Final = re.compile(
    rf"^[ \t]*(?:\*\*)?({'|'.join(_SPEAKERS)})(?:[ \t]*\d{{1,3}})?[ \t]*:(?:\*\*)?[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_FIX: Final = "Correct the record."


@dataclass(frozen=True)
class Said:
    """A turn.

    Attributes:
        role: `user`, `assistant` or `system`.
        text: Its text; never blank.
        image: Its picture as the record names it, or None.
    """

    role: str
    text: str
    image: Any = None


def read_turns(value: Any, where: str) -> list[Said]:
    """Read turns.

    Args:
        value: The cell; see `FORMS_OF_TURNS`. A line that begins with a speaker's name and a colon
            begins a turn (`User:`, `user 2:`, `Human:`, `Assistant:`, `AI:`, `System:`), which goes
            on to the next such line.
        where: Record and column, for messages.

    Returns:
        The turns; empty if there is no value.

    Raises:
        UserError: The value has none of the forms, or a turn is blank or has an unknown speaker.
    """
    if isinstance(value, str):
        text = as_text(value)
        if text.lstrip()[:1] not in ("[", "{"):
            return _spoken(text, where)
        value = parse_json(text, where)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UserError(f"{where}: a list is needed, not a {type(value).__name__}: {_what()}")
    return [_turn(each, where) for each in value]


def _turn(given: Any, where: str) -> Said:
    if isinstance(given, str):
        given = {"role": "user", "text": given}
    said = given if isinstance(given, dict) else {}
    role = _SPEAKERS.get(as_text(said.get("role")).lower(), "")
    words = [as_text(said[name]) for name in ("text", "content") if name in said]
    if (
        not role
        or len(words) != 1
        or not words[0].strip()
        or not said.keys() <= {"role", "text", "content", "image"}
    ):
        speakers = "|".join(dict.fromkeys(_SPEAKERS.values()))
        raise UserError(
            f"{where}: a turn is needed as {{role: {speakers}, content: ..., image: ...}}, the "
            f"image optional, and not {str(given)[:80]!r}. {_FIX}"
        )
    return Said(role, words[0], said.get("image"))


def _spoken(text: str, where: str) -> list[Said]:
    """The turns of a text in which each begins with its speaker."""
    before, *found = _LINE.split(text)
    if before.strip():
        raise UserError(
            f"{where}: {before.strip()[:60]!r} has no speaker: {_what()}",
        )
    turns = []
    for speaker, said in zip(found[::2], found[1::2], strict=True):
        if not said.strip():
            raise UserError(f"{where}: a turn of {speaker} is blank. {_FIX}")
        turns.append(Said(_SPEAKERS[speaker.lower()], said.strip()))
    return turns


def _what() -> str:
    return f"turns are {FORMS_OF_TURNS}. {_FIX}"
