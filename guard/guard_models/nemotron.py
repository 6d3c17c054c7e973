"""Nemotron 3.5 Content Safety: a labelled line for each side.

Format: NVIDIA's model card of nvidia/Nemotron-3.5-Content-Safety (2 June 2026; license OpenMDW-1.1
and Gemma terms). The chat template writes the instruction, so the conversation itself is sent, in
strict alternation. The reply has the lines `User Safety: safe|unsafe`, `Response Safety:
safe|unsafe` (only with an answer) and, where something is unsafe, `Safety Categories: a, b`; a
reasoning mode puts a think block first. Never run against the model here: tests read replies
written by hand.

It sees one image, so it is called for each. For categories and for reasoning, the server's template
takes settings (`chat_template_kwargs` in the role's `extra_body`); reasoning needs more tokens than
the 32 of a verdict (the role's `max_tokens`).
"""

from typing import ClassVar, Final

from inspect_ai.model import ChatMessage, GenerateConfig

from vlmguard.guard.decision import Verdict
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.labelled import agreed, labelled_lines, listed
from vlmguard.guard.guard_models.plain import plain_turns

__all__ = ["Nemotron"]

LABELS: Final = {"input": "user safety", "output": "response safety"}
WORDS: Final = ("safe", "unsafe")


class Nemotron(ChatGuard):
    """Nemotron 3.5 Content Safety."""

    name: ClassVar = "nemotron"
    version: ClassVar = "2-A"
    sides: ClassVar = ("input", "output")
    images: ClassVar = "each"
    settings: ClassVar = GenerateConfig(temperature=0, max_tokens=32)

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation itself."""
        return plain_turns(exchange)

    def read(self, reply: str, side: Side) -> Verdict:
        """Read the line of one side; without it there is no verdict on that side.

        Categories where nothing is unsafe are a contradiction, and no verdict.
        """
        lines = labelled_lines(reply)
        words = {label: agreed(lines.get(name, ()), WORDS) for label, name in LABELS.items()}
        categories = listed(lines.get("safety categories", ()))
        if words[side] == "unsafe":
            return Verdict(raw=reply, label="unsafe", categories=categories)
        contradicts = bool(categories) and "unsafe" not in words.values()
        safe = words[side] == "safe" and not contradicts
        return Verdict(raw=reply, label="safe" if safe else None)
