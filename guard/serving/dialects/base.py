"""What the proxy must know of an API: where the conversation stands in a body, and how to answer.

A dialect is the one place that knows field names. It never writes a body again: it splices.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput

from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.json_text import InvalidJSON, parse

__all__ = ["Asked", "Dialect", "parsed_object"]


@dataclass(frozen=True)
class Asked:
    """A request's body.

    Attributes:
        body: The bytes that came.
        text: The same as text.
        value: What it says.
        messages: Its conversation, one for each entry of the body; images as they are written
            there.
        model: Name of the model that is asked for.
        stream: Whether the answer is to be streamed.
        later: Whether the response has no answer, which another request fetches.
        elsewhere: Fields that name turns which only the upstream has (`previous_response_id`).
        choices: How many answers are asked for.
        settings: What it says of the answer's length and temperature.
    """

    body: bytes
    text: str
    value: dict[str, Any]
    messages: list[ChatMessage]
    model: str
    stream: bool
    later: bool = False
    elsewhere: tuple[str, ...] = ()
    choices: int = 1
    settings: GenerateConfig = field(default_factory=GenerateConfig)


class Dialect(ABC):
    """An API.

    Attributes:
        path: Its path, as in OpenAI's API.
        entries: The key of the list of messages in a body.
    """

    path: ClassVar[str]
    entries: ClassVar[str] = "messages"

    @abstractmethod
    def read(self, body: bytes) -> Asked:
        """Read a request.

        Raises:
            Fault: It is no request of this API.
        """

    @abstractmethod
    def written(
        self, asked: Asked, messages: Sequence[ChatMessage], settings: GenerateConfig | None
    ) -> bytes:
        """The body with the messages that a defense decided for.

        Messages of `asked` keep their bytes; the very body comes back if all of them are there and
        there are no settings.

        Args:
            asked: The request.
            messages: The messages: those of `asked`, themselves, or others.
            settings: Settings of the answer that override those of the body.
        """

    @abstractmethod
    def output(self, answer: dict[str, Any]) -> ModelOutput:
        """What an answer says, of the API's body of a finished answer.

        Raises:
            ValueError: It is no such body.
        """

    @abstractmethod
    def streamed(self, events: Iterable[str]) -> dict[str, Any]:
        """The body of a finished answer, as far as `output` reads it, of a whole stream.

        Args:
            events: The data of its events, in order, without `[DONE]`.

        Raises:
            ValueError: They are no answer, or tell an error.
        """

    @abstractmethod
    def replaced(self, answer: str, output: ModelOutput) -> str:
        """The text of a finished answer's body with another answer in place of its own.

        Nothing of its own answer stays; the rest keeps its bytes (id, usage).

        Args:
            answer: The body's text.
            output: The other answer, a text.
        """

    @abstractmethod
    def answer(self, asked: Asked, output: ModelOutput) -> dict[str, Any]:
        """A body with an answer of the defense's own: a refusal, or another answer."""

    @abstractmethod
    def events(self, asked: Asked, output: ModelOutput) -> Iterator[bytes]:
        """The same as a stream, with its end."""


READ: Final = frozenset(
    (
        *("messages", "structured_messages", "input", "instructions", "system"),
        *("role", "content", "output", "model"),
        *("type", "text", "image_url", "url", "source", "data", "stream"),
    )
)
"""The keys that decide what a guard sees."""


def parsed_object(body: bytes) -> tuple[str, dict[str, Any]]:
    """The text and the members of a body.

    Raises:
        Fault: It is no JSON object.
    """
    try:
        text, value = parse(body)
    except InvalidJSON as error:
        raise Fault(400, "invalid_json", f"This request cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise Fault(400, "invalid_json", "This request cannot be read: it is no JSON object.")
    _check_keys(value)
    _check_keys(value.get("input"))
    return text, value


def _check_keys(value: Any) -> None:
    """Refuse a key that another reader takes for one that is read here.

    Some readers ignore the case of keys, so the model would get words that no guard saw.

    Raises:
        Fault: There is one, in the body, its messages or their parts.
    """
    if isinstance(value, list):
        for each in value:
            _check_keys(each)
    elif isinstance(value, dict):
        for key, inner in value.items():
            # Inside of a message, `input` is what a tool is called with: anything.
            if key in READ and key != "input":
                _check_keys(inner)
            elif key not in READ and key.casefold() in READ:
                said = f"a key is written otherwise than {key.casefold()}"
                raise Fault(400, "invalid_json", f"This request cannot be read: {said}.")
