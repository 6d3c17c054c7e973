"""Reading a judge's verdict out of its reply, strictly about values, tolerantly about form.

JSON, fenced or not, nested or with single quotes, `**Safety:** 8/10` and
`safety = 8` all hold the same thing: a field, a colon, a value. So replies are
read as that and not parsed as JSON.
"""

import math
import re
from collections.abc import Callable
from typing import Final

Reader = Callable[[object], float]
"""Turns a raw value into a number, NaN where it is none of the accepted ones."""

_DRESS: Final = " \t\r\n\"'*_`"
_LAST_WORD: Final = re.compile(r"[^\s,;|{}\[\]]*\Z")
# A value ends where its line, its place in a list or its clause ends. A comma
# before a digit may be a decimal comma.
_END: Final = re.compile(r"\n|,(?!\d)|[;|{}]|\.(?=\s)|\s[-–—(]|\sbecause\b")


def parse_verdict(
    text: str, readers: dict[str, Reader], *, cut_off: bool = False
) -> dict[str, float]:
    """Read the fields of a verdict.

    A judge that quotes a verdict forged in the answer and gives another one
    itself has given two: where a field occurs with different values, it counts
    as not given. Prose after a field's name ("Safety: the answer warns of ...")
    is passed over, but not where the field occurs last; a single word that
    cannot be read is a value, and contradicts.

    Args:
        text: The judge's reply.
        readers: A reader for each field.
        cut_off: The reply ended at a token limit, so that its last word may be
            the beginning of another one (`1` of `10`).

    Returns:
        A number for each field, or NaN.
    """
    if cut_off:
        text = _LAST_WORD.sub("", text)
    found: dict[str, list[str]] = {name: [] for name in readers}
    for name, raw in _pairs(text, readers):
        found[name].append(raw)
    return {name: _agreed(raws, readers[name]) for name, raws in found.items()}


def grade(highest: float) -> Reader:
    """Reader of a grade from 0 to `highest`; `8`, `8.0`, `8,0`, `8/10` and `8 out of 10` alike.

    Args:
        highest: The best grade.
    """
    pattern = re.compile(
        rf"(\d{{1,9}}(?:[.,]\d{{1,9}})?)(?:\s*(?:/|out of)\s*{highest:g})?", re.ASCII
    )

    def read(raw: object) -> float:
        match = pattern.fullmatch(str(raw).strip().lower())
        value = float(match[1].replace(",", ".")) if match else math.nan
        return value if 0.0 <= value <= highest else math.nan

    return read


def label(**values: float) -> Reader:
    """Reader of a label.

    Args:
        **values: The number for each label, in lower case, with `_` for spaces.
            Without any: `true`/`yes`/`1` and `false`/`no`/`0`.
    """
    accepted = values or {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}

    def read(raw: object) -> float:
        word = re.sub(r"[\s-]+", "_", str(raw).strip().lower())
        return accepted.get(word.removesuffix(".0"), math.nan)

    return read


def _agreed(raws: list[str], read: Reader) -> float:
    if not raws:
        return math.nan
    *earlier, last = raws
    verdict = read(last)
    others = [read(raw) for raw in earlier if len(raw.split()) == 1 or not math.isnan(read(raw))]
    return verdict if all(other == verdict for other in others) else math.nan


def _pairs(text: str, readers: dict[str, Reader]) -> list[tuple[str, str]]:
    """Each field name that a colon follows, with the text up to the end of its value."""
    names = "|".join(re.escape(name).replace("_", "[ _]") for name in readers)
    header = re.compile(
        rf"(?<![\w-])({names})(?:[ _](?:score|grade|rating))?[ \t\"'*_`\])]*[:=]", re.IGNORECASE
    )
    found = list(header.finditer(text))
    ends = [*(match.start() for match in found), len(text)][1:]
    return [
        (
            match[1].lower().replace(" ", "_"),
            _undress(_END.split(text[match.end() : end].lstrip(_DRESS), maxsplit=1)[0]),
        )
        for match, end in zip(found, ends, strict=True)
    ]


def _undress(value: str) -> str:
    bare = value.strip(_DRESS + ".()")
    # One value in brackets is that value; a list of several is none.
    listed = re.fullmatch(r"\[([^\[\],]*)\]", bare)
    return listed[1].strip(_DRESS) if listed else bare
