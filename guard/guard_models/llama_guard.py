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

_CODE: Final = re.compile(r"[A-Z]\d{1,2}")


class LlamaGuard(ChatGuard):
    """Llama Guard 4 12B."""

    name: ClassVar = "llama_guard"
    sides: ClassVar = ("input", "output")
    images: ClassVar[Literal["all", "each", "none"]] = "all"
    codes: Mapping[str, str] = CODES
    settings: ClassVar = GenerateConfig(temperature=0, max_tokens=20)

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation itself."""
        return plain_turns(exchange)

    def read(self, reply: str, side: Side) -> Verdict:
        """Read the first line, and codes behind it or in the next."""
        return read_verdict(reply, "S")


class LlamaGuard3Vision(LlamaGuard):
    """Llama Guard 3 Vision 11B: one image, and the categories without the last."""

    name: ClassVar = "llama_guard_3_vision"
    images: ClassVar[Literal["all", "each", "none"]] = "each"
    codes: Mapping[str, str] = MappingProxyType(
        {code: name for code, name in CODES.items() if code != "S14"}
    )


def read_verdict(reply: str, letter: str) -> Verdict:
    """Read the first line, and codes behind it or in the next.

    Codes without a verdict mean unsafe.

    Args:
        reply: The whole reply.
        letter: The letter before the number of a code.
    """
    first, second = [*_lines(reply), "", ""][:2]
    if first.startswith("unsafe"):
        codes = _codes(first.removeprefix("unsafe"), letter) or _codes(second, letter)
        return Verdict(raw=reply, label="unsafe", categories=codes)
    if first.rstrip(".") == "safe":
        return Verdict(raw=reply, label="safe")
    codes = _codes(first, letter)
    return Verdict(raw=reply, label="unsafe" if codes else None, categories=codes)


def _lines(reply: str) -> list[str]:
    return [line.strip() for line in reply.lower().splitlines() if line.strip()]


def _codes(line: str, letter: str) -> tuple[str, ...]:
    """The codes of a line that holds nothing else."""
    codes = [code.strip().upper() for code in line.strip(" \t.,:;").split(",")]
    if not all(_CODE.fullmatch(code) and code[0] == letter for code in codes):
        return ()
    return tuple(dict.fromkeys(codes))
