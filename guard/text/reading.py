"""What a guard's model reads of a foreign text: the same words, with nothing hidden in them.

A zero-width space in a word, a Cyrillic letter among Latin ones, or letters of the block of tags
(which nobody sees, and many models read) keep a harmful word from a guard, and not from the target.
So every model that checks, rewrites or describes reads the text as it looks. The target gets the
original: the text is the user's, and all of it may be meant.

Judges read what was said, to the letter (`scorers/asking.py`): a score is about the request as it
was asked and the answer as it was given, and is compared with scores of other runs.

What `as_read` does:

- Compatibility forms become plain ones (NFKC): full-width and mathematical letters, ligatures.
  Raised and lowered numbers and fractions stay: 10² is not 102.
- What Unicode calls ignorable goes: zero-width spaces, soft hyphens, controls of direction,
  fillers, invisible operators, byte order marks; so do control characters that break no line.
  Letters of the block of tags become the letters.
- Zero-width joiners and non-joiners stay behind letters whose script needs them (Arabic, Syriac,
  Mongolian, those of India and their kin), and joiners between emoji; variation selectors stay
  behind emoji. Of several in a row the first stays.
- In a word of several scripts, letters that look Latin become Latin; in a text that is mostly
  Cyrillic, those that look Cyrillic become Cyrillic, unless the word has a letter that is Latin
  alone. A word that is all Cyrillic, Greek or Armenian is left alone, even if all its letters look
  Latin; so is an abbreviation with a Russian ending in such a text (PDF-ка without the hyphen).

Printed ASCII stays as it is. The table of look-alikes is small: it has no Cherokee, for example.
"""

import re
from collections.abc import Iterable
from typing import Final

import regex
from inspect_ai.model import ChatMessage

from vlmguard.guard.text.normal_forms import normal_form
from vlmguard.guard.text.untrusted import LOOKALIKES, disarm, plain_spelling

__all__ = ["as_read", "marked", "quoted", "quoted_turns", "to_read"]

# Scripts whose letters take other forms beside (non-)joiners.
_JOINING: Final = "".join(
    rf"\p{{Script={name}}}"
    for name in (
        *("Arabic", "Syriac", "Mongolian", "Nko", "Mandaic", "Devanagari", "Bengali", "Gurmukhi"),
        *("Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Tibetan"),
        *("Myanmar", "Khmer", "Balinese", "Javanese", "Sundanese", "Grantha", "Newa", "Tirhuta"),
    )
)
_EMOJI: Final = r"\p{Extended_Pictographic}\p{Emoji_Modifier}\u2194\u2195"
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_NUMBERS: Final = re.compile("([⁰¹²³⁴-⁾₀-₎¼-¾⅐-⅟↉]+)")
# Joiners and selectors wait for the second step, since they may be needed.
_IGNORED: Final = regex.compile(
    r"[[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\ufff9-\ufffb\x80-\x84\x86-\x9f]"
    r"--[\u200c\u200d\ufe0e\ufe0f\u180b-\u180f\U000e0020-\U000e007e]]",
    regex.VERSION1,
)
_TAG_LETTER: Final = regex.compile(r"[\U000e0020-\U000e007e]")
_TAG_BLOCK: Final = 0xE0000
_NEEDLESS: Final = regex.compile(
    rf"(?<![{_JOINING}])\u200c"
    rf"|(?<![{_JOINING}]|[{_EMOJI}]|[{_EMOJI}]\ufe0f)\u200d"
    rf"|(?<=[{_EMOJI}]|[{_EMOJI}]\ufe0f)\u200d(?![{_EMOJI}])"
    rf"|(?<![{_EMOJI}]|[0-9#*](?=[\ufe0e\ufe0f]\u20e3))[\ufe0e\ufe0f]"
    r"|(?<!\p{Script=Mongolian})[\u180b-\u180f]"
)
_REPEATED: Final = regex.compile(r"([\u200c\u200d])\1+")
_WORD: Final = regex.compile(r"[\p{L}\p{M}\p{N}_]+")
_FOREIGN: Final = regex.compile(r"[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}]")
_SCRIPTS: Final = tuple(
    regex.compile(rf"\p{{Script={name}}}") for name in ("Latin", "Cyrillic", "Greek", "Armenian")
)
# Capitals look like others than their small letters do.
_CAPITALS: Final = str.maketrans(
    "АВЕЅІЈКМНОРСТУХҮԚԜΑΒΕΖΗΙΚΜΝΟΡΤΥΧՍՕ",
    "ABESIJKMHOPCTYXYQWABEZHIKMNOPTYXUO",
)
_SMALL: Final = str.maketrans(
    {each: latin for each, latin in LOOKALIKES.items() if _FOREIGN.match(each)}
)
# Letters that cannot be told apart, and letters of one script alone.
_TWINS: Final = str.maketrans("ABCEHIJKMOPSTXYaceijopsxy", "АВСЕНІЈКМОРЅТХУасеіјорѕху")
_LATIN_ALONE: Final = re.compile("[DFGLNQRUVWZbdfghklmnqrtuvwz]")
_CYRILLIC_ALONE: Final = re.compile("[БГДЁЖЗИЙЛПФЦЧШЩЪЫЬЭЮЯбвгдёжзийклмнптфцчшщъыьэюя]")
_ABBREVIATION: Final = re.compile("(?=[A-Z0-9]*[DFGLNQRUVWZ])[A-Z0-9]+[а-яё]+")
_ROLE: Final = re.compile(r"\s*(?:system|user|assistant|tool)\s*[:：]")


def as_read(text: str) -> str:
    """A text as it looks to people, for a model that has to understand it.

    Args:
        text: Any text.

    Returns:
        The text in form NFKC, with nothing hidden in it. Applied again, it changes nothing.
    """
    text = _CONTROLS.sub("", text)
    if text.isascii():
        return text
    # A joiner that goes may let two letters combine, and what they become decides about the next.
    while (read := _step(text)) != text:
        text = read
    return text


def to_read(text: str, *tags: str) -> str:
    """A foreign text for the block of a prompt that a guard's model reads: `as_read`, disarmed.

    Args:
        text: The text.
        *tags: As for `disarm`.
    """
    return disarm(as_read(text), *tags)


def quoted(text: str, heads: re.Pattern[str], *tags: str) -> str:
    """A text as `to_read`, in which lines that begin as ours do are quoted (`> User: ...`).

    Args:
        text: The text.
        heads: Beginnings of our lines, in plain spelling.
        *tags: Names of further tags of the prompt, in small letters.
    """
    return marked(to_read(text, *tags), heads)


def marked(text: str, heads: re.Pattern[str]) -> str:
    """A text with `> ` before each line that begins as ours do.

    Args:
        text: The text.
        heads: Beginnings of our lines, in plain spelling.
    """
    lines = text.splitlines(keepends=True)
    return "".join(f"> {line}" if heads.match(plain_spelling(line)) else line for line in lines)


def quoted_turns(turns: Iterable[ChatMessage], *tags: str) -> str:
    """Turns as text, each behind its role; no line of a turn looks like the beginning of another.

    Args:
        turns: The turns.
        *tags: Names of further tags of the prompt, in small letters.
    """
    return "\n".join(f"{turn.role}: {quoted(turn.text, _ROLE, *tags)}" for turn in turns)


def _step(text: str) -> str:
    shown = _TAG_LETTER.sub(lambda tag: chr(ord(tag[0]) - _TAG_BLOCK), _IGNORED.sub("", text))
    single = _REPEATED.sub(r"\1", shown)
    # Numbers that are not on the line stand at every second place.
    parts = [
        part if place % 2 else normal_form("NFKC", part)
        for place, part in enumerate(_NUMBERS.split(single))
    ]
    plain: str = _NEEDLESS.sub("", "".join(parts))
    if _FOREIGN.search(plain) is None:
        return plain
    cyrillic = len(_CYRILLIC_ALONE.findall(plain)) > len(_LATIN_ALONE.findall(plain))
    mapped: str = _WORD.sub(lambda word: _of_one_script(word[0], cyrillic), plain)
    return mapped


def _of_one_script(said: str, cyrillic: bool) -> str:
    """A word; of several scripts, with look-alikes as Latin letters, or as Cyrillic ones."""
    if sum(script.search(said) is not None for script in _SCRIPTS) < 2:
        return said
    if cyrillic and _CYRILLIC_ALONE.search(said) and not _LATIN_ALONE.search(said):
        return said.translate(_TWINS)
    if cyrillic and _ABBREVIATION.fullmatch(said):
        return said
    return said.translate(_CAPITALS).translate(_SMALL)
