"""A scripted OpenAI-compatible server, for tests that go through the command line."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.http_server import QuietHandler, serving

Script = Callable[[str, list[dict[str, Any]]], str]
"""Gives the reply for the last user text and all messages."""


@dataclass
class Server:
    """The requests to the server.

    Attributes:
        url: Base URL for an OpenAI client.
        requests: Bodies of the chat requests, in order of arrival.
        fail: Set to answer every request with status 500.
        refuse: Set to answer every request with status 401, and to repeat the key.
        most_images: The most images of a request; vLLM's error answers one with more.
    """

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    fail: threading.Event = field(default_factory=threading.Event)
    refuse: threading.Event = field(default_factory=threading.Event)
    most_images: int | None = None

    def environment(self, name: str = "scripted", key: str = "test-key") -> dict[str, str]:
        """Variables that make `openai-api/NAME/...` use this server."""
        return {f"{name.upper()}_API_KEY": key, f"{name.upper()}_BASE_URL": self.url}


@contextmanager
def openai_server(script: Script) -> Iterator[Server]:
    """Serve chat completions on 127.0.0.1 until the block ends."""

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """The list of models, which Inspect's `vllm/` and `sglang/` ask for."""
            self.send_json(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.read_body())
            server.requests.append(body)
            if server.fail.is_set():
                self.send_json(500, {"error": {"message": "scripted failure"}})
                return
            if server.refuse.is_set():
                key = self.headers["Authorization"].removeprefix("Bearer ")
                said = f"Incorrect API key provided: {key}. Get one from us."
                self.send_json(401, {"error": {"message": said, "code": "invalid_api_key"}})
                return
            most = server.most_images
            if most is not None and image_count(body["messages"]) > most:
                said = f"At most {most} image(s) may be provided in one request."
                self.send_json(400, {"error": {"message": said, "type": "BadRequestError"}})
                return
            text = last_text(body["messages"])
            reply = script(text, body["messages"])
            self.send_json(
                200,
                {
                    "id": "chatcmpl-0",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": reply},
                        }
                    ],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                },
            )

    with serving(Handler) as address:
        server = Server(f"{address}/v1")
        yield server


def last_text(messages: list[dict[str, Any]]) -> str:
    """Text of the last message."""
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def image_count(messages: list[dict[str, Any]]) -> int:
    """Number of images over all messages."""
    return sum(
        part["type"] == "image_url"
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
    )
