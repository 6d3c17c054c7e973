"""What a LiteLLM gateway hands to a guardrail: a request as a dict, which dialects read."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.dialects.chat import CHAT, Chat
from vlmguard.guard.serving.dialects.messages import MESSAGES, Messages
from vlmguard.guard.serving.dialects.responses import RESPONSES, Responses

__all__ = ["DIALECTS", "UNREAD", "Guarded", "changes", "read"]

Guarded = Chat | Messages | Responses

DIALECTS: Final[Mapping[str, Guarded]] = {
    "completion": CHAT,
    "acompletion": CHAT,
    "anthropic_messages": MESSAGES,
    "aanthropic_messages": MESSAGES,
    "responses": RESPONSES,
    "aresponses": RESPONSES,
}
"""By the gateway's name of the call."""

UNREAD: Final = frozenset(
    (
        "text_completion",
        "atext_completion",
        "generate_content",
        "agenerate_content",
        "generate_content_stream",
        "agenerate_content_stream",
        "pass_through_endpoint",
        "_arealtime",
        "_aresponses_websocket",
        "run_thread",
        "arun_thread",
        "create_interaction",
        "acreate_interaction",
    )
)
"""Calls that ask a model for text in a form that no dialect reads."""

# Beside plain values, what dialects read; all else are the gateway's own objects.
_FIELDS: Final = ("messages", "system", "input", "stop", "conversation", "prompt")


def read(dialect: Dialect, data: Mapping[str, Any]) -> Asked:
    """A request as the dialect reads it.

    Args:
        dialect: The dialect.
        data: The request, and the gateway's notes beside it.

    Raises:
        Fault: It cannot be read.
    """
    fields = {
        name: value
        for name, value in data.items()
        if name in _FIELDS or isinstance(value, str | int | float | bool)
    }
    return dialect.read(json.dumps(fields, default=_plain).encode())


def changes(asked: Asked, body: bytes) -> dict[str, Any]:
    """The fields that a written body has otherwise than the request.

    Args:
        asked: The request.
        body: What its dialect wrote.
    """
    if body == asked.body:
        return {}
    written: dict[str, Any] = json.loads(body)
    return {
        name: value
        for name, value in written.items()
        if name not in asked.value or value != asked.value[name]
    }


def _plain(value: Any) -> Any:
    # In place of dicts, callers in the same process may have the client's objects.
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    raise TypeError(f"a request with a value of type {type(value).__name__}")
