"""OpenAI's moderation API on 127.0.0.1: handmade answers in the form of the API's own types."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.http_server import QuietHandler, serving


@dataclass
class ModerationApi:
    """The server's address, and the requests that it got."""

    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


def moderated(**scores: float) -> dict[str, Any]:
    """An answer that flags each category from 0.5 on."""
    names = {name.replace("_", "/"): score for name, score in scores.items()}
    flagged = {name: score >= 0.5 for name, score in names.items()}
    result = {
        "flagged": any(flagged.values()),
        "categories": flagged,
        "category_scores": names,
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


@contextmanager
def moderation_server(*answers: tuple[int, dict[str, Any]]) -> Iterator[ModerationApi]:
    """Serve answers (status and JSON) in turn, the last one again and again."""
    left: Sequence[tuple[int, dict[str, Any]]] = answers
    api = ModerationApi()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            api.requests.append(json.loads(self.read_body()))
            status, content = left[min(len(api.requests), len(left)) - 1]
            self.send_json(status, content)

    with serving(Handler) as address:
        api.address = f"{address}/v1"
        yield api
