"""Llama Guard: a verdict line, then codes of categories.

Format: Meta's model cards of Llama Guard 4 12B (PurpleLlama 4be64c3) and Llama Guard 3 Vision. The
chat template writes the policy, so the conversation itself is sent: with the user's turn last for a
request, with the answer last for an answer. The reply is `safe`, or `unsafe` and a second line of
codes with commas between. Never run against either model here: tests read replies written by hand.

Version 4 (Llama 4 Community License) sees several images; 3 Vision (Llama 3.2 license) one, so it
is called for each. Both judge text and image together, English best, and are not made for an image
alone. In version 4's configuration, transformers needs `attention_chunk_size` 8192.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from inspect_ai.model import ChatMessage, GenerateConfig

from vlmguard.guard.decision import Verdict
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.plain import plain_turns

__all__ = ["LlamaGuard", "LlamaGuard3Vision", "read_verdict"]

CODES: Final = MappingProxyType(
    {
        "S1": "violent crimes",
        "S2": "non-violent crimes",
        "S3": "sex crimes",
        "S4": "child exploitation",
        "S5": "defamation",
        "S6": "specialized advice",
        "S7": "privacy",
        "S8": "intellectual property",
        "S9": "indiscriminate weapons",
        "S10": "hate",
        "S11": "self-harm",
        "S12": "sexual content",
        "S13": "elections",
        "S14": "code interpreter abuse",
    }
)

_CODE: Final = re.compile(r"[a-z]\d{1,2}")
_LINE: Final = re.compile(r"(safe|unsafe)?[\s.,:;]{0,9}((?:[a-z]\d{1,2}(?:[\s.,;]{1,9}|\Z))*)")


class LlamaGuard(ChatGuard):
    """Llama Guard 4 12B."""

    name: ClassVar = "llama_guard"
    version: ClassVar = "2-A"
    sides: ClassVar = ("input", "output")
    images: ClassVar[Literal["all", "each", "none"]] = "all"
    codes: Mapping[str, str] = CODES
    settings: ClassVar = GenerateConfig(temperature=0, max_tokens=20)

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation itself."""
        return plain_turns(exchange)

    def read(self, reply: str, side: Side) -> Verdict:
        """Read the word and the codes, see `read_verdict`."""
        return read_verdict(reply, "S")


class LlamaGuard3Vision(LlamaGuard):
    """Llama Guard 3 Vision 11B: one image, and the categories without the last."""

    name: ClassVar = "llama_guard_3_vision"
    images: ClassVar[Literal["all", "each", "none"]] = "each"
    codes: Mapping[str, str] = MappingProxyType(
        {code: name for code, name in CODES.items() if code != "S14"}
    )


def read_verdict(reply: str, letter: str) -> Verdict:
    """Read the first line, which holds the word alone or codes, and further lines of that kind.

    Codes without a word mean unsafe. Both words, or `safe` and codes, contradict each other, which
    is no verdict; lines of other text behind the first do not count.

    Args:
        reply: The whole reply.
        letter: The letter before the number of a code.
    """
    lines = [_said(line) for line in reply.splitlines() if line.strip()]
    label, first = lines[0] if lines else ("", ())
    if not label and not any(code[0] == letter for code in first):
        return Verdict(raw=reply, label=None)
    labels = {label for label, _ in lines if label}
    named = [code for _, codes in lines for code in codes]
    if "safe" in labels:
        alone = labels == {"safe"} and not named
        return Verdict(raw=reply, label="safe" if alone else None)
    codes = tuple(dict.fromkeys(code for code in named if code[0] == letter))
    return Verdict(raw=reply, label="unsafe", categories=codes)


def _said(line: str) -> tuple[str, tuple[str, ...]]:
    """The word and the codes of a line that holds nothing else; both empty if it does."""
    found = _LINE.fullmatch(line.strip().lower())
    if found is None:
        return "", ()
    return found[1] or "", tuple(code.upper() for code in _CODE.findall(found[2]))
