"""Makes foreign text (of users, models, files) safe to show to another model.

Halves of characters, which no request can carry, are replaced (`well_formed`). Control tokens of
servers' tokenizers are broken up (`break_controls`), and so are the tags that delimit data in our
prompts, in any spelling (`disarm`).
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

__all__ = ["LOOKALIKES", "break_controls", "disarm", "plain_spelling", "well_formed"]

# Both match only the first character of a tag, in the spelling that `_plain` gives: small letters,
# real brackets, nothing invisible.
_OPENING: Final = r"(?:<|&(?=(?:lt|#0{0,9}60|#x0{0,9}3c);))(?=(?:lt;|#x?[0-9a-f]{1,12};)?[\s/\\]*"
_TAG: Final = re.compile(
    _OPENING + r"(?:request|answer|prompt|reasoning|think|conversation|hints|caption)\b)"
)
# Some tokenizers have `<|turn>` and `<turn|>`, others words in square brackets.
_CONTROL: Final = re.compile(
    r"<(?=\|[^\s<>|]{1,60}\|?>|[a-z_]{1,60}\|>|(?:start|end)_of_turn>|/?s>|</?sys>>)"
    r"|\[(?=/?(?:inst|system_prompt|available_tools|tool_calls|tool_results)\])"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

LOOKALIKES: Final = {
    **dict.fromkeys("‹〈⟨❮❬˂ᐸ≺", "<"),
    **dict.fromkeys("›〉⟩❯❭˃ᐳ≻", ">"),
    **dict.fromkeys("∕⁄⧸╱⟋", "/"),
    **dict.fromkeys("аα", "a"),
    **dict.fromkeys("вьб", "b"),
    **dict.fromkeys("сϲς", "c"),
    **dict.fromkeys("ԁ", "d"),
    **dict.fromkeys("еε", "e"),
    **dict.fromkeys("ɡ", "g"),
    **dict.fromkeys("һнհ", "h"),
    **dict.fromkeys("іιıӏ", "i"),
    **dict.fromkeys("јյ", "j"),
    **dict.fromkeys("кκ", "k"),
    **dict.fromkeys("м", "m"),
    **dict.fromkeys("пո", "n"),
    **dict.fromkeys("оοօσ", "o"),
    **dict.fromkeys("рρ", "p"),
    **dict.fromkeys("ԛզ", "q"),
    **dict.fromkeys("гг", "r"),
    **dict.fromkeys("ѕ", "s"),
    **dict.fromkeys("тτ", "t"),
    **dict.fromkeys("υս", "u"),
    **dict.fromkeys("ѵν", "v"),
    **dict.fromkeys("ѡԝω", "w"),
    **dict.fromkeys("хχ", "x"),
    **dict.fromkeys("уүγ", "y"),
}
"""Small letters that look like a Latin letter, and signs that look like a bracket or a slash. NFKC
replaces others."""

# What is not shown, and is neither a format character nor a mark: fillers, a blank of Braille.
_BLANKS: Final = "\u115f\u1160\u2800"


def well_formed(text: str) -> str:
    """A text that can be encoded, with two surrogates joined and a lone one replaced.

    Models and JSON files may hold lone surrogates, at which requests and tokenizers fail.
    """
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def break_controls(text: str, *tags: str) -> str:
    """Make a text well formed, and turn `<|im_end|>` and the like into `< |im_end|>`.

    Args:
        text: The text.
        *tags: Names of tags that are broken too, in small letters.
    """
    return _broken(well_formed(text), (_CONTROL, *_named(tags)))


def disarm(text: str, *tags: str) -> str:
    """Break our tags and control tokens in foreign text, so that it cannot leave its block.

    Look-alikes (other scripts, full width, invisible characters inside, HTML entities) count as
    what they look like. The text becomes well formed, and `</prompt>` becomes `< /prompt>`, and so
    on.

    Args:
        text: The text.
        *tags: Names of further tags of the prompt, in small letters.
    """
    return _broken(well_formed(text), (_TAG, _CONTROL, *_named(tags)))


def plain_spelling(text: str) -> str:
    """A text as it looks: small letters, look-alikes replaced, nothing invisible."""
    return _plain(text)[0]


def _named(tags: Sequence[str]) -> list[re.Pattern[str]]:
    return [re.compile(rf"{_OPENING}{tag}\b)") for tag in tags]


def _broken(text: str, patterns: tuple[re.Pattern[str], ...]) -> str:
    plain, places = _plain(text)
    # Every pattern begins with one of these, and most texts have none.
    if not any(first in plain for first in "<&["):
        return text
    cuts = {match.start() for pattern in patterns for match in pattern.finditer(plain)}
    pieces: list[str] = []
    start = 0
    for cut in sorted(cuts):
        pieces += (text[start : places[cut] + 1], " ")
        behind = cut + 1
        while behind < len(plain) and plain[behind].isspace():
            behind += 1
        start = places[behind] if behind < len(plain) else len(text)
    return "".join((*pieces, text[start:]))


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """The plain spelling of a text, and the position in the text of each of its characters."""
    if text.isascii():
        return text.lower(), range(len(text))
    pairs = [(each, place) for place, char in enumerate(text) for each in _plain_char(char)]
    return "".join(each for each, _ in pairs), [place for _, place in pairs]


@lru_cache(maxsize=4096)
def _plain_char(char: str) -> str:
    parts = unicodedata.normalize("NFKD", char).casefold()
    # Without combining marks, and characters that are not shown.
    shown = (
        part
        for part in parts
        if unicodedata.category(part) not in ("Cf", "Mn", "Me") and part not in _BLANKS
    )
    return "".join(LOOKALIKES.get(part, part) for part in shown)
