"""Fetching linked pictures from a scripted server: one picture comes, nine links are dead."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.http_server import QuietHandler, serving

from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.fetch.links import Limits, fetch_links
from vlmguard.tasks.data.fetch.places import Places

LIMITS = Limits(size=20_000, seconds=0.6, pause=0.01)
BUFFER = io.BytesIO()
Image.new("RGB", (24, 24), "green").save(BUFFER, "PNG")
PICTURE = BUFFER.getvalue()

ANSWERS: dict[str, dict[str, Any]] = {
    "good": {"status": 200, "content": PICTURE, "kind": "image/png"},
    "again": {"status": 200, "content": PICTURE, "kind": "image/png"},
    "busy": {"status": 503},
    "missing": {"status": 404},
    "big": {"status": 200, "content": bytes(30_000), "kind": "image/png"},
    "html": {"status": 200, "content": b"<html>moved</html>", "kind": "text/html; charset=utf-8"},
    "half": {"status": 200, "content": PICTURE[:60], "kind": "image/png"},
    "cut": {"status": 200, "content": PICTURE[:60], "size": len(PICTURE)},
    "moved": {"status": 302, "to": "/good"},
    "loop": {"status": 302, "to": "/loop"},
    "file": {"status": 302, "to": "file:///etc/passwd"},
}


class Server:
    """A server's address, and the paths that were asked for."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[str] = []


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            name = self.path.strip("/")
            if name == "slow":
                self.say(200, b"", "image/png", size=1000)
                for _ in range(20):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.1)
            elif name == "silent":
                time.sleep(1)
            elif name == "again" and told.asked.count("/again") == 1:
                self.say(503)
            else:
                self.say(**ANSWERS[name])

        def say(
            self,
            status: int,
            content: bytes = b"",
            kind: str = "",
            size: int | None = None,
            to: str = "",
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Location": to}.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) if size is None else size))
            self.end_headers()
            self.wfile.write(content)

    with serving(Handler) as told.address:
        yield told


def fetched(at: Places, server: Server, *names: str, limits: Limits = LIMITS) -> dict[str, str]:
    links = {f"pictures/{name}.png": f"{server.address}/{name}" for name in names}
    steps: list[tuple[int, int]] = []
    dead = fetch_links(links, at, lambda _, *step: steps.append(step), limits)
    assert not steps or steps[-1] == (len(steps), len(steps))
    return {Path(name).stem: reason for name, reason in dead.items()}


def pictures(at: Places) -> list[str]:
    return sorted(path.stem for path in (at.folder / "pictures").glob("*") if path.is_file())


def test_pictures_come_and_each_dead_link_has_its_reason(at: Places, server: Server) -> None:
    names = ("good", "moved", "again", "missing", "big", "html", "half", "busy", "loop", "file")
    dead = fetched(at, server, *names, limits=Limits(size=20_000, seconds=20, pause=0.01))

    assert pictures(at) == ["again", "good", "moved"]
    assert (at.folder / "pictures/moved.png").read_bytes() == PICTURE
    assert dead.pop("half").startswith("no readable image (")
    assert dead == {
        "missing": "status 404",
        "big": "larger than 0.02 MB",
        "html": "no image, but text/html",
        "busy": "status 503",
        "loop": "more than 5 redirects",
        "file": "an address of the kind file:",
    }
    assert server.asked.count("/missing") == 1
    assert server.asked.count("/busy") == 3


def test_a_slow_server_is_left_after_the_time_limit(at: Places, server: Server) -> None:
    start = time.monotonic()
    dead = fetched(at, server, "slow", "silent")
    assert time.monotonic() - start < 3
    assert dead == {"slow": "not complete after 0.6 seconds", "silent": "no answer in time"}
    assert not pictures(at)


def test_a_connection_that_is_cut_leaves_no_picture(at: Places, server: Server) -> None:
    assert fetched(at, server, "cut")["cut"].startswith("not reached (")
    assert server.asked == ["/cut"] * 3
    assert not pictures(at)


def test_a_second_call_asks_only_for_what_is_missing(at: Places, server: Server) -> None:
    fetched(at, server, "good", "missing")
    server.asked.clear()
    assert fetched(at, server, "good", "missing") == {"missing": "status 404"}
    assert server.asked == ["/missing"]


@pytest.mark.parametrize("url", ["ftp://host/a.png", "file:///etc/passwd", "//", ""])
def test_an_address_that_is_none(at: Places, url: str) -> None:
    dead = fetch_links({"a.png": url}, at, lambda *_: None, LIMITS)
    assert dead["a.png"].startswith(("no address", "an address of the kind"))


def test_a_server_that_is_not_there(at: Places) -> None:
    dead = fetch_links({"a.png": "http://127.0.0.1:9/a.png"}, at, lambda *_: None, LIMITS)
    assert dead["a.png"].startswith("not reached (")


@pytest.mark.parametrize("name", ["../a.png", "/tmp/a.png", "b/../../a.png", "", "link/a.png"])
def test_a_name_that_leaves_the_folder(
    at: Places, server: Server, tmp_path: Path, name: str
) -> None:
    (at.folder / "link").symlink_to(tmp_path)
    links = {"good.png": f"{server.address}/good", name: f"{server.address}/good"}
    with pytest.raises(UserError, match="leaves"):
        fetch_links(links, at, lambda *_: None)
    assert server.asked == []
