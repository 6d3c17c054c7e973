"""Reads a reasoner's replies: JSON if it wrote JSON, else any form that is recognised."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from inspect_ai.model import ModelOutput
from pydantic import BaseModel

from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.rewriter.reply import Parsed, parse_reply
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.thinking import strip_thinking

_DECODER: Final = json.JSONDecoder(strict=False)
_BULLET: Final = re.compile(r"^[^\S\n]*(?:[-*\u2022]|\d+[.)])\s+(.+)$", re.MULTILINE)
_VIEWS: Final = ("textual", "visual", "joint")
_OBJECT_START: Final = re.compile(r'\{\s*"[^"\\]{0,200}"\s*:')
_READINGS: Final = 100
"""The most characters read in search of the JSON object, as a multiple of the reply's length."""
_NOTHING: Final = frozenset(("", "none", "n/a", "nothing", "no risk", "empty", "null", "-"))


class Features(BaseModel):
    """Reply of the hindsight stage: features F."""

    features: list[str]


class Report(BaseModel):
    """Reply of the analysis stage: report A."""

    textual: str
    visual: str
    joint: str

    def text(self) -> str:
        """The views that are not empty, one a line."""
        views = (("textual", self.textual), ("visual", self.visual), ("joint", self.joint))
        return "\n".join(f"{name}: {view.strip()}" for name, view in views if not _is_nothing(view))


class Rewriting(BaseModel):
    """Reply of the rewrite stage."""

    reasoning: str
    prompt: str


def problem_of(output: ModelOutput) -> str:
    """Why a reply could not be read: `empty`, `refused`, `cut_off` or `invalid_format`."""
    said = read_output(output)
    if said.kind == "refusal":
        return "refused"
    if said.reason == "token_limit":
        return "cut_off"
    if said.kind == "no_answer":
        return "empty"
    if is_refusal(said.text):
        return "refused"
    return "cut_off" if said.kind == "cut_off" else "invalid_format"


def is_cut_off(output: ModelOutput) -> bool:
    """Whether a reply ended at a token limit."""
    said = read_output(output)
    return said.kind == "cut_off" or said.reason == "token_limit"


def is_filtered(output: ModelOutput) -> bool:
    """Whether the provider marked a reply as a refusal."""
    return read_output(output).kind == "refusal"


def read_features(text: str, *, cut_off: bool) -> list[str] | None:
    """Read the risk features of the hindsight stage.

    Args:
        text: The reply: JSON, with or without words around it, or a list.
        cut_off: The reply ended at the token limit; only a whole JSON object counts.

    Returns:
        The features; may be empty. None if the reply cannot be read.
    """
    found = _json_object(text, ("features",))
    if found is not None:
        value = found["features"]
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list):
            return None
        # Some models write an object for each feature instead of a sentence.
        sentences = [
            ": ".join(str(part) for part in item.values()) if isinstance(item, dict) else str(item)
            for item in items
        ]
    elif cut_off:
        return None
    else:
        sentences = [match[1] for match in _BULLET.finditer(text)]
        if not sentences:
            return None
    return [sentence.strip() for sentence in sentences if not _is_nothing(sentence)]


def read_report(text: str, *, cut_off: bool) -> Report | None:
    """Read the three views of the analysis stage.

    Args:
        text: The reply: JSON, or `textual: ...` and so on with any markup.
        cut_off: The reply ended at the token limit; only a whole JSON object counts.

    Returns:
        The report; None if no view is found.
    """
    found = _json_object(text, _VIEWS)
    if found is None and not cut_off:
        found = _labelled(text, _VIEWS)
    if not found:
        return None
    views = {name: _flat(found.get(name)) for name in _VIEWS}
    return Report(**views)


def read_rewriting(text: str, *, instructions: str, cut_off: bool) -> Parsed:
    """Read the rewritten request and its reasoning.

    Args:
        text: The reply: JSON, `reasoning: ... prompt: ...`, or the rewriter's
            own tags.
        instructions: The template; a reply that repeats its lines is an echo.
        cut_off: The reply ended at the token limit; only a whole JSON object or a closed
            `<prompt>` counts.

    Returns:
        The parts. The rules for the rewriter's replies decide what is usable, so that no reply is
        taught that would later be rejected.
    """
    # Thinking holds drafts. It counts as the reasoning only if the reply has no other.
    reply = strip_thinking(text)
    found = _json_object(reply, ("prompt",))
    if found is None and not cut_off and "<prompt>" not in reply.lower():
        found = _labelled(reply, ("reasoning", "prompt"))
    if found and "prompt" in found:
        reasoning, prompt = _flat(found.get("reasoning")), _flat(found["prompt"])
        text = target_text(reasoning, prompt)
    return parse_reply(text, instructions=instructions, cut_off=cut_off)


def target_text(reasoning: str, prompt: str) -> str:
    """The reply that the rewriter learns, in its one output format.

    Args:
        reasoning: Its reasoning; empty for the request alone.
        prompt: The request to pass on.
    """
    thoughts = f"<reasoning>{reasoning}</reasoning>\n" if reasoning else ""
    return f"{thoughts}<prompt>{prompt}</prompt>"


def _is_nothing(text: str) -> bool:
    return text.strip().strip(".").casefold() in _NOTHING


def _flat(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(str(part) for part in value).strip()
    return str(value).strip()


def _json_object(text: str, keys: Sequence[str]) -> dict[str, Any] | None:
    """The last JSON object in the text that holds one of the keys."""
    found = None
    # A failed attempt has read the text up to its error. Many failures would make the time
    # quadratic, so they share a budget.
    patience = _READINGS * len(text)
    end = 0
    for start in _OBJECT_START.finditer(text):
        if start.start() < end:
            continue
        try:
            item, end = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            patience -= error.pos
            if patience < 0:
                break
        except (ValueError, RecursionError):
            break  # a longer number, or deeper nesting, than in any sensible reply
        else:
            if any(key in item for key in keys):
                found = item
    return found


def _labelled(text: str, names: Sequence[str]) -> dict[str, str]:
    """Sections that start with `name:` at the start of a line, with any markup."""
    label = re.compile(
        r"^[ \t>{\"'*_#\-\d.()]*("
        + "|".join(names)
        + r")\b[\s\"'*_]*(?:(?:view|analysis|risk)[\s\"'*_]*)?:",
        re.IGNORECASE | re.MULTILINE,
    )
    marks = list(label.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    return {
        mark[1].lower(): _undressed(text[mark.end() : end])
        for mark, end in zip(marks, ends, strict=True)
    }


def _undressed(text: str) -> str:
    """A section without markup around it and without the quotes of an incomplete JSON object."""
    plain = text.strip(" \n\t*_`").rstrip("},").strip(" \n\t*_`,")
    quoted = len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'"
    return plain[1:-1].strip() if quoted else plain
