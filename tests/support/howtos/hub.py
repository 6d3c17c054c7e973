"""The Hugging Face hub, as far as its client asks it, over folders of this machine."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


class Answering(Protocol):
    """What answers a request."""

    def send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer, with JSON unless the content is bytes."""


class Hub:
    """Repositories by `models/OWNER/NAME` and `datasets/OWNER/NAME`.

    Args:
        repositories: Folder of each.
    """

    def __init__(self, repositories: Mapping[str, Path]) -> None:
        self.repositories = repositories

    def answer(self, path: str, to: Answering) -> None:
        """Answer a GET or a HEAD."""
        parts = urlsplit(path)
        names = unquote(parts.path).strip("/").split("/")
        if names[0] == "api":
            self._api(names[1:], to, recursive="recursive" in parse_qs(parts.query))
            return
        kind = names[0] if names[0] == "datasets" else "models"
        names = names[1:] if kind == "datasets" else names
        name, (verb, _, *rest) = f"{kind}/{'/'.join(names[:2])}", names[2:]
        folder = self.repositories.get(name)
        if folder is None or verb != "resolve":
            to.send(404, {}, {"X-Error-Code": "RepoNotFound"})
            return
        file = folder / "/".join(rest)
        if not file.is_file():
            to.send(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
            return
        headers = {"ETag": f'"{digest(file)}"', "X-Repo-Commit": SHA}
        to.send(200, file.read_bytes(), headers)

    def _api(self, names: list[str], to: Answering, *, recursive: bool) -> None:
        name = "/".join(names[:3])
        folder = self.repositories.get(name)
        if folder is None:
            to.send(404, {}, {"X-Error-Code": "RepoNotFound"})
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        verb = names[3] if len(names) > 3 else ""
        if verb == "commits":
            commit = {"id": SHA, "authors": [], "date": "2026-01-01T00:00:00.000Z"}
            to.send(200, [{**commit, "title": "", "message": ""}])
        elif verb == "tree":
            below = folder.joinpath(*names[5:])
            found = [
                {
                    "type": "file",
                    "path": path.relative_to(folder).as_posix(),
                    "size": path.stat().st_size,
                    "oid": digest(path),
                }
                for path in files
                if path.is_relative_to(below) and (recursive or path.parent == below)
            ]
            to.send(200, found)
        else:
            listed = [{"rfilename": path.relative_to(folder).as_posix()} for path in files]
            kind = names[0].removesuffix("s")
            facts = {"id": "/".join(names[1:3]), "sha": SHA, "siblings": listed}
            to.send(200, {**facts, "private": False, "tags": [], f"{kind}Id": facts["id"]})


@cache
def digest(file: Path) -> str:
    """What git calls the file's content."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
