"""Qwen3Guard-Gen: a labelled line with three grades.

Format: the README of QwenLM/Qwen3Guard (Apache-2.0). The chat template writes the instruction, so
the conversation itself is sent. The reply has the lines `Safety: Safe|Controversial|Unsafe`,
`Categories: a, b` or `None`, and for an answer `Refusal: Yes|No`, which is kept in the record
alone. Never run against the model here: tests read replies written by hand.

It reads text alone: of an image it sees nothing, unless a caption stands in the request.
"""

from typing import ClassVar, Literal, get_args

from inspect_ai.model import ChatMessage, GenerateConfig, Model

from vlmguard.guard.decision import Verdict
from vlmguard.guard.errors import check_choice
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.labelled import agreed, labelled_lines, listed
from vlmguard.guard.guard_models.plain import text_turns

__all__ = ["Controversial", "Qwen3Guard"]

Controversial = Literal["unsafe", "safe"]
"""As what a verdict `Controversial` counts."""


class Qwen3Guard(ChatGuard):
    """Qwen3Guard-Gen.

    Args:
        model: The model; by default the one in the role `guard`.
        controversial: As what a verdict `Controversial` counts: `unsafe` (the authors' strict
            reading) or `safe` (their loose one).

    Raises:
        UserError: `controversial` is neither.
    """

    name: ClassVar = "qwen3guard"
    version: ClassVar = "2-A"
    sides: ClassVar = ("input", "output")
    reads: ClassVar = ("text",)
    images: ClassVar = "none"
    settings: ClassVar = GenerateConfig(temperature=0, max_tokens=128)

    def __init__(
        self, model: Model | None = None, *, controversial: Controversial = "unsafe"
    ) -> None:
        super().__init__(model)
        check_choice("option controversial", controversial, get_args(Controversial))
        self.controversial: Controversial = controversial

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation itself, without its images."""
        return text_turns(exchange)

    def read(self, reply: str, side: Side) -> Verdict:
        """Read the grade and the categories, which a controversial request has, too.

        `Safe` with categories is a contradiction, and no verdict.
        """
        lines = labelled_lines(reply)
        grade = agreed(lines.get("safety", ()), ("safe", "controversial", "unsafe"))
        categories = listed(lines.get("categories", ()))
        if grade is None or (grade == "safe" and categories):
            return Verdict(raw=reply, label=None)
        label: Literal["safe", "unsafe"] = "safe" if grade == "safe" else "unsafe"
        if grade == "controversial":
            label = self.controversial
        return Verdict(raw=reply, label=label, categories=categories)
