"""The request for a defense: the last user turn and its parts."""

from dataclasses import dataclass

from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, ModelOutput
from inspect_ai.solver import TaskState

from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.text.outputs import read_output

__all__ = ["Turn", "answer_to_check", "last_turn", "replace_answer"]


@dataclass(frozen=True)
class Turn:
    """The last user turn of a conversation.

    Attributes:
        index: Its place in the messages.
        text: Its text.
        images: Its images, as data URIs or in the sample's own form.
        earlier: The messages before it.
    """

    index: int
    text: str
    images: list[str]
    earlier: list[ChatMessage]

    @property
    def seen(self) -> list[str]:
        """All images of the conversation up to this turn, in order: the request may mean any."""
        return images_of(self.earlier) + self.images

    @property
    def system(self) -> list[ChatMessage]:
        """The system turns before it, which apply to every answer."""
        return [message for message in self.earlier if isinstance(message, ChatMessageSystem)]


def last_turn(state: TaskState) -> Turn:
    """Find the last user turn.

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
    return Turn(index, message.text, images_of([message]), state.messages[:index])


def answer_to_check(state: TaskState, record: DefenseRecord) -> str | None:
    """The target's answer without its thinking, or None if there is nothing to check.

    A missing answer, or a refusal that the provider marked, passes unchanged and costs no call.

    Args:
        state: The state after generation.
        record: Gets `no_answer` as failure.
    """
    said = read_output(state.output)
    if said.kind == "no_answer":
        record.failure = "no_answer"
    return said.text if said.is_answer else None


def replace_answer(state: TaskState, output: ModelOutput) -> None:
    """Make `output` the sample's answer in place of its last message."""
    state.output = output
    state.messages = [*state.messages[:-1], output.message]
