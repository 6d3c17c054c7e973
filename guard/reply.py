"""Reading a rewriter's reply, whatever it is.

A reply is usable when, after the reasoning, exactly one complete
`<prompt>...</prompt>` holds a request. Everything else has a name, because its
rate stands in every table.
"""

import re
from dataclasses import dataclass
from typing import Final

from vlmguard.refusals import is_refusal
from vlmguard.templates import TAG

_REASONING: Final = re.compile(r"<(reasoning|think)>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_PROMPT: Final = re.compile(r"<prompt>(.*?)</prompt>", re.IGNORECASE | re.DOTALL)
_MIN_ECHO: Final = 40
_MIN_REPEATS: Final = 5
_MIN_REPEATED_WORDS: Final = 20
_MAX_PERIOD: Final = 40


@dataclass(frozen=True)
class Parsed:
    """A rewriter's reply in its parts.

    Attributes:
        prompt: The rewritten request; empty where `failure` is set.
        reasoning: The reasoning; empty if there was none.
        failure: None, or why the reply cannot be used.
    """

    prompt: str
    reasoning: str
    failure: str | None


def parse_reply(text: str, *, instructions: str = "", cut_off: bool = False) -> Parsed:
    """Take a rewriter's reply apart.

    Args:
        text: The reply.
        instructions: The template the rewriter was sent; a reply that repeats
            a line of it is an echo, not a request.
        cut_off: The reply ended at the token limit.

    Returns:
        The parts, with `failure` one of `empty`, `cut_off`, `no_prompt`,
        `several_prompts`, `stray_tags`, `refused`, `echo`, `repetition`, or None.
    """
    thoughts = [match[2].strip() for match in _REASONING.finditer(text)]
    reasoning = "\n".join(thought for thought in thoughts if thought)
    # A prompt quoted inside the reasoning is no prompt.
    rest = _REASONING.sub("", text)
    prompts = [match[1].strip() for match in _PROMPT.finditer(rest)]
    failure = _failure(rest, prompts, instructions, cut_off)
    return Parsed("" if failure else prompts[0], reasoning, failure)


def _failure(rest: str, prompts: list[str], instructions: str, cut_off: bool) -> str | None:
    if not prompts:
        if _is_repetitive(rest):
            return "repetition"
        if cut_off:
            return "cut_off"
        if not rest.strip():
            return "empty"
        return "refused" if is_refusal(rest) else "no_prompt"
    if len(prompts) > 1:
        return "several_prompts"
    prompt = prompts[0]
    if not prompt:
        return "empty"
    if TAG.search(prompt):
        return "stray_tags"
    if is_refusal(prompt):
        return "refused"
    if _is_echo(prompt, instructions):
        return "echo"
    if _is_repetitive(prompt):
        return "repetition"
    return None


def _is_echo(prompt: str, instructions: str) -> bool:
    lines = (line.strip() for line in instructions.splitlines())
    return any(len(line) >= _MIN_ECHO and line in prompt for line in lines)


def _is_repetitive(text: str) -> bool:
    """Whether the text ends in the same words over and over."""
    words = text.split()
    for period in range(1, _MAX_PERIOD + 1):
        repeats = max(_MIN_REPEATS, -(-_MIN_REPEATED_WORDS // period))
        tail = words[-period * repeats :]
        if len(tail) == period * repeats and tail == tail[:period] * repeats:
            return True
    return False
