"""What the readers of all APIs share: contents of parts, and kinds of parts that nobody reads."""

from collections.abc import Callable
from typing import Any

from inspect_ai.model import (
    Content,
    ContentData,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelUsage,
)
from inspect_ai.tool import ToolCall

from vlmguard.guard.serving.faults import Fault

__all__ = [
    "PartReader",
    "content_of",
    "settings_of",
    "text_part",
    "thought",
    "tool_call",
    "unread",
    "unreadable",
    "usage_of",
    "user_content",
]

PartReader = Callable[[dict[str, Any]], Content | None]
"""Reads a part of an API; None for one that is not as the API writes it."""


def content_of(content: Any, where: str, part: PartReader) -> str | list[Content]:
    """The content of a message.

    Args:
        content: A text, a list of parts, or nothing.
        where: Its place in the body, for errors.
        part: Reads a part.

    Raises:
        Fault: It is none of these.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise unreadable(where, "a text or a list of parts is needed")
    return [_part(each, f"{where}.{index}", part) for index, each in enumerate(content)]


def user_content(content: Any, where: str, part: PartReader) -> str | list[Content]:
    """The content of a user's turn, which has one; of the others as for `content_of`."""
    if content is None:
        raise unreadable(where, "a text or a list of parts is needed")
    return content_of(content, where, part)


def unreadable(where: str, said: str) -> Fault:
    """The fault of a message that is not as the API writes it.

    Args:
        where: Its place in the body.
        said: What is needed; nothing of the content.
    """
    return Fault(400, "invalid_messages", f"{where}: {said}.", where)


def unread(kind: str) -> ContentData:
    """A part that goes on, and is looked at by nobody: sound, a file and what comes next."""
    return ContentData(data={"type": kind})


def text_part(part: dict[str, Any]) -> ContentText | None:
    """A part with a text."""
    return ContentText(text=part["text"]) if isinstance(part.get("text"), str) else None


def thought(text: Any) -> ContentReasoning:
    """The model's thinking; empty where it came encrypted."""
    return ContentReasoning(reasoning=text if isinstance(text, str) else "")


def tool_call(name: Any) -> ToolCall:
    """A call; no defense reads what is called, only that something is.

    Args:
        name: The call's id.
    """
    return ToolCall(id=name if isinstance(name, str) else "", function="tool", arguments={})


def usage_of(usage: Any, asked: str, answered: str) -> ModelUsage | None:
    """The tokens of an answer; None if it does not tell them.

    Args:
        usage: The answer's `usage`.
        asked: Its key of the request's tokens.
        answered: Its key of the answer's tokens.
    """
    if not isinstance(usage, dict):
        return None
    counts = [value if isinstance(value := usage.get(key), int) else 0 for key in (asked, answered)]
    return ModelUsage(
        input_tokens=counts[0], output_tokens=counts[1], total_tokens=counts[0] + counts[1]
    )


def settings_of(value: dict[str, Any], *names: str) -> GenerateConfig:
    """What a body says of its answer's length and temperature; other types the API refuses.

    Args:
        value: The body.
        *names: The fields of the most tokens of an answer; the first that is set counts.
    """
    tokens = next((value[name] for name in names if value.get(name) is not None), None)
    temperature = value.get("temperature")
    # No API takes a larger one, and the largest integers are no floats.
    if not isinstance(temperature, int | float) or abs(temperature) > 100:
        temperature = None
    return GenerateConfig(
        max_tokens=tokens if isinstance(tokens, int) else None,
        temperature=None if temperature is None else float(temperature),
    )


def _part(part: Any, where: str, reader: PartReader) -> Content:
    read = reader(part) if isinstance(part, dict) else None
    if read is None:
        raise unreadable(where, "this part cannot be read")
    return (_as_elsewhere(part) or read) if isinstance(read, ContentData) else read


def _as_elsewhere(part: dict[str, Any]) -> Content | None:
    """A part of a kind that the API has not, by what it holds.

    Servers of open models read parts of other APIs (`input_text` in chat completions).
    """
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if isinstance(url, str):
        return ContentImage(image=url)
    if part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
        return ContentText(text=part["refusal"], refusal=True)
    return text_part(part)
