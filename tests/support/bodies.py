"""Bodies of requests in each API that the proxy guards, made of messages of Inspect."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ContentImage,
    ContentText,
)

from vlmguard.guard.messages import parts_of
from vlmguard.guard.serving.dialects.base import Dialect
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.dialects.messages import MESSAGES
from vlmguard.guard.serving.dialects.responses import RESPONSES

Part = dict[str, Any]


def chat_body(messages: Sequence[ChatMessage]) -> dict[str, Any]:
    """A body of chat completions."""
    return {"model": "m", "messages": [_chat_message(message) for message in messages]}


def responses_body(messages: Sequence[ChatMessage]) -> dict[str, Any]:
    """A body of the Responses API; a system turn that stands first is its `instructions`."""
    system, rest = _system(messages)
    items = [item for message in rest for item in _response_items(message)]
    body: dict[str, Any] = {"model": "m", "input": items}
    if len(rest) == 1 and rest[0].role == "user" and isinstance(rest[0].content, str):
        body["input"] = rest[0].content
    return body if system is None else {**body, "instructions": system}


def messages_body(messages: Sequence[ChatMessage]) -> dict[str, Any]:
    """A body of the Messages API; a system turn that stands first is its `system`."""
    system, rest = _system(messages)
    body = {"model": "m", "max_tokens": 9, "messages": [_entry(message) for message in rest]}
    return body if system is None else {**body, "system": system}


BODIES: Final[dict[str, tuple[Dialect, Callable[[Sequence[ChatMessage]], dict[str, Any]]]]] = {
    "chat": (CHAT, chat_body),
    "responses": (RESPONSES, responses_body),
    "messages": (MESSAGES, messages_body),
}
"""By name: the API, and what makes its bodies."""


def meaning(messages: Sequence[ChatMessage]) -> list[tuple[str, str, list[str], bool]]:
    """What messages say, in whatever way it is cut into parts.

    Returns:
        Role, text, images, and whether tools are called, of each; system turns at the beginning
        are one, and so are consecutive turns of the assistant (a text, and a call behind it).
    """
    said: list[tuple[str, str, list[str], bool]] = []
    for message in messages:
        parts = parts_of(message)
        text = "\n".join(part.text for part in parts if isinstance(part, ContentText))
        images = [part.image for part in parts if isinstance(part, ContentImage)]
        calls = isinstance(message, ChatMessageAssistant) and bool(message.tool_calls)
        if said and said[-1][0] == message.role and message.role in ("system", "assistant"):
            before = said.pop()
            text = "\n\n".join(each for each in (before[1], text) if each)
            calls = before[3] or calls
        said.append((message.role, text, images, calls))
    return said


def _system(messages: Sequence[ChatMessage]) -> tuple[str | None, list[ChatMessage]]:
    if isinstance(messages[0], ChatMessageSystem):
        return messages[0].text, [*messages[1:]]
    return None, [*messages]


def _content(
    message: ChatMessage, text: Callable[[str], Part], image: Callable[[str], Part]
) -> Any:
    if isinstance(message.content, str):
        return message.content
    parts = []
    for part in message.content:
        if isinstance(part, ContentText):
            parts.append(text(part.text))
        elif isinstance(part, ContentImage):
            parts.append(image(part.image))
    return parts


def _chat_message(message: ChatMessage) -> dict[str, Any]:
    content = _content(
        message,
        lambda text: {"type": "text", "text": text},
        lambda image: {"type": "image_url", "image_url": {"url": image, "detail": "low"}},
    )
    said = {"role": message.role, "content": content}
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        call = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        return {**said, "tool_calls": [call]}
    if isinstance(message, ChatMessageTool):
        return {**said, "tool_call_id": "call-1"}
    return said


def _response_items(message: ChatMessage) -> list[dict[str, Any]]:
    if isinstance(message, ChatMessageTool):
        return [{"type": "function_call_output", "call_id": "call-1", "output": message.text}]
    kind = "output_text" if message.role == "assistant" else "input_text"
    content = _content(
        message,
        lambda text: {"type": kind, "text": text},
        lambda image: {"type": "input_image", "image_url": image, "detail": "low"},
    )
    items = [{"role": message.role, "content": content}]
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        call = {"call_id": "call-1", "name": "f", "arguments": "{}"}
        items.append({"type": "function_call", **call})
    return items


def _entry(message: ChatMessage) -> dict[str, Any]:
    content = _content(message, lambda text: {"type": "text", "text": text}, _image)
    if isinstance(message, ChatMessageTool):
        result = {"type": "tool_result", "tool_use_id": "call-1", "content": content}
        return {"role": "user", "content": [result]}
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        call = {"type": "tool_use", "id": "call-1", "name": "f", "input": {}}
        content = [{"type": "text", "text": message.text}, call]
    return {"role": message.role, "content": content}


def _image(image: str) -> Part:
    media, data = image.removeprefix("data:").split(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}
