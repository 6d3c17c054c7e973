"""Settings in words, as short as a heading: `max 24 tokens`, and not `max_tokens=24`.

Each setting has its words once, here. What has none is `name=value`. What a reader cannot use in a
heading (paths, hashes, long texts) is named there, and told whole in a footnote.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vlmguard.results.sanitize import clean

__all__ = ["Short", "as_text", "joined", "option", "parsed", "plain", "worded"]

_WORDS: Final[Mapping[str, str]] = {
    "attack_version": "attack version {}",
    "epochs": "{} answers a sample",
    "max_tokens": "max {} tokens",
    "n": "{} samples drawn",
    "num_choices": "{} choices",
    "reasoning_effort": "{} reasoning effort",
    "reasoning_tokens": "max {} reasoning tokens",
    "reducer": "reduced by {}",
    "samples": "{} answers a sample",
    "seed": "seed {}",
    "solver": "asked by {}",
    "temperature": "temperature {}",
    "threshold": "safe from {}",
    "top_k": "top-k {}",
    "top_p": "top-p {}",
    "tries": "{} tries",
    "version": "version {}",
}
_DIFFERS: Final[Mapping[str, str]] = {
    "data": "other data",
    "font": "other font",
    "keywords_hash": "other phrases",
    "judge_template": "other judge prompt",
    "prompt": "other prompt",
    "prompts": "other prompts",
    "system_message": "system message",
    "template": "other template",
}
"""What a heading says of settings whose values tell a reader nothing."""

_HASH: Final = re.compile(r"(?=.{0,64}\d)[0-9a-f]{8,64}")
_LONGEST: Final = 24
"""Letters of a value that a name has room for."""


@dataclass(frozen=True)
class Short:
    """A short text, and what it leaves out.

    Attributes:
        text: The words; may be empty.
        left_out: All that they do not tell; empty if they tell everything.
    """

    text: str
    left_out: str = ""


def option(name: str, value: object) -> Short:
    """An option of a defense as `name=value`: its name means what its defense says."""
    text = clean(plain(value))
    shown = _shortened(text)
    return Short(f"{name}={shown or '…'}", "" if shown == text else f"{name}={plain(value)}")


def worded(name: str, value: object) -> Short:
    """A setting of a run, a model or a judge in words.

    Args:
        name: Its name.
        value: What it was set to.
    """
    whole = f"{name}={plain(value)}"
    if name in _DIFFERS:
        return Short(_DIFFERS[name], whole)
    text = clean(plain(value))
    shown = _shortened(text)
    said = _WORDS[name].format(shown) if name in _WORDS else f"{name}={shown}"
    if not shown:
        said = f"other {name.replace('_', ' ')}" if text else f"{name}="
    return Short(said, "" if shown == text else whole)


def joined(parts: Iterable[Short], longest: int) -> Short:
    """Several texts as one, of as many letters at most; what has no room is left out.

    Args:
        parts: In order; the first always stands, cut if it has to be.
        longest: Most letters.
    """
    kept: list[str] = []
    left: list[str] = []
    # What is told in full comes first; paths, of which a name has but the end, last.
    for each in sorted(dict.fromkeys(parts), key=lambda each: "/" in each.left_out):
        if each.text in ("", *kept):
            left.append(each.left_out)
        elif len(", ".join([*kept, each.text])) <= longest:
            kept.append(each.text)
            left.append(each.left_out)
        else:
            kept += [] if kept else [f"{each.text[: longest - 1]}…"]
            left.append(each.left_out or each.text)
    return Short(", ".join(kept), "; ".join(dict.fromkeys(filter(None, left))))


def parsed(text: str) -> dict[str, object] | None:
    """JSON settings; None for any other text."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def as_text(settings: Mapping[str, object]) -> str:
    """Settings as `name=value`."""
    return ", ".join(f"{name}={plain(value)}" for name, value in settings.items())


def plain(value: object) -> str:
    """A value as text, without the signs of JSON."""
    if isinstance(value, list):
        return "+".join(map(plain, value))
    if isinstance(value, dict):
        return " ".join(f"{name}:{plain(each)}" for name, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(text: str) -> str:
    """A value that a heading has room for; empty if nothing of it helps a reader."""
    if _HASH.fullmatch(text):
        return ""
    steps: tuple[Callable[[str], str], ...] = (_last_part, _four_digits)
    for step in steps:
        text = step(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"


def _last_part(text: str) -> str:
    """A path without its folders; `owner/name` is a hub id, and kept."""
    folders = text.count("/") > 1 or text.startswith(("/", "./", "../", "~/"))
    return text.rstrip("/").rsplit("/", 1)[-1] if folders and " " not in text else text


def _four_digits(text: str) -> str:
    """A number with four digits."""
    return f"{float(text):.4g}" if re.fullmatch(r"-?\d+\.\d{5,}", text) else text
