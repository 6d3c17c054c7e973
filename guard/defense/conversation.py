"""What a defense reads: a conversation, whose last user turn it protects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentText,
)

from vlmguard.guard.messages import images_of, parts_of, replace_images, with_addition, with_text

__all__ = ["Conversation", "Skipped"]

Skipped = Literal["", "no_user_turn", "tool_turn", "empty", "no_image"]
"""Why a defense looked at nothing; empty if it looked."""


def _untold() -> None:
    return None


@dataclass(frozen=True)
class Conversation:
    """A conversation that waits for an answer.

    Only its last user turn may change. All else passes as it is: system text, earlier turns, tool
    results, images, and the beginning of an answer (prefill) behind the turn.

    Attributes:
        messages: All turns, oldest first.
        name: What errors call it (`Sample siuo/1001`).
        epoch: Number of the answer to the same request, from 1.
        hazard: Says what a benchmark says could go wrong, for ablations that are told it (empty:
            nothing); None where nobody says it (`guarded/`, a server).
        elsewhere: Names of what the target will also read and nobody here has: turns that a
            server keeps (`previous_response_id`).
    """

    messages: Sequence[ChatMessage]
    name: str = "the conversation"
    epoch: int = 1
    hazard: Callable[[], str | None] = field(default=_untold, repr=False, compare=False)
    elsewhere: Sequence[str] = ()

    @cached_property
    def index(self) -> int | None:
        """Place of the last user turn in the messages; None without one.

        Behind one that says something, an empty turn is not the last one: it would hide the other.
        """
        turns = [n for n, turn in enumerate(self.messages) if isinstance(turn, ChatMessageUser)]
        told = [n for n in turns if any(map(_says, parts_of(self.messages[n])))]
        return max(told or turns, default=None)

    @property
    def turn(self) -> ChatMessageUser | None:
        """The last user turn."""
        turn = None if self.index is None else self.messages[self.index]
        return turn if isinstance(turn, ChatMessageUser) else None

    @property
    def text(self) -> str:
        """Text of the last user turn; empty without one."""
        return "" if self.turn is None else self.turn.text

    @property
    def images(self) -> list[str]:
        """Images of the last user turn, as data URIs or in the sample's own form."""
        return [] if self.turn is None else images_of([self.turn])

    @property
    def earlier(self) -> list[ChatMessage]:
        """The messages before the last user turn."""
        return list(self.messages[: self.index or 0])

    @property
    def request(self) -> list[ChatMessage]:
        """The messages up to the last user turn, with it; none without one."""
        return [] if self.index is None else list(self.messages[: self.index + 1])

    @property
    def seen(self) -> list[str]:
        """All images up to the last user turn, in order: the request may mean any."""
        return images_of(self.request)

    @property
    def system(self) -> list[ChatMessage]:
        """The system turns before the last user turn, which apply to every answer."""
        return [message for message in self.earlier if isinstance(message, ChatMessageSystem)]

    @property
    def later(self) -> list[ChatMessage]:
        """The messages behind the last user turn (tool calls and results), without a prefill."""
        start = 0 if self.index is None else self.index + 1
        return self.without_prefill[start:]

    @property
    def prefill(self) -> str:
        """The beginning of an answer that stands last, which the target continues."""
        return self.messages[-1].text if _is_prefill(self.messages) else ""

    @property
    def without_prefill(self) -> list[ChatMessage]:
        """The messages, for an answer that does not begin as the prefill says."""
        end = len(self.messages) - _is_prefill(self.messages)
        return list(self.messages[:end])

    @property
    def unread(self) -> list[str]:
        """The kinds of parts of the user's turns that no defense reads (`document`, `audio`)."""
        users = [message for message in self.request if isinstance(message, ChatMessageUser)]
        kinds = (part.type for message in users for part in parts_of(message))
        return [kind for kind in dict.fromkeys(kinds) if kind not in ("text", "image")]

    @property
    def readable(self) -> bool:
        """Whether the last user turn has a text or an image; the target may see more than that."""
        return bool(self.text.strip() or self.images)

    @property
    def skipped(self) -> Skipped:
        """Why there is nothing to protect; empty if there is.

        A conversation that goes on after a tool's result (`tool_turn`) is not protected again: the
        user's words in it are older. A turn of other parts alone (a document) is not `empty`:
        nobody can look at it, which is the failure `unread_content`.
        """
        if self.index is None:
            return "no_user_turn"
        if any(isinstance(later, ChatMessageTool) for later in self.messages[self.index + 1 :]):
            return "tool_turn"
        return "" if self.readable or self.unread else "empty"

    def with_request(self, text: str) -> list[ChatMessage]:
        """The messages with another text of the last user turn, behind its images."""
        return self._with(lambda turn: with_text(turn, text))

    def with_images(self, images: Sequence[str]) -> list[ChatMessage]:
        """The messages with other images of the last user turn, in the same places.

        Args:
            images: As many as there are; none at all takes them out.
        """
        return self._with(lambda turn: replace_images(turn, images))

    def with_addition(
        self, text: str, place: Literal["system", "prefix", "suffix"]
    ) -> list[ChatMessage]:
        """The messages with a text added.

        Args:
            text: The text.
            place: A `system` turn at the beginning, or `prefix` or `suffix` of the last user turn.
        """
        if place == "system":
            return [ChatMessageSystem(content=text), *self.messages]
        return self._with(lambda turn: with_addition(turn, text, place))

    def _with(self, change: Callable[[ChatMessageUser], ChatMessageUser]) -> list[ChatMessage]:
        if self.index is None or self.turn is None:
            return list(self.messages)
        behind = self.messages[self.index + 1 :]
        return [*self.messages[: self.index], change(self.turn), *behind]


def _says(part: Content) -> bool:
    return not isinstance(part, ContentText) or bool(part.text.strip())


def _is_prefill(messages: Sequence[ChatMessage]) -> bool:
    last = messages[-1] if messages else None
    return isinstance(last, ChatMessageAssistant) and not last.tool_calls
