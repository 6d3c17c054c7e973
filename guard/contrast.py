"""Contrastive decoding: what a text in the prompt adds to the score of each next token, amplified.

A request asks for it in `extra_body`, so that Inspect's cache and logs see it:

    GenerateConfig(extra_body={"contrast": {"alpha": 4.0, "without": "Mind the fire."}})

The model reads the conversation twice, as it is and without this text, and takes each token from
`l = l_with + alpha (l_with - l_without)`, where `l` are the logits. Models that can do this have
the class `roles.ContrastsLogits`; `hf-vlm/` does it.
"""

from collections.abc import Sequence
from typing import Any, Final, Self

from inspect_ai.model import ChatMessage, Content, ContentText, GenerateConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmguard.guard.errors import UserError, first_fault, short
from vlmguard.guard.messages import parts_of

__all__ = ["KEY", "Contrast"]

KEY: Final = "contrast"
"""Its key in `extra_body`."""


class Contrast(BaseModel):
    """What a request contrasts.

    Attributes:
        alpha: Weight of the difference, a finite number; 0 is plain decoding.
        without: The text that the second reading leaves out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    alpha: float = Field(allow_inf_nan=False)
    without: str = Field(pattern=r"\S")

    @classmethod
    def of(cls, config: GenerateConfig) -> Self | None:
        """What a request asks for; None if it asks for plain decoding.

        Raises:
            UserError: Its `contrast` is malformed.
        """
        asked = (config.extra_body or {}).get(KEY)
        if asked is None:
            return None
        try:
            return cls.model_validate(asked)
        except ValidationError as error:
            field, reason = first_fault(error)
            raise UserError(
                f"extra_body: {'.'.join(filter(None, (KEY, field)))}: {reason}. It needs "
                '{"alpha": NUMBER, "without": "a text of the prompt"}.'
            ) from None

    def body(self) -> dict[str, Any]:
        """What asks for it, for `extra_body`."""
        return {KEY: self.model_dump()}

    def left_out(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """The conversation without the text, as if it had never been added.

        The line breaks around it go too, and a part or system turn that held nothing else.

        Args:
            messages: The conversation.

        Raises:
            UserError: The text does not stand in it exactly once, in a system or user turn; or a
                user turn holds nothing else.
        """
        times = sum(
            part.text.count(self.without)
            for message in messages
            if message.role in ("system", "user")
            for part in parts_of(message)
            if isinstance(part, ContentText)
        )
        if times != 1:
            raise UserError(
                f"extra_body: {KEY}.without must stand once in the system and user turns, and "
                f"stands there {times} times: {short(self.without)!r}. Leave the contrast out, or "
                "name a text that stands there once."
            )
        changed = [self._without(message) for message in messages]
        return [message for message in changed if message is not None]

    def _without(self, message: ChatMessage) -> ChatMessage | None:
        if message.role not in ("system", "user") or self.without not in message.text:
            return message
        parts = [part for part in map(self._cut, parts_of(message)) if part is not None]
        if parts:
            return message.model_copy(update={"content": parts})
        if message.role == "system":
            return None
        raise UserError(
            f"extra_body: without {KEY}.without a user turn would be empty: "
            f"{short(self.without)!r}. Name a text beside the request."
        )

    def _cut(self, part: Content) -> Content | None:
        if not isinstance(part, ContentText) or self.without not in part.text:
            return part
        before, _, after = part.text.partition(self.without)
        if not after.strip():
            before = before.rstrip("\n")  # between two texts, those before it part them
        text = before + after.lstrip("\n")
        return ContentText(text=text) if text.strip() else None
