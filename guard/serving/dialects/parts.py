"""What a dialect knows whose streams can be checked while they run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from inspect_ai.model import ModelOutput

from vlmguard.guard.serving.dialects.base import Asked

__all__ = ["Part", "ReadsParts"]


@dataclass(frozen=True)
class Part:
    """What an event adds to an answer.

    Attributes:
        text: Text of the answer.
        beside: Whether it has what is never checked: reasoning, a tool call.
        ends: Whether the answer's text is whole with it.
    """

    text: str = ""
    beside: bool = False
    ends: bool = False


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
    def cut(self, asked: Asked, output: ModelOutput, last: str) -> Iterator[bytes]:
        """The events that end a stream midway, with a text behind what was sent.

        Args:
            asked: The request.
            output: The text, and why the answer ends.
            last: The data of an event of the stream, for what all of them share; `{}` for none.
        """
