"""The text of an answer, from the bytes that a client gets; for recordings."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import httpx

from vlmguard.guard.serving.json_text import loads
from vlmguard.guard.serving.sse import events_in

__all__ = ["text_of"]


def text_of(headers: Iterable[tuple[bytes, bytes]], raw: bytes) -> str | None:
    """The text of an answer of chat completions, responses or messages, streamed or whole.

    Args:
        headers: The headers of the response.
        raw: Its body, compressed as they say.

    Returns:
        The first answer's text; None if the body is none of these.
    """
    try:
        response = httpx.Response(200, headers=[*headers], content=raw)
        body = response.content
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return _whole(loads(body))
        pieces = [piece for event in _events(body) if (piece := _piece(event)) is not None]
    except (httpx.DecodingError, ValueError):
        return None
    return "".join(pieces) if pieces else None


def _whole(answer: Any) -> str | None:
    match answer:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
        case {"output": list(items)}:
            parts = [part for item in items if isinstance(item, dict) for part in _parts(item)]
            return "".join(parts) if parts else None
        case {"type": "message"}:
            parts = _parts(answer)
            return "".join(parts) if parts else None
    return None


def _parts(message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    return [
        part["text"]
        for part in (content if isinstance(content, list) else [])
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


def _piece(event: Any) -> str | None:
    match event:
        case {"choices": [{"index": 0, "delta": {"content": str(text)}}, *_]}:
            return text
        case {"type": "response.output_text.delta", "delta": str(text)}:
            return text
        case {"type": "content_block_delta", "delta": {"text": str(text)}}:
            return text
    return None


def _events(body: bytes) -> Iterator[Any]:
    for data in events_in(body):
        with suppress(ValueError):  # what is not JSON has no text
            yield loads(data)
