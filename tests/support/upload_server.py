"""A Hugging Face hub on 127.0.0.1 that takes uploads of models, one commit at a time."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import yaml
from support.http_server import QuietHandler, serving

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

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.read_body()
            if self.headers["Authorization"] != f"Bearer {hub.token}":
                self.send_json(401, {"error": "Invalid username or password."})
            elif self.path == "/api/repos/create":
                name = json.loads(body)["name"]
                hub.created.append(name)
                self.send_json(200, {"url": f"{hub.endpoint}/somebody/{name}"})
            elif self.path == "/api/validate-yaml":
                head = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
                # The real hub accepts only ids of the hub.
                valid = not head.get("base_model", "").startswith("/")
                said = '"base_model" is not valid. Use a model id from https://hf.co/models.'
                self.send_json(200 if valid else 400, {} if valid else {"error": said})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                told = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in files
                ]
                self.send_json(200, {"files": told})
            elif "/commit/" in self.path and not hub.full:
                hub.commits.append(_files(body))
                self.send_json(200, {"commitUrl": _url(hub), "commitOid": SHA})
            else:
                self.send_json(403, {"error": "Storage quota exceeded."})

    with serving(Handler) as address:
        hub = UploadHub(address, token)
        yield hub


def _files(body: bytes) -> dict[str, bytes]:
    entries = [json.loads(line) for line in body.splitlines()]
    return {
        entry["value"]["path"]: base64.b64decode(entry["value"]["content"])
        for entry in entries
        if entry["key"] == "file"
    }


def _url(hub: UploadHub) -> str:
    return f"{hub.endpoint}/somebody/{hub.created[-1]}/commit/{SHA}"
