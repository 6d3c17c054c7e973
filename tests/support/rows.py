"""Inspect's messages as bodies of chat completions write them, and back without a loss."""

import json
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
)
from inspect_ai.tool import ToolCall

__all__ = ["messages_in", "rows_of"]


def rows_of(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The `messages` of a body."""
    return [_row(message) for message in messages]


def messages_in(rows: Sequence[dict[str, Any]]) -> list[ChatMessage]:
    """The messages that a body's `messages` are."""
    return [_message(row) for row in rows]


def _row(message: ChatMessage) -> dict[str, Any]:
    content = message.content
    said = content if isinstance(content, str) else [_part(each) for each in content]
    row: dict[str, Any] = {"role": message.role, "content": said}
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        row["tool_calls"] = [_call(each) for each in message.tool_calls]
    if isinstance(message, ChatMessageTool):
        # A model's API has no place for the name; other fields than its own pass.
        row |= {"tool_call_id": message.tool_call_id, "name": message.function}
    return row


def _part(part: Content) -> dict[str, Any]:
    if isinstance(part, ContentImage):
        return {"type": "image_url", "image_url": {"url": part.image, "detail": part.detail}}
    assert isinstance(part, ContentText)
    return {"type": "text", "text": part.text}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.function, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _message(row: dict[str, Any]) -> ChatMessage:
    role, said = row["role"], row["content"]
    content = said if isinstance(said, str) else [_content(each) for each in said]
    if role == "user":
        return ChatMessageUser(content=content)
    if role == "system":
        return ChatMessageSystem(content=content)
    if role == "tool":
        name = row["tool_call_id"]
        return ChatMessageTool(content=content, tool_call_id=name, function=row["name"])
    calls = [
        ToolCall(
            id=each["id"],
            function=each["function"]["name"],
            arguments=json.loads(each["function"]["arguments"]),
        )
        for each in row.get("tool_calls", [])
    ]
    return ChatMessageAssistant(content=content, tool_calls=calls or None)


def _content(part: dict[str, Any]) -> Content:
    if part["type"] == "image_url":
        image = part["image_url"]
        return ContentImage(image=image["url"], detail=image.get("detail", "auto"))
    return ContentText(text=part["text"])
