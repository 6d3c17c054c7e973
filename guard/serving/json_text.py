"""JSON text with the places of its values, so that one can change and all other bytes stay.

A body that was parsed and written again has other numbers (`1.0` for `1.00`), other escapes and
another length; here nothing is written again but the value that changes.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import Any, Final, NoReturn
from uuid import uuid4

__all__ = [
    "Edit",
    "InvalidJSON",
    "Value",
    "elements",
    "folded",
    "loads",
    "members",
    "parse",
    "quoted",
    "spliced",
]

_SPACE: Final = " \t\n\r"
_DEEPEST: Final = 100
"""Objects and arrays inside of each other. Python's readers and writers give up at a depth that
depends on who calls them, so without a limit a body could be read once and not a second time.
"""
# A long data URI, or a long string behind a key of Anthropic's API. One pass, whatever the text.
_IMAGE: Final = re.compile(r'"data(?:("[ \t\n\r]{0,9}:[ \t\n\r]{0,9}")|:)[^"]{4000,}+"')


class InvalidJSON(ValueError):
    """A text that is not JSON, or has one key twice; the message holds nothing of its content."""


@dataclass(frozen=True)
class Value:
    """A value and its place.

    Attributes:
        value: The value.
        start: Where it begins in the text.
        end: Where it ends, exclusive.
    """

    value: Any
    start: int
    end: int


@dataclass(frozen=True)
class Edit:
    """A replacement of the text from `start` to `end` (exclusive) by `text`."""

    start: int
    end: int
    text: str


def parse(body: bytes) -> tuple[str, Any]:
    """The text and the value of a body.

    Raises:
        InvalidJSON: Not UTF-8, not JSON, a key that stands twice in one object (two readers may see
            two requests), or nested too deep.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJSON("the body is not UTF-8") from None
    try:
        value, end = _DECODER.raw_decode(text, _behind_space(text, 0))
    except json.JSONDecodeError as error:
        raise InvalidJSON(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise _too_deep() from None
    if _is_deep(value):
        raise _too_deep()
    if _behind_space(text, end) != len(text):
        raise InvalidJSON(f"the body goes on behind its JSON, at character {end}")
    return text, value


def loads(text: str | bytes) -> Any:
    """The value of a text that is not ours, such as a model's answer.

    Raises:
        ValueError: Not JSON, or nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def members(text: str, start: int = 0) -> dict[str, Value]:
    """The members of the object that begins at `start` of a text that `parse` accepted."""
    found: dict[str, Value] = {}
    at = _behind_space(text, _behind_space(text, start) + 1)
    while text[at] != "}":
        key, at = scanstring(text, at + 1, True)
        found[key] = _value_at(text, _behind_space(text, at) + 1)
        at = _next(text, found[key].end)
    return found


def elements(text: str, start: int) -> list[Value]:
    """The elements of the array that begins at `start` of a text that `parse` accepted."""
    found: list[Value] = []
    at = _behind_space(text, _behind_space(text, start) + 1)
    while text[at] != "]":
        found.append(_value_at(text, at))
        at = _next(text, found[-1].end)
    return found


def spliced(text: str, edits: Iterable[Edit]) -> str:
    """A text with edits, which do not overlap."""
    pieces, at = [], 0
    for edit in sorted(edits, key=lambda each: each.start):
        pieces += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*pieces, text[at:]])


def quoted(value: Any) -> str:
    """A value as JSON of ASCII characters: lone surrogates stay what they are."""
    return json.dumps(value)


def _is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than `_DEEPEST`, without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return False
        level = inner
    return any(isinstance(each, dict | list) for each in level)


def _too_deep() -> InvalidJSON:
    return InvalidJSON(f"the body is nested deeper than {_DEEPEST} levels")


def folded(text: str) -> tuple[str, Callable[[str], str]]:
    """A text that `parse` accepted with a short string in the place of each long image.

    Whoever looks for places reads a string once for each level that it is deep, and nearly all of a
    body is its images.

    Returns:
        The text, and what puts the images back into it after edits.
    """
    taken: list[str] = []
    mark = uuid4().hex

    def fold(found: re.Match[str]) -> str:
        # Neither is a quote behind a backslash.
        if text[found.start() - 1] == "\\" or text[found.end() - 2] == "\\":
            return found[0]
        start = found.start() if found[1] is None else found.end(1) - 1
        taken.append(text[start : found.end()])
        return f'{text[found.start() : start]}"{mark}.{len(taken) - 1}."'

    short = _IMAGE.sub(fold, text)

    def unfolded(changed: str) -> str:
        return re.sub(rf'"{mark}\.(\d+)\."', lambda found: taken[int(found[1])], changed)

    return short, unfolded


def _value_at(text: str, at: int) -> Value:
    start = _behind_space(text, at)
    value, end = _DECODER.raw_decode(text, start)
    return Value(value, start, end)


def _next(text: str, at: int) -> int:
    """Where the next member or element begins, or the bracket at the end."""
    at = _behind_space(text, at)
    return _behind_space(text, at + 1) if text[at] == "," else at


def _behind_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidJSON("a key stands twice in one object")
    return found


def _no_number(name: str) -> NoReturn:
    raise InvalidJSON(f"{name} is not JSON")


def _whole(digits: str) -> int | float:
    # Python converts no longer ones; the text keeps all digits.
    return int(digits) if len(digits) < 400 else float(digits)


_DECODER: Final = JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number, parse_int=_whole)
