"""`vlmguard data fetch` from the command line: asks, fetches, checks, tells."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from inspect_ai.dataset import Sample
from PIL import Image
from support.git_repository import commit_files
from support.http_server import QuietHandler, serving
from support.hub_server import SHA, Hub, hub_server

from vlmguard.cli import main
from vlmguard.guard.cards import Card, Git, cards
from vlmguard.guard.cards.registry import _BENCHMARKS
from vlmguard.guard.data_source import Source
from vlmguard.tasks.data.dataset import user_input

BUFFER = io.BytesIO()
Image.new("RGB", (24, 24), "green").save(BUFFER, "PNG")
PICTURE = BUFFER.getvalue()
FETCHABLE = [name for name, card in cards().benchmarks.items() if card.fetchable]


def load(source: Source, variant: str) -> list[Sample]:
    names = json.loads(source.first_existing("list.json").read_text())
    return [Sample(user_input("What?", source.root / name), id=name) for name in names]


def links(folder: Path) -> Mapping[str, str]:
    content: dict[str, str] = json.loads((folder / "links.json").read_text())
    return content


@pytest.fixture
def owner() -> Iterator[str]:
    """Address of the server of the pictures' owner."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            found = self.path == "/jam"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(PICTURE) if found else 0))
            self.end_headers()
            self.wfile.write(PICTURE if found else b"")

    with serving(Handler) as address:
        yield address


@pytest.fixture
def pantry(tmp_path: Path, owner: str, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A registered benchmark: a list in git, a picture on the hub, another by a link."""
    repository = tmp_path / "pantry.git"
    files = {
        "list.json": b'["hub.png", "jam.png"]',
        "links.json": json.dumps({"jam.png": f"{owner}/jam"}).encode(),
    }
    card = Card(
        "pantry",
        "Pantry",
        license="CC BY-NC 4.0",
        noncommercial=True,
        obtain="Ask the cook.",
        layouts=("list.json, *.png",),
        variants={"all": 2},
        load=load,
        git=Git(f"file://{repository}", (*files,), commit_files(repository, files)),
        hub="cook/pantry",
        hub_files=("*.png",),
        links=links,
    )
    monkeypatch.setitem(_BENCHMARKS, "pantry", card)
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path / "data"))
    return card


@pytest.fixture
def hub(use_hub: Callable[[Hub], None]) -> Iterator[Hub]:
    with hub_server("cook/pantry", {"hub.png": PICTURE}) as hub:
        use_hub(hub)
        yield hub


FETCH = ["data", "fetch", "pantry", "--accept-license", "pantry"]


def test_git_hub_and_links_make_a_complete_set(
    pantry: Card, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "fetch", "pantry"]) == 2
    said = capsys.readouterr().err
    assert "no terminal to ask at:\n  pantry (non-commercial): CC BY-NC 4.0" in said
    assert "add --accept-license pantry" in said
    assert not (tmp_path / "data").exists()

    assert main(FETCH) == 0
    shown = capsys.readouterr()
    assert "Pantry (pantry): complete" in shown.out
    assert f"fetched   file://{tmp_path}/pantry.git at commit {pantry.git.commit}" in shown.out
    assert f"fetched   cook/pantry at commit {SHA}" in shown.out
    assert "pantry: linked pictures: 100 %" in shown.err
    assert main(["data", "pantry"]) == 0
    assert sorted(os.listdir(tmp_path / "data")) == ["pantry"]

    hub.requests.clear()
    assert main(FETCH) == 0
    assert hub.requests == []


def test_dead_links_and_altered_files_are_named(
    pantry: Card, hub: Hub, tmp_path: Path, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data/pantry"
    folder.mkdir(parents=True)
    (folder / "links.json").write_text(json.dumps({"jam.png": f"{owner}/eaten"}))
    assert main(FETCH) == 1
    shown = capsys.readouterr().out
    assert "Pantry (pantry): incomplete" in shown
    assert "vlmguard data fetch" not in shown
    assert "altered   1 file not as published; delete and fetch:\n            links.json" in shown
    assert "missing   1 file not fetched" in shown
    assert "            jam.png: status 404" in shown
    record = json.loads((folder / "vlmguard-fetched.json").read_text())
    assert record["dead"] == {"jam.png": "status 404"}

    (folder / "links.json").unlink()
    assert main(FETCH) == 0
    assert json.loads((folder / "vlmguard-fetched.json").read_text())["dead"] == {}


def test_a_set_that_git_completes_needs_no_hub(
    pantry: Card, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "whole.git"
    files = {"list.json": b'["a.png"]', "a.png": PICTURE}
    git = Git(f"file://{repository}", (), commit_files(repository, files)[:8])
    facts = {"variants": {"all": 1}, "git": git, "links": Card("a", "A").links}
    monkeypatch.setitem(_BENCHMARKS, "pantry", Card(**{**vars(pantry), **facts}))
    assert main(FETCH) == 0
    assert hub.requests == []


def test_a_source_that_fails_does_not_keep_others_from_being_fetched(
    pantry: Card, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Card("cellar", "Cellar", layouts=("x",), git=Git("http://127.0.0.1:9/cellar"))
    monkeypatch.setitem(_BENCHMARKS, "cellar", gone)
    assert main(["data", "fetch", "cellar", *FETCH[2:]]) == 2
    shown = capsys.readouterr()
    assert "vlmguard: http://127.0.0.1:9/cellar cannot be fetched" in shown.err
    assert "Pantry (pantry): complete" in shown.out


def test_a_fetch_that_brought_nothing_leaves_nothing(
    pantry: Card,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder would stand before the hub, where the next run looks."""
    only_hub = {**vars(pantry), "git": None, "links": Card("a", "A").links}
    for facts in ({"git": Git("http://127.0.0.1:9/cellar")}, {"hub": "cook/gone"}):
        monkeypatch.setitem(_BENCHMARKS, "pantry", Card(**{**only_hub, **facts}))
        assert main(FETCH) == 2
        assert os.listdir(tmp_path / "data") == []
        said = capsys.readouterr().err
        assert "vlmguard data fetch" not in said
    assert "By hand: Ask the cook." in said
    # The hub lists its files, and refuses to give them.
    monkeypatch.setitem(_BENCHMARKS, "pantry", Card(**only_hub))
    monkeypatch.setattr(hub, "files", {"hub.png": PICTURE})
    monkeypatch.setattr("vlmguard.tasks.data.fetch.hub.hf_hub_download", _refuse)
    assert main(FETCH) == 2
    assert os.listdir(tmp_path / "data") == []
    said = capsys.readouterr().err
    assert "the hub cannot be reached" in said
    assert "vlmguard data fetch" not in said
    assert "data_dir" not in said


def _refuse(*_: object, **__: object) -> None:
    raise ConnectionError("gone")


@pytest.mark.parametrize(("typed", "status"), [("pantry\n", 0), ("y\n", 2), ("", 2)])
def test_at_a_terminal_the_name_is_typed_to_accept(
    pantry: Card,
    hub: Hub,
    typed: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keyboard = io.StringIO(typed)
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", keyboard)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["data", "fetch", "pantry"]) == status
    assert "Pantry is non-commercial. License: CC BY-NC 4.0" in capsys.readouterr().err
    assert (tmp_path / "data").exists() == (status == 0)


def test_names_and_folders_that_are_wrong(
    pantry: Card,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_hand = Card("attic", "Attic", obtain="Write to the owner.", layouts=("x",))
    monkeypatch.setitem(_BENCHMARKS, "attic", by_hand)
    loft = Card("loft", "Loft", obtain="Ask upstairs.", layouts=("x",))
    monkeypatch.setitem(_BENCHMARKS, "loft", loft)
    for words, said in {
        ("nosuch",): "no benchmark nosuch. Choose among: ",
        ("attic",): "attic cannot be fetched. Write to the owner.",
        ("pantry", "--accept-license", "nosuch"): "no benchmark nosuch",
        ("attic", "loft"): "owner.\nloft cannot be fetched. Ask upstairs.",
        ("attic", "nosuch"): "attic cannot be fetched. Write to the owner.",
    }.items():
        assert main(["data", "fetch", *words]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.delenv("VLMGUARD_DATA")
    assert main(FETCH) == 2
    assert "Name a folder with --data-dir, or set VLMGUARD_DATA" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*FETCH, "--data-dir", str(tmp_path / "file")]) == 2
    assert f"{tmp_path}/file/.fetch/pantry: cannot be written (Not a" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["data", "fetch"])


def test_a_damaged_record(pantry: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data/pantry"
    folder.mkdir(parents=True)
    for text in ("{", '{"git": 3}', "[]"):
        (folder / "vlmguard-fetched.json").write_text(text)
        assert main(FETCH) == 2
        assert "Delete it and fetch the data again" in capsys.readouterr().err


@pytest.mark.parametrize("name", FETCHABLE)
def test_every_card_says_from_where_it_is_fetched(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = cards().benchmarks[name]
    assert main(["data", "fetch", name, "--dry-run", "--data-dir", str(tmp_path / "no")]) == 0
    shown = capsys.readouterr().out
    assert f"into {tmp_path}/no/{name}" in shown
    assert "  from      " in shown
    assert (f"--accept-license {name}" in shown) == (card.gated or card.noncommercial)
    assert not (tmp_path / "no").exists()
    assert card.hub_files or not card.hub
    assert "NC" not in card.license or card.noncommercial
    commit = card.git.commit if card.git else ""
    assert all(digit in "0123456789abcdef" for digit in card.hub_commit + commit)


KILLED = """
import sys
from pathlib import Path
from vlmguard.tasks.data.fetch.links import fetch_links
from vlmguard.tasks.data.fetch.places import places
with places(Path(sys.argv[1]), "pantry") as at:
    fetch_links({"a.png": sys.argv[2]}, at, print)
"""


@pytest.mark.slow
def test_a_kill_leaves_no_half_file_and_others_wait(
    pantry: Card, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Endless(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(PICTURE)
                time.sleep(0.05)

    with serving(Endless) as address:
        command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), address]
        with subprocess.Popen(command) as process:
            part = tmp_path / "data/.fetch/pantry/link-0"
            while not part.exists() or not part.stat().st_size:
                assert process.poll() is None
                time.sleep(0.05)
            assert main(FETCH) == 2
            assert "is being fetched" in capsys.readouterr().err
            process.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path / "data/pantry") == []
    assert main(FETCH) == 0
    assert not (tmp_path / "data/.fetch").exists()
