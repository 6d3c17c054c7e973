"""What a dialect knows whose streams can be checked while they run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inspect_ai.model import ModelOutput

from vlmguard.guard.serving.dialects.base import Asked
from vlmguard.guard.serving.faults import Fault

__all__ = ["Part", "ReadsParts"]


@dataclass(frozen=True)
class Part:
    """What an event adds to an answer.

    Attributes:
        text: Text of the answer.
        beside: Whether it has what is never checked: reasoning, a tool call.
        ends: Whether the answer's text is whole with it.
        repeats: Text of the answer that it says once more: the end of what was said so far.
    """

    text: str = ""
    beside: bool = False
    ends: bool = False
    repeats: str = ""


class ReadsParts(ABC):
    """A dialect that reads an answer event by event, and can end it after any of them."""

    @abstractmethod
    def part(self, event: str) -> Part:
        """What an event adds.

        Args:
            event: Its data.

        Raises:
            ValueError: It is no event of an answer, or tells an error.
        """

    @abstractmethod
    def cut(self, asked: Asked, output: ModelOutput, sent: Sequence[str]) -> Iterator[bytes]:
        """The events that end a stream midway, with a text behind what was sent.

        Args:
            asked: The request.
            output: The text, and why the answer ends.
            sent: The data of the events that the client has.
        """

    @abstractmethod
    def broken(self, fault: Fault, sent: Sequence[str]) -> bytes:
        """The event that tells an error midway.

        Args:
            fault: The error.
            sent: As for `cut`.
        """
