r"""Any chat model with a prompt of yours, whose replies two regular expressions read.

    --model-role guard=M -S adapter=custom_regex \
        -S prompt=ask.txt -S unsafe='^BLOCK' -S safe='^ALLOW'

The prompt holds `{material}` (earlier turns, request and answer, each between tags), or `{request}`
and for answers `{answer}`. A reply that both expressions match, or neither, has no verdict: write
`^safe` rather than `safe`, which `unsafe` holds too. Letters may be small or large; `^` and `$`
match at each line. A group `(?P<category>...)` in `unsafe` names the hazard.

What the reply repeats of the prompt, from one place for a field to the next, is left out: it is no
verdict. The end of the rest (`READ` characters) is searched, for `SECONDS` at most.

The format is the user's; it was run with scripted models only.
"""

from typing import ClassVar, Final

import regex
from inspect_ai.model import ChatMessage, GenerateConfig, Model

from vlmguard.guard.decision import Verdict
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import ChatGuard, Exchange, Side
from vlmguard.guard.guard_models.material import material, turn_of
from vlmguard.guard.templates import fill, load_template
from vlmguard.guard.text.patterns import SECONDS, user_pattern
from vlmguard.guard.text.reading import to_read

__all__ = ["CustomRegex"]

READ: Final = 4_000
"""Characters at the end of a reply."""

_FIELD: Final = regex.compile(r"\{(?:material|request|answer)\}")


class CustomRegex(ChatGuard):
    """A chat model with the user's prompt and patterns.

    Args:
        model: The model; by default the one in the role `guard`.
        prompt: Text file with the prompt.
        unsafe: Pattern of an unsafe verdict.
        safe: Pattern of a safe verdict.

    Raises:
        UserError: The file or a pattern cannot be used.
    """

    name: ClassVar = "custom_regex"
    version: ClassVar = "2-A"
    sides: ClassVar = ("input", "output")
    images: ClassVar = "all"
    settings: ClassVar = GenerateConfig(temperature=0.0, max_tokens=500)

    def __init__(self, model: Model | None = None, *, prompt: str, unsafe: str, safe: str) -> None:
        super().__init__(model)
        self.prompt = load_template("", prompt, ())
        self.file = prompt
        if "{material}" not in self.prompt and "{request}" not in self.prompt:
            raise UserError(f"{prompt}: the prompt lacks {{material}} or {{request}}. Add one.")
        parts = (part.strip() for part in _FIELD.split(self.prompt))
        # A single word may be what the model is to say.
        self.pieces = [part for part in parts if len(part.split()) > 1]
        self.unsafe = user_pattern("unsafe", unsafe)
        self.safe = user_pattern("safe", safe)

    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The images and the user's prompt, filled.

        Raises:
            UserError: An answer is to be checked, and the prompt has no place for it.
        """
        both = "{material}" in self.prompt or "{answer}" in self.prompt
        if exchange.answer is not None and not both:
            raise UserError(f"{self.file}: the prompt lacks {{answer}}. Add it to check answers.")
        asked = fill(
            self.prompt,
            material=material(exchange),
            request=to_read(exchange.conversation.text),
            answer=to_read(exchange.answer or ""),
        )
        return [turn_of(exchange, asked)]

    def read(self, reply: str, side: Side) -> Verdict:
        """Search the reply for both patterns."""
        own = reply
        for piece in self.pieces:
            own = own.replace(piece, "")
        end = own[-READ:]
        try:
            unsafe = self.unsafe.search(end, timeout=SECONDS)
            safe = self.safe.search(end, timeout=SECONDS)
        except TimeoutError:
            return Verdict(raw=reply, label=None)
        if (unsafe is None) == (safe is None):
            return Verdict(raw=reply, label=None)
        named = (unsafe.groupdict().get("category") or "") if unsafe else ""
        return Verdict(
            raw=reply,
            label="unsafe" if unsafe else "safe",
            categories=(named.strip(),) if named.strip() else (),
        )
