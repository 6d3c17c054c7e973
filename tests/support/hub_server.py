"""A Hugging Face hub on 127.0.0.1 with one dataset repository."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from support.http_server import QuietHandler, serving

SHA = "0123456789abcdef0123456789abcdef01234567"
COMMIT = {"id": SHA, "authors": [], "date": "2026-01-01T00:00:00.000Z", "title": "", "message": ""}


@dataclass
class Hub:
    """The hub's content and the requests to it.

    Attributes:
        repo: `owner/name` of the dataset.
        files: Content by path.
        gated: Whether every request is refused as gated.
        endpoint: Address, for HF_ENDPOINT.
        requests: Paths that were requested.
    """

    repo: str
    files: dict[str, bytes]
    gated: bool = False
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)


@contextmanager
def hub_server(repo: str, files: dict[str, bytes], *, gated: bool = False) -> Iterator[Hub]:
    """Serve a repository; yields the hub."""
    hub = Hub(repo, files, gated)

    class Handler(QuietHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(self.path.split("?")[0])
            hub.requests.append(path)
            api = f"/api/datasets/{hub.repo}"
            resolve = f"/datasets/{hub.repo}/resolve/{SHA}/"
            if hub.repo not in path:
                self.refuse(404, "RepoNotFound")
            elif hub.gated:
                self.refuse(403, "GatedRepo")
            elif path in (api, f"{api}/revision/main", f"{api}/revision/{SHA}"):
                self.answer_json({"id": hub.repo, "sha": SHA, "siblings": []})
            elif path == f"{api}/commits/main":
                self.answer_json([COMMIT])
            elif path == f"{api}/tree/{SHA}":
                self.answer_json([self.entry(name) for name in hub.files])
            elif path.startswith(resolve) and path.removeprefix(resolve) in hub.files:
                self.answer(hub.files[path.removeprefix(resolve)])
            else:
                self.refuse(404, "RevisionNotFound")

        def entry(self, name: str) -> dict[str, Any]:
            content = hub.files[name]
            oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return {"type": "file", "path": name, "size": len(content), "oid": oid}

        def answer_json(self, content: Any) -> None:
            self.answer(json.dumps(content).encode(), "application/json")

        def answer(self, content: bytes, kind: str = "application/octet-stream") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", SHA)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler) as hub.endpoint:
        yield hub
