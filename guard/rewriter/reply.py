"""Reads a rewriter's reply: many forms are understood, but only a real request is accepted.

A reply is usable if one request follows the reasoning, in any form that `forms` knows (the prompt
asks for `<prompt>...</prompt>`), or if it says that the request stays as it is. Texts that are not
requests (a refusal, a placeholder, a remark, an echo) never reach the target. Every kind of
unusable reply has a name, because tables show its rate.
"""

import html
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.rewriter.asks import asks, must_ask, shares_words
from vlmguard.guard.rewriter.forms import (
    as_tags,
    sections,
    take_blocks,
    undressed,
    without_remarks,
)
from vlmguard.guard.rewriter.words import kind_of, says_nothing
from vlmguard.guard.text.thinking import split_thinking
from vlmguard.guard.text.untrusted import disarm, plain_spelling

__all__ = ["Parsed", "parse_reply"]

_REASONING_START: Final = re.compile(r"<reasoning>", re.IGNORECASE)
_REASONING_END: Final = re.compile(r"</reasoning>", re.IGNORECASE)
_PROMPT_TAG: Final = re.compile(r"</?prompt>", re.IGNORECASE)
_STRAY: Final = re.compile(r"</?(?:prompt|reasoning|think|request|conversation)>", re.IGNORECASE)
_STATEMENT: Final = 6
_MIN_ECHO: Final = 40
_MIN_REPEATS: Final = 5
_MIN_REPEATED_CHARS: Final = 80
_MAX_PERIOD: Final = 300


@dataclass(frozen=True)
class Parsed:
    """The parts of a rewriter's reply.

    Attributes:
        prompt: The rewritten request; empty if `failure` is set.
        reasoning: The reasoning; empty if there was none.
        failure: None, or why the reply cannot be used.
    """

    prompt: str
    reasoning: str
    failure: str | None


def parse_reply(
    text: str,
    *,
    request: str | None = None,
    instructions: str = "",
    material: str = "",
    cut_off: bool = False,
    addition: bool = False,
) -> Parsed:
    """Split a rewriter's reply into its parts.

    Args:
        text: The reply.
        request: The user's request: the result if the reply says "no change". A copy of it is
            always accepted. It may be empty (an image alone); None if it is not known.
        instructions: The text that the rewriter got before the request: template and form of the
            reply. A reply that repeats a line of it, or the form's placeholder, is an echo, not a
            request.
        material: The text that the rewriter worked on. A `<prompt>` that it already holds is
            quoted, so it is an echo too.
        cut_off: Whether the reply ended at the token limit.
        addition: Whether the reply is to hold what is added to a request. Then `request` is what is
            there already (empty), and "none" is the same as "no change".

    Returns:
        The parts, with `failure` one of `empty`, `cut_off`, `no_prompt`, `several_prompts`,
        `stray_tags`, `refused`, `echo`, `repetition`, `no_request`, or None.
    """
    thinking, reply = split_thinking(text)
    tagged = as_tags(reply, cut_off=cut_off, material=material)
    thoughts, rest, complete = _split(thinking, tagged)
    found, outside = take_blocks(rest, "prompt")
    prompts = list(dict.fromkeys(prompt.strip() for prompt in found))
    if not complete and outside.strip():
        # The reasoning was never closed, so these prompts are drafts.
        prompts, outside = [], rest
    elif not found and not cut_off:
        prompts, outside = _unclosed(outside)
    if prompts:
        prompt, failure = _accepted(prompts, outside, request, instructions, material, addition)
    elif complete and request is not None and not cut_off and _keeps(outside, addition):
        prompt, failure = request, None
    else:
        prompt, failure = "", _no_prompt_failure(text, outside, cut_off)
    return Parsed("" if failure else prompt, thoughts, failure)


def _split(thinking: str, text: str) -> tuple[str, str, bool]:
    """The reasoning, the text after it, and whether the reasoning is closed.

    A prompt that is quoted inside the reasoning does not count. A closing tag that is quoted there
    (from writing in the image, for example) does not end it: the reasoning goes up to the last
    closing tag. A model's own thinking, closed or not, comes first.
    """
    found, rest = take_blocks(text, "reasoning")
    thoughts = [thinking, *found]
    *before, after = _REASONING_END.split(rest)
    thoughts.extend(before)
    opened = _REASONING_START.search(after)
    if opened:
        start = _PROMPT_TAG.search(after, opened.end())
        end = start.start() if start else len(after)
        thoughts.append(after[opened.end() : end])
        after = after[end:]
    said = [thought.strip() for thought in thoughts]
    return "\n".join(thought for thought in said if thought), after, opened is None


def _no_prompt_failure(text: str, outside: str, cut_off: bool) -> str:
    if not text.strip():
        return "cut_off" if cut_off else "empty"
    if _is_repetitive(text):
        return "repetition"
    if cut_off:
        return "cut_off"
    return "refused" if is_refusal(outside) else "no_prompt"


def _unclosed(rest: str) -> tuple[list[str], str]:
    """The request of a reply that lacks the closing tag, and the rest."""
    before, tag, after = rest.partition("<prompt>")
    if not tag or _STRAY.search(before) or not after.strip(" \n`"):
        return [], rest
    return [after.strip().removesuffix("```").strip()], before


def _keeps(said: str, addition: bool) -> bool:
    """Whether a text says that the request stays as it is."""
    return kind_of(said) == "unchanged" or (addition and says_nothing(said))


def _accepted(
    prompts: list[str],
    outside: str,
    request: str | None,
    instructions: str,
    material: str,
    addition: bool,
) -> tuple[str, str | None]:
    """The request to pass on, and its fault."""
    if len(prompts) > 1:
        prompts = [each for each in prompts if not _is_quoted(each, material)] or prompts
    if len(prompts) > 1:
        return "", "several_prompts"
    prompt = prompts[0]
    if _STRAY.search(prompt) or _PROMPT_TAG.search(outside):
        return "", "stray_tags"
    # What it was shown has our tags broken up.
    if request is not None and (_is_same(prompt, request) or _is_same(prompt, disarm(request))):
        return request, None
    prompt = undressed(prompt)
    if request is not None and (_is_same(prompt, request) or (addition and says_nothing(prompt))):
        return request, None
    if _STRAY.search(_as_read(prompt)):
        return "", "stray_tags"
    if not re.search(r"\w", prompt):
        return "", "empty"
    if is_refusal(prompt):
        return "", "refused"
    if _is_echo(prompt, instructions) or _is_quoted(prompt, material):
        return "", "echo"
    if _is_repetitive(prompt):
        return "", "repetition"
    prompt = without_remarks(prompt)
    kind = kind_of(prompt)
    if kind == "unchanged" and request is not None:
        return request, None
    if addition and asks(prompt):
        # Guidance may begin with a remark on the request: it is not the user who says it.
        return prompt, None
    return prompt, None if kind == "request" and _looks_asked(prompt, request) else "no_request"


def _looks_asked(prompt: str, request: str | None) -> bool:
    """Whether a text has the form of a request, or need not have it."""
    if not request or asks(prompt) or not must_ask(prompt):
        return True
    # A long text without a form of asking is a statement, or is in a language that is not known
    # here.
    stated = len(request.split()) >= _STATEMENT and not asks(request)
    return stated or shares_words(prompt, request)


def _is_same(prompt: str, request: str) -> bool:
    return prompt.split() == request.split()


def _is_echo(prompt: str, instructions: str) -> bool:
    forms, lines = _told(instructions)
    return prompt in forms or any(line in prompt for line in lines)


@lru_cache(maxsize=16)
def _told(instructions: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The forms of a reply in instructions, and their long lines; the same for many replies."""
    forms = frozenset(form.strip() for form in take_blocks(instructions, "prompt")[0])
    lines = (line.strip() for line in instructions.splitlines())
    return forms, tuple(line for line in lines if len(line) >= _MIN_ECHO)


def _is_quoted(prompt: str, material: str) -> bool:
    """Whether the material already holds this request as a section of a reply, in any form."""
    return _as_read(prompt) in _held(material)


@lru_cache(maxsize=16)
def _held(material: str) -> frozenset[str]:
    """The sections of a reply that a material holds; the same for several prompts."""
    return frozenset(_as_read(each) for each in sections(_as_read(material)))


def _as_read(text: str) -> str:
    """A text as a model may read it: entities decoded (even twice), look-alikes replaced."""
    plain = undressed(plain_spelling(html.unescape(html.unescape(text))))
    return " ".join(plain.split())


def _is_repetitive(text: str) -> bool:
    """Whether the text ends in the same characters over and over; the last time may be cut."""
    plain = " ".join(text.split()).rstrip(" .,;:!?")
    for period in range(1, _MAX_PERIOD + 1):
        length = max(_MIN_REPEATS * period, _MIN_REPEATED_CHARS)
        if length > len(plain):
            return False
        end = plain[-length:]
        if end[period:] == end[:-period]:
            return True
    return False
