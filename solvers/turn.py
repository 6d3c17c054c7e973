"""The request that a defense works on: the last user turn and its parts."""

from dataclasses import dataclass
from typing import Literal

from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    ModelOutput,
)
from inspect_ai.solver import TaskState

from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.text.outputs import read_output

__all__ = [
    "Turn",
    "answer_to_check",
    "last_turn",
    "replace_answer",
    "user_message",
    "with_addition",
    "with_text",
]


@dataclass(frozen=True)
class Turn:
    """The last user turn of a conversation.

    Attributes:
        index: Its place in the messages.
        text: Its text.
        images: Its images, as data URIs or whatever the sample holds.
        earlier: The messages before it.
    """

    index: int
    text: str
    images: list[str]
    earlier: list[ChatMessage]

    @property
    def seen(self) -> list[str]:
        """All images of the conversation up to this turn, in order: a request may mean any."""
        return [image for message in self.earlier for image in _images(message)] + self.images

    @property
    def system(self) -> list[ChatMessage]:
        """The system turns before it, under which every answer is given."""
        return [message for message in self.earlier if isinstance(message, ChatMessageSystem)]


def last_turn(state: TaskState) -> Turn:
    """Find the last user turn.

    Args:
        state: The state before generation.

    Returns:
        The turn.

    Raises:
        UserError: The sample has no user turn, or one without text.
    """
    for index in range(len(state.messages) - 1, -1, -1):
        message = state.messages[index]
        if isinstance(message, ChatMessageUser):
            break
    else:
        raise UserError(f"Sample {state.sample_id}: no user message, so nothing to defend.")
    if not message.text.strip():
        raise UserError(f"Sample {state.sample_id}: the user message has no text.")
    return Turn(index, message.text, _images(message), state.messages[:index])


def with_text(message: ChatMessage, text: str) -> ChatMessageUser:
    """A user turn with other text and the same images, leaving the given one as it is.

    Args:
        message: The turn to follow.
        text: The new text.

    Returns:
        A new message: everything but text unchanged and in order, text last.
    """
    kept: list[Content] = []
    if isinstance(message.content, list):
        kept = [part for part in message.content if not isinstance(part, ContentText)]
    return ChatMessageUser(content=[*kept, ContentText(text=text)])


def with_addition(
    message: ChatMessage, text: str, place: Literal["prefix", "suffix"]
) -> ChatMessageUser:
    """A user turn with something said before or after what it says, leaving the given one as it is.

    Args:
        message: The turn; its parts stay as they are and in their order, however images and texts
            alternate.
        text: What is added, an empty line apart.
        place: `prefix` goes before the first text (images may stand before that), `suffix` comes
            last of all.

    Returns:
        A new message.
    """
    content = message.content
    parts: list[Content] = [ContentText(text=content)] if isinstance(content, str) else [*content]
    texts = {n: part.text for n, part in enumerate(parts) if isinstance(part, ContentText)}
    last = len(parts) - 1
    if place == "suffix" and last not in texts:
        return ChatMessageUser(content=[*parts, ContentText(text=text)])
    changed = last if place == "suffix" else min(texts)
    both = (texts[changed], text) if place == "suffix" else (text, texts[changed])
    parts[changed] = ContentText(text="\n\n".join(both))
    return ChatMessageUser(content=parts)


def user_message(images: list[str], text: str) -> ChatMessageUser:
    """A single user turn: images first, then text.

    Args:
        images: Image references, possibly none.
        text: The text.

    Returns:
        The message.
    """
    content: list[Content] = [ContentImage(image=image) for image in images]
    return ChatMessageUser(content=[*content, ContentText(text=text)])


def answer_to_check(state: TaskState, record: DefenseRecord) -> str | None:
    """The target's answer, for a defense that works on it.

    Where there is none, and where the provider marked a refusal, there is nothing to check or to
    write anew: such an output is to pass as it is, and costs nothing.

    Args:
        state: The state after generation.
        record: Where `no_answer` is noted as failure.

    Returns:
        The answer without its thinking, or None.
    """
    said = read_output(state.output)
    if said.kind == "no_answer":
        record.failure = "no_answer"
    return said.text if said.is_answer else None


def replace_answer(state: TaskState, output: ModelOutput) -> None:
    """Make `output` the sample's answer in place of the one it has.

    Args:
        state: The state after generation; its last message is the answer.
        output: The answer that counts.
    """
    state.output = output
    state.messages = [*state.messages[:-1], output.message]


def _images(message: ChatMessage) -> list[str]:
    parts = message.content if isinstance(message.content, list) else []
    return [part.image for part in parts if isinstance(part, ContentImage)]
