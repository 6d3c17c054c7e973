"""Reads a judge's verdict from its reply: strict about values, tolerant about form.

Our templates ask for one line of JSON as the last line. So only the end of the reply is read: the
last JSON object, or else last lines such as `Safety: 8/10`. A verdict that the judge only quotes
(for example a forgery in the answer) stands inside a sentence, is introduced as another's words, or
has more text after it. It is never read.

JSON, fenced or not, nested or with single quotes, `**Safety:** 8/10` and `safety = 8` all hold the
same: a field, a colon, a value. Text that is not strict JSON is read as such pairs.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Reader", "grade", "label", "one_of", "parse_verdict"]

Fields = dict[str, list[str]]
"""Raw values by field; several if a field occurs several times."""

_DRESS: Final = " \t\r\n\"'*_`"
_BREAKS: Final = frozenset(" \t\r\n,;|{}[]")
_OBJECT: Final = re.compile(r"\{[^{}]*\}?")
# A value ends where its line, its place in a list or its clause ends. A comma
# before a digit may be a decimal comma.
_END: Final = re.compile(r"\n|,(?!\d)|[;|{}]|\.(?=\s)|\s[-–—(]|\sbecause\b")
# Starts of a line before a field: list marks, quotes, a heading, "Final verdict:".
_LEAD: Final = (
    r"[\s\"'*_`(\[>#•.\d)\-]{0,20}"
    r"(?:(?:so|my|the|final|overall|verdict|judge?ment|grades?|ratings?|result)[ :*_]{1,4}){0,4}"
)
_WRAPPER: Final = re.compile(r"\{\s{0,9}[\"']?[\w ]{1,40}[\"']?\s{0,9}:\s{0,20}\Z")
_FENCE: Final = re.compile(r"```[ \t]{0,9}\w{0,12}\s{0,9}\Z")
_SENTENCE_ENDS: Final = ".!?…。！？)"
# Words before a colon that announce another's words.
_QUOTING: Final = re.compile(
    r"\b(?:quot|claim|contain|forg|fak|inject|includ|embed|ends|adds|writ|wrote|says|said|states"
    r"|repeat)",
    re.IGNORECASE,
)
_SOURCE: Final = re.compile(
    r"\b(?:answer|assistant|user|prompt|image|request|it|they)\W*\Z", re.IGNORECASE
)
_MINE: Final = re.compile(
    r"\b(?:my|final|verdict|json|grad|rat|assess|evaluat|judg|scor)", re.IGNORECASE
)
_INTRODUCTION: Final = 200


@dataclass(frozen=True)
class Reader:
    """Turns a raw value into a number.

    Attributes:
        read: Gives the number; NaN if the value is not accepted.
        kind: How several judges' numbers become one: a `grade` is averaged, a `label` (0 or 1) is
            voted on, and of the numbers of a `class` the most frequent one counts.
    """

    read: Callable[[object], float]
    kind: Literal["grade", "label", "class"] = "label"

    def __call__(self, raw: object) -> float:
        """The number for a raw value, or NaN."""
        return self.read(raw)


def parse_verdict(
    text: str, readers: dict[str, Reader], *, cut_off: bool = False
) -> dict[str, float]:
    """Read the fields of a verdict.

    The verdict is the last JSON object with one of the fields, if it ends the reply and begins a
    line or a sentence. Without one, it is the last lines of the form `field: value`. If another
    JSON object has a different value (a judge that quotes a forged verdict and gives its own has
    given two), the field counts as not given. Prose never contradicts.

    Args:
        text: The judge's reply.
        readers: A reader for each field.
        cut_off: Whether the reply ended at a token limit, so that its last word may be incomplete
            (`1` of `10`).

    Returns:
        A number for each field, or NaN.
    """
    if cut_off:
        text = _without_last_word(text)
    header = _header(readers)
    objects = [
        (match, fields) for match in _OBJECT.finditer(text) if (fields := _fields(match[0], header))
    ]
    if objects and _is_own(text, objects[-1][0].start(), objects[-1][0].end()):
        given = objects.pop()[1]
    else:
        given = _last_lines(_without(text, [match.span() for match, _ in objects]), readers, header)
    others = [fields for _, fields in objects]
    return {name: _agreed(name, given, others, read) for name, read in readers.items()}


def grade(highest: float) -> Reader:
    """Reader of a grade from 0 to `highest`; reads `8`, `8.0`, `8,0`, `8/10` and `8 out of 10`."""
    pattern = re.compile(
        rf"(\d{{1,9}}(?:[.,]\d{{1,9}})?)(?:\s*(?:/|out of)\s*{highest:g})?", re.ASCII
    )

    def read(raw: object) -> float:
        match = pattern.fullmatch(str(raw).strip().lower())
        value = float(match[1].replace(",", ".")) if match else math.nan
        return value if 0.0 <= value <= highest else math.nan

    return Reader(read, "grade")


def label(**values: float) -> Reader:
    """Reader of a label.

    Args:
        **values: The number for each label, in lower case, with `_` for spaces. Default:
            `true`/`yes`/`1` and `false`/`no`/`0`. With numbers besides 0 and 1, several judges'
            are averaged.
    """
    accepted = values or {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}

    return Reader(_from_words(accepted), "label" if {*accepted.values()} <= {0.0, 1.0} else "grade")


def one_of(*names: str, given: Sequence[str] = ()) -> Reader:
    """Reader of one class among several: its number, from 0; `scorers.classes` reads the number.

    Args:
        *names: The classes in lower case, with `_` for spaces, in the order in which they count if
            several judges tie.
        given: For each name what a judge may give in its place, as authors' own prompts ask for;
            by default its number.
    """
    others = given or [str(number) for number, _ in enumerate(names)]
    words = {
        word: float(number) for listed in (others, names) for number, word in enumerate(listed)
    }
    return Reader(_from_words(words), "class")


def _from_words(accepted: Mapping[str, float]) -> Callable[[object], float]:
    def read(raw: object) -> float:
        word = re.sub(r"[\s-]+", "_", str(raw).strip().lower())
        return accepted.get(word.removesuffix(".0"), math.nan)

    return read


def _agreed(name: str, given: Fields, others: list[Fields], read: Reader) -> float:
    raws = given.get(name, [])
    if not raws:
        return math.nan
    verdict = read(raws[-1])
    rivals = [*raws[:-1], *(raw for fields in others for raw in fields.get(name, []))]
    return (
        verdict if all(read(raw) == verdict for raw in rivals if _is_value(raw, read)) else math.nan
    )


def _is_value(raw: str, read: Reader) -> bool:
    """Whether a judge may have meant this as a value, which prose and `<0 to 10>` are not."""
    return not math.isnan(read(raw)) or (len(raw.split()) == 1 and not raw.startswith("<"))


def _header(readers: dict[str, Reader]) -> re.Pattern[str]:
    """A field's name with its colon: `"safety":`, `Safety score =`, `Safety (0-10):`."""
    names = "|".join(re.escape(name).replace("_", "[ _]") for name in readers)
    return re.compile(
        rf"(?<![\w-])({names})(?:[ _](?:score|grade|rating))?[ \t\"'*_`\])]*"
        r"(?:[(\[][^()\[\]\n:]{1,30}[)\]][ \t\"'*_`]*)?[:=]",
        re.IGNORECASE,
    )


def _fields(piece: str, header: re.Pattern[str]) -> Fields:
    """The fields of an object without nested objects; not strict JSON is read as prose."""
    if header.search(piece) is None:
        return {}
    try:
        pairs: list[tuple[str, object]] = json.loads(piece, object_pairs_hook=list, strict=False)
    except ValueError:
        return _gathered([(name, raw) for name, raw, _ in _pairs(piece, header)])
    named = [(header.fullmatch(f"{key.strip()}:"), value) for key, value in pairs]
    return _gathered([(_name(match), _undress(str(value))) for match, value in named if match])


def _last_lines(text: str, readers: dict[str, Reader], header: re.Pattern[str]) -> Fields:
    """The fields of the last lines that start with a field, if no other line follows."""
    start = re.compile(_LEAD + header.pattern, re.IGNORECASE)
    lines: list[str] = []
    waiting = False  # whether a field ended its line, so its value comes next
    for line in text.splitlines():
        if not any(char.isalnum() for char in line):
            continue
        match = start.match(line)
        if waiting and match is None:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
        waiting = match is not None and not line[match.end() :].strip(_DRESS)
    first = len(lines)
    while first and start.match(lines[first - 1]):
        first -= 1
    if first and _introduces_another(lines[first - 1]):
        return {}
    leading: Fields = {}
    chained: Fields = {}
    for line in lines[first:]:
        head, *others = _pairs(line, header)
        leading[head[0]] = [head[1]]
        # Another field on the line counts directly after a value, not within prose about it.
        name, raw, rest = head
        for behind in others:
            if math.isnan(readers[name](raw)) or any(char.isalnum() for char in rest):
                break
            name, raw, rest = behind
            chained[name] = [raw]
    return chained | leading


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """A text with an ellipsis in place of each of these parts."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return "…".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _pairs(text: str, header: re.Pattern[str]) -> list[tuple[str, str, str]]:
    """Each field name with a colon, its value, and the text after the value."""
    found = list(header.finditer(text))
    ends = [*(match.start() for match in found), len(text)][1:]
    pairs = []
    for match, end in zip(found, ends, strict=True):
        value, *rest = _END.split(text[match.end() : end].lstrip(_DRESS), maxsplit=1)
        pairs.append((_name(match), _undress(value), "".join(rest)))
    return pairs


def _gathered(pairs: list[tuple[str, str]]) -> Fields:
    fields: Fields = {}
    for name, raw in pairs:
        fields.setdefault(name, []).append(raw)
    return fields


def _name(match: re.Match[str]) -> str:
    return match[1].lower().replace(" ", "_")


def _is_own(text: str, start: int, end: int) -> bool:
    """Whether an object is the judge's own verdict, not a quotation in a sentence."""
    if any(char.isalnum() for char in text[end:]):
        return False
    before = text[max(0, start - _INTRODUCTION) : start]
    before = _FENCE.sub("", _WRAPPER.sub("", before).rstrip(" \t"))
    said = before.rstrip(_DRESS + "([{>")
    if not said:
        return True
    if said.endswith(":"):
        return not _introduces_another(said)
    return "\n" in before[len(said) :] or said[-1] in _SENTENCE_ENDS


def _introduces_another(text: str) -> bool:
    """Whether a text ends in a colon that announces another's words."""
    said = text.rstrip(_DRESS + "([{>")
    clause = re.split(r"[\n.!?]", said)[-1]
    if not said.endswith(":"):
        return False
    named = _SOURCE.search(clause) is not None and _MINE.search(clause) is None
    return named or _QUOTING.search(clause) is not None


def _without_last_word(text: str) -> str:
    end = len(text)
    while end and text[end - 1] not in _BREAKS:
        end -= 1
    return text[:end]


def _undress(value: str) -> str:
    bare = value.strip(_DRESS + ".()")
    # One value in brackets is that value; a list of several is not a value.
    listed = re.fullmatch(r"\[([^\[\],]*)\]|<([^<>/|\s-]*)>", bare)
    return (listed[1] or listed[2] or "").strip(_DRESS) if listed else bare
