"""An upstream that answers all APIs that the proxy guards, whole and streamed."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from support.serving import Answers

RESPONSES_PATH = "/v1/responses"
MESSAGES_PATH = "/v1/messages"


class ApiAnswers(Answers):
    """The same as `Answers`, with the Responses and the Messages API."""

    def __init__(self, text: str = "An answer.", status: int = 200) -> None:
        super().__init__(text, status)
        # Before the route that takes all other paths.
        self.app.routes[:0] = [
            Route(RESPONSES_PATH, self._responses, methods=["POST"]),
            Route(MESSAGES_PATH, self._messages, methods=["POST"]),
        ]

    async def _responses(self, request: Request) -> Response:
        return await self._answered(request, response(self.text), response_events(self.text))

    async def _messages(self, request: Request) -> Response:
        return await self._answered(request, message(self.text), message_events(self.text))

    async def _answered(
        self, request: Request, whole: dict[str, Any], events: Iterator[dict[str, Any]]
    ) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        if self.status != 200:
            return JSONResponse({"error": {"message": "scripted"}}, self.status)
        if json.loads(self.bodies[-1]).get("stream"):
            return StreamingResponse(_sent(events), media_type="text/event-stream")
        return JSONResponse(whole)


def response(text: str, status: str = "completed") -> dict[str, Any]:
    """A response of the Responses API."""
    details = {"cached_tokens": 0}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m",
        "output": [_item(text)],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": details,
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 5,
        },
    }


def response_events(text: str) -> Iterator[dict[str, Any]]:
    """The same as a stream, a word an event."""
    begun = {**response("", "in_progress"), "output": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    words = [f"{word} " for word in text.split(" ")]
    words[-1] = words[-1].rstrip(" ")
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**_item(""), "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": part},
        *(
            {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}
            for word in words
        ),
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": _item(text)},
        {"type": "response.completed", "response": response(text)},
    ]
    yield from ({**event, "sequence_number": number} for number, event in enumerate(events))


def message(text: str) -> dict[str, Any]:
    """A message of the Messages API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }


def message_events(text: str) -> Iterator[dict[str, Any]]:
    """The same as a stream, a word an event."""
    words = [f"{word} " for word in text.split(" ")]
    words[-1] = words[-1].rstrip(" ")
    yield {
        "type": "message_start",
        "message": {**message(text), "content": [], "stop_reason": None},
    }
    yield {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    yield {"type": "ping"}
    for word in words:
        delta = {"type": "text_delta", "text": word}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 2}}
    yield {"type": "message_stop"}


def _item(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


async def _sent(events: Iterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
