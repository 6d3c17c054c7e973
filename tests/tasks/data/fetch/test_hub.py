"""Fetching from the hub: a server on this machine, used by the hub's own client."""

import errno
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.http_server import QuietHandler, serving
from support.hub_server import SHA, Hub, hub_server

from vlmguard.guard.cards import Card
from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.fetch.hub import fetch_hub
from vlmguard.tasks.data.fetch.places import Places, writing
from vlmguard.tasks.data.fetch.record import Fetched

CARD = Card("pantry", "Pantry", hub="cook/pantry", hub_files=("*.json", "pictures/*"), gated=True)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


FILES = {
    "list.json": b"[1]",
    "pictures/tea [1].png": b"tea",
    "pictures/more.zip": zipped({"jam.png": b"jam", "deep/ham.png": b"ham"}),
    "huge.bin": b"x",
}
CONTENT = {
    "list.json": b"[1]",
    "pictures/tea [1].png": b"tea",
    "pictures/jam.png": b"jam",
    "pictures/deep/ham.png": b"ham",
}


class Fetching:
    """A call of `fetch_hub`, with what it said."""

    def __init__(self, at: Places, use_hub: Callable[[Hub], None]) -> None:
        self.at = at
        self.use_hub = use_hub
        self.saved: list[Fetched] = []
        self.steps: list[tuple[int, int]] = []

    def __call__(self, hub: Hub, card: Card = CARD) -> dict[str, bytes]:
        self.use_hub(hub)
        known = self.saved[-1] if self.saved else None
        fetch_hub(card, known, self.at, lambda _, *step: self.steps.append(step), self.saved.append)
        return {
            path.relative_to(self.at.folder).as_posix(): path.read_bytes()
            for path in self.at.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def fetching(at: Places, use_hub: Callable[[Hub], None]) -> Fetching:
    return Fetching(at, use_hub)


@pytest.mark.parametrize("commit", ["", SHA, SHA[:7]])
def test_the_cards_files_come_and_archives_are_unpacked(fetching: Fetching, commit: str) -> None:
    with hub_server("cook/pantry", FILES) as hub:
        assert fetching(hub, replace(CARD, hub_commit=commit)) == CONTENT
        assert not [path for path in hub.requests if "huge" in path]
    assert fetching.saved[-1].commit == SHA
    assert fetching.saved[-1].unpacked == {
        "pictures/more.zip": ("pictures/jam.png", "pictures/deep/ham.png")
    }
    total = sum(len(FILES[name]) for name in FILES if name != "huge.bin")
    assert fetching.steps[-1] == (total, total)
    assert not list(fetching.at.beside.iterdir())


def test_a_second_call_fetches_what_is_missing_and_replaces_nothing(fetching: Fetching) -> None:
    with hub_server("cook/pantry", FILES) as hub:
        fetching(hub)
        hub.requests.clear()
        assert fetching(hub) == CONTENT
        assert hub.requests == []

        (fetching.at.folder / "list.json").write_bytes(b"mine")
        (fetching.at.folder / "pictures/deep/ham.png").unlink()
        assert fetching(hub) == {**CONTENT, "list.json": b"mine"}
        assert {path.rpartition("/")[2] for path in hub.requests if "/resolve/" in path} == {
            "more.zip"
        }


def test_gated_not_there_or_not_reached(fetching: Fetching) -> None:
    with hub_server("cook/pantry", FILES, gated=True) as hub:
        with pytest.raises(UserError, match=r"is gated. Accept its terms .* set HF_TOKEN"):
            fetching(hub)
        with pytest.raises(UserError, match="cook/other was not found on the hub"):
            fetching(hub, replace(CARD, hub="cook/other"))
    with hub_server("cook/pantry", FILES) as hub:
        with pytest.raises(UserError, match="no revision 1111111"):
            fetching(hub, replace(CARD, hub_commit="1111111"))
        with pytest.raises(UserError, match=r"has none of notes\.csv at commit"):
            fetching(hub, replace(CARD, hub_files=("notes.csv",)))
    with pytest.raises(UserError, match="the hub cannot be reached"):
        fetching(hub)
    assert not list(fetching.at.folder.iterdir())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the hub answers with status 401. Look at HF_TOKEN"),
        (403, "the hub answers with status 403"),
        (500, "the hub answers with status 500"),
        (200, "the hub's answer is no JSON"),
    ],
)
def test_an_answer_that_is_no_datasets(fetching: Fetching, status: int, said: str) -> None:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Please log in</html>")

    with serving(Handler) as address, pytest.raises(UserError, match=said):
        fetching(Hub("cook/pantry", {}, endpoint=address))


def test_a_name_that_leaves_the_folder(fetching: Fetching) -> None:
    with (
        hub_server("cook/pantry", {**FILES, "pictures/../../out.png": b"out"}) as hub,
        pytest.raises(UserError, match="leaves"),
    ):
        fetching(hub)
    assert not [path for path in hub.requests if "/resolve/" in path]


def test_a_full_disk_is_not_taken_for_the_network(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "list.json.incomplete")

    monkeypatch.setattr("vlmguard.tasks.data.fetch.hub.hf_hub_download", full)
    with (
        hub_server("cook/pantry", FILES) as hub,
        pytest.raises(UserError, match=r"cannot be written \(No space left on device\). Make room"),
        writing(fetching.at.folder),
    ):
        fetching(hub)
