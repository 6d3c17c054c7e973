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
_WORD: Final = re.compile(r"(yes|no)[.!]?", re.IGNORECASE)


class YesNo(ChatGuard):
    """A text guard that answers Yes or No."""

    name: ClassVar = "yesno"
    version: ClassVar = "2-A"
    sides: ClassVar = ("input", "output")
    reads: ClassVar = ("text",)
    images: ClassVar = "none"
    settings: ClassVar = GenerateConfig(temperature=0.0, max_tokens=40)

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation without images, and the answer behind it."""
        return text_turns(exchange)

    def read(self, reply: str, side: Side) -> Verdict:
        """Read the scores, or the first line; they and all lines of one word must agree."""
        lines = [_WORD.fullmatch(line.strip()) for line in reply.strip().splitlines()]
        scores = _SCORE.findall(reply)
        said = {word.lower() for word in (*scores, *(line[1] for line in lines if line))}
        begins = bool(scores) or bool(lines and lines[0])
        if not begins or len(said) != 1:
            return Verdict(raw=reply, label=None)
        return Verdict(raw=reply, label="unsafe" if said == {"yes"} else "safe")
