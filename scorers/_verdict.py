"""Reading a judge's verdict out of its reply, strictly about values, tolerantly about form."""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

Reader = Callable[[object], float]
"""Turns a raw value into a number, NaN where it is none of the accepted ones."""

# Integers of thousands of digits must not overflow on their way to a range check.
_DECODER: Final = json.JSONDecoder(parse_int=float)


def parse_verdict(text: str, readers: dict[str, Reader]) -> dict[str, float]:
    """Read the fields of a verdict.

    Looks for JSON objects that hold one of the fields; where there is none,
    for `field: value` in any dress (bold, quoted, bracketed). A judge that
    quotes a verdict forged in the answer and gives another one itself has given
    two: where a field occurs with different values, it counts as not given.

    Args:
        text: The judge's reply.
        readers: A reader for each field.

    Returns:
        A number for each field, or NaN.
    """
    objects = list(_json_objects(text, readers))
    if objects:
        pairs = [(name, item[name]) for item in objects for name in readers if name in item]
    else:
        pairs = _loose_pairs(text, readers)
    found: dict[str, list[float]] = {name: [] for name in readers}
    for name, raw in pairs:
        found[name].append(readers[name](raw))
    return {
        name: values[0] if values and all(value == values[0] for value in values) else math.nan
        for name, values in found.items()
    }


def grade(highest: float) -> Reader:
    """Reader of a grade from 0 to `highest`; `8`, `"8"` and `"8/10"` alike.

    Args:
        highest: The best grade.
    """
    pattern = re.compile(rf"(\d+(?:\.\d+)?)(?:\s*/\s*{highest:g})?")

    def read(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            return math.nan
        if isinstance(raw, str):
            match = pattern.fullmatch(raw.strip())
            raw = float(match[1]) if match else math.nan
        return float(raw) if 0.0 <= raw <= highest else math.nan

    return read


def label(**values: float) -> Reader:
    """Reader of a label.

    Args:
        **values: The number for each label, in lower case, with `_` for spaces.
            Without any: `true`/`yes`/`1` and `false`/`no`/`0`.
    """
    accepted = values or {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}

    def read(raw: object) -> float:
        if isinstance(raw, float) and raw.is_integer():
            raw = int(raw)
        word = re.sub(r"[\s-]+", "_", str(raw).strip().lower())
        return accepted.get(word, math.nan)

    return read


def _json_objects(text: str, readers: dict[str, Reader]) -> Iterator[dict[str, Any]]:
    """Top-level JSON objects that hold one of the fields."""
    position = text.find("{")
    while position >= 0:
        try:
            item, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if not readers.keys().isdisjoint(item):
                yield item
        position = text.find("{", end)


def _loose_pairs(text: str, readers: dict[str, Reader]) -> list[tuple[str, object]]:
    names = "|".join(re.escape(name).replace("_", "[ _]") for name in readers)
    dress = r"[\s\"'*_`\[\](){}]*"
    pattern = re.compile(
        rf"\b({names}){dress}[:=]{dress}([\w.-]+(?:\s*/\s*\d+)?(?:[ -](?!and\b)\w+)?)",
        re.IGNORECASE,
    )
    pairs: list[tuple[str, object]] = []
    for match in pattern.finditer(text):
        name = match[1].lower().replace(" ", "_")
        # Two words first ("very effective"), then the first word alone.
        whole = match[2].rstrip(".*_`-")
        first = re.split(r"[\s]", whole)[0].rstrip(".,*_`-")
        raw = whole if not math.isnan(readers[name](whole)) else first
        pairs.append((name, raw))
    return pairs
