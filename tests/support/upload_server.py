"""A Hugging Face hub on 127.0.0.1 that takes uploads of models, one commit at a time."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class UploadHub:
    """What was uploaded.

    Attributes:
        endpoint: Address.
        token: The accepted token.
        created: Repositories that were created.
        commits: Content by path, for each commit.
        full: Set to refuse every commit.
    """

    endpoint: str
    token: str
    created: list[str] = field(default_factory=list)
    commits: list[dict[str, bytes]] = field(default_factory=list)
    full: bool = False


@contextmanager
def upload_server(token: str) -> Iterator[UploadHub]:
    """Serve an empty hub; yields it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers["Authorization"] != f"Bearer {hub.token}":
                self.answer(401, {"error": "Invalid username or password."})
            elif self.path == "/api/repos/create":
                name = json.loads(body)["name"]
                hub.created.append(name)
                self.answer(200, {"url": f"{hub.endpoint}/somebody/{name}"})
            elif self.path == "/api/validate-yaml":
                head = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
                # The real hub accepts only ids of the hub.
                valid = not head.get("base_model", "").startswith("/")
                said = '"base_model" is not valid. Use a model id from https://hf.co/models.'
                self.answer(200 if valid else 400, {} if valid else {"error": said})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                told = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in files
                ]
                self.answer(200, {"files": told})
            elif "/commit/" in self.path and not hub.full:
                hub.commits.append(_files(body))
                self.answer(200, {"commitUrl": _url(hub), "commitOid": SHA})
            else:
                self.answer(403, {"error": "Storage quota exceeded."})

        def answer(self, status: int, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = UploadHub(f"http://127.0.0.1:{server.server_port}", token)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _files(body: bytes) -> dict[str, bytes]:
    entries = [json.loads(line) for line in body.splitlines()]
    return {
        entry["value"]["path"]: base64.b64decode(entry["value"]["content"])
        for entry in entries
        if entry["key"] == "file"
    }


def _url(hub: UploadHub) -> str:
    return f"{hub.endpoint}/somebody/{hub.created[-1]}/commit/{SHA}"
