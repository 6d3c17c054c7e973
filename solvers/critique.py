"""Reads what a critic says of an answer, as `rethink` asks for it: a verdict, and a new answer."""

import re
from dataclasses import dataclass
from typing import Final

from vlmguard.guard.rewriter.words import is_placeholder, says_nothing

__all__ = ["Critique", "read_critique", "read_new_answer"]

_VERDICT: Final = re.compile(
    r"^\W{0,6}verdict\W{1,6}(keep|rewrite)\W{0,6}$", re.IGNORECASE | re.MULTILINE
)
_ANSWER: Final = re.compile(
    r"^(?:[ \t#>]|[*-][ \t]){0,6}([*_]{0,3})answer[ \t]{0,3}([*_]{0,3})[ \t]{0,3}:",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE: Final = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)
_PLAIN_FENCE: Final = re.compile(
    r"[ \t]*```[ \t]*(?:text|txt|plain|plaintext|markdown|md)?[ \t]*", re.IGNORECASE
)
_BLOCK: Final = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_OPENING_TAGS: Final = re.compile(r"(?:</?(?:answer|request|reasoning)>\s*)+", re.IGNORECASE)
_CLOSING_TAGS: Final = re.compile(r"(?:\s*</?(?:answer|request|reasoning)>)+\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Critique:
    """What a critic says of an answer.

    Attributes:
        keeps: Whether the answer may stay.
        answer: The new answer in the same reply; empty if there is none.
    """

    keeps: bool
    answer: str = ""


def read_critique(reply: str) -> Critique | None:
    """Read a critic's reply.

    Args:
        reply: The reply, without thinking.

    Returns:
        None without a verdict on a line of its own, if several before the new answer differ (a
        critic may quote one that the answer forged), and if one stands behind the new answer.
    """
    first = _VERDICT.search(reply)
    if first is None:
        return None
    heading = _ANSWER.search(reply, first.end())
    judged = reply[: heading.start()] if heading else reply
    verdicts = {found[1].lower() for found in _VERDICT.finditer(judged)}
    answer = _behind(reply, heading) if heading else ""
    if len(verdicts) > 1 or _VERDICT.search(answer):
        return None
    return Critique("keep" in verdicts, _bare(answer))


def read_new_answer(reply: str) -> str:
    """Read a reply that should be nothing but a new answer.

    Args:
        reply: The reply, without thinking.

    Returns:
        The answer, without a heading; empty if the reply says nothing, or gives a verdict.
    """
    heading = _ANSWER.match(reply.lstrip())
    answer = _behind(reply.lstrip(), heading) if heading else reply
    return "" if _VERDICT.search(answer) else _bare(answer)


def _behind(reply: str, heading: re.Match[str]) -> str:
    """What stands behind a heading, without the end of the heading's own emphasis."""
    answer = reply[heading.end() :]
    emphasis, closed = heading.groups()
    if not emphasis or closed:
        return answer
    if answer.startswith(emphasis):
        return answer.removeprefix(emphasis)
    return answer.rstrip().removesuffix(emphasis)


def _bare(answer: str) -> str:
    """An answer without a fence or our own tags around it; empty if it says nothing."""
    plain, before = answer.strip(), ""
    while plain != before:
        before = plain
        block = _BLOCK.match(plain)
        plain = (block[1] if block else plain).strip()
        opened = _OPENING_TAGS.match(plain)
        plain = _CLOSING_TAGS.sub("", plain[opened.end() :] if opened else plain)
        plain = _unfenced(plain.strip()).strip()
    return "" if says_nothing(plain) or is_placeholder(plain) else plain


def _unfenced(answer: str) -> str:
    """An answer without a fence around it, or one that ends what began before it."""
    fences = list(_FENCE.finditer(answer))
    if not fences:
        return answer
    first, last = fences[0], fences[-1]
    begins = first.start() == 0 and _PLAIN_FENCE.fullmatch(first[0]) is not None
    ends = last.end() == len(answer) and last[0].strip() == "```"
    if len(fences) == 2 and begins and ends:
        return answer[first.end() : last.start()]
    if len(fences) % 2 and ends:
        return answer[: last.start()]
    return answer[first.end() :] if len(fences) % 2 and begins else answer
