"""Text guards that answer Yes (there is a risk) or No, such as Granite Guardian.

Models: ibm-granite/granite-guardian (Apache-2.0). The conversation itself is sent, and the model's
own chat template asks the question. Newer versions put the word between `<score>` tags, behind
their thinking. Both forms are confirmed by IBM's documentation of the models; they were never run
against a model here.

    --model-role guard=M -S adapter=yesno
"""

import re
from typing import ClassVar, Final

from inspect_ai.model import ChatMessage, GenerateConfig

from vlmguard.guard.decision import Verdict
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.plain import text_turns

__all__ = ["YesNo"]

_SCORE: Final = re.compile(r"<score>\s{0,9}(yes|no)\s{0,9}</score>", re.IGNORECASE)
_WORD: Final = re.compile(r"\s{0,9}(yes|no)\b[.!]?\s{0,9}(?:\n.*)?", re.IGNORECASE | re.DOTALL)


class YesNo(ChatGuard):
    """A text guard that answers Yes or No."""

    name: ClassVar = "yesno"
    sides: ClassVar = ("input", "output")
    reads: ClassVar = ("text",)
    images: ClassVar = "none"
    settings: ClassVar = GenerateConfig(temperature=0.0, max_tokens=40)

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation without images, and the answer behind it."""
        return text_turns(exchange)

    def read(self, reply: str, side: Side) -> Verdict:
        """Read the scores, which must agree, or else the first line."""
        scores = {found.lower() for found in _SCORE.findall(reply)}
        word = _WORD.fullmatch(reply)
        if not scores and word:
            scores = {word[1].lower()}
        if len(scores) != 1:
            return Verdict(raw=reply, label=None)
        return Verdict(raw=reply, label="unsafe" if scores == {"yes"} else "safe")
