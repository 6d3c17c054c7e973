"""Data from the hub: a server on 127.0.0.1, and a separate process that uses it."""

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.folders import vlguard_records
from support.hub_server import SHA, hub_server
from support.siuo_folder import write_siuo

pytestmark = pytest.mark.slow

CODE = """
import json, sys
from vlmguard.guard.errors import UserError
from vlmguard.tasks import siuo, vlguard
name, options = sys.argv[1], json.loads(sys.argv[2])
try:
    task = {"siuo": siuo, "vlguard": vlguard}[name](judge="none", **options)
except UserError as error:
    print(json.dumps({"error": str(error)}))
else:
    images = [s.input[0].content[0].image for s in task.dataset]
    print(json.dumps({"data": task.metadata["data"], "images": images}))
"""


def build(endpoint: str, home: Path, name: str = "siuo", **options: Any) -> dict[str, Any]:
    """Build a task in a new process that knows only our hub, and no token."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("VLMGUARD_DATA", "HF_TOKEN", "HF_HUB_OFFLINE")
    }
    result = subprocess.run(
        [sys.executable, "-c", CODE, name, json.dumps(options)],
        env={**environment, "HF_ENDPOINT": endpoint, "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.fixture
def nobody() -> Iterator[str]:
    """An endpoint without a server: its port is taken, so that no other process listens there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def siuo_files(tmp_path: Path) -> dict[str, bytes]:
    folder = write_siuo(tmp_path / "siuo", 2)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_snapshot_is_downloaded_and_its_commit_recorded(
    siuo_files: dict[str, bytes], tmp_path: Path, nobody: str
) -> None:
    home = tmp_path / "home"
    with hub_server("sinwang/SIUO", {**siuo_files, "data/huge.bin": b"x"}) as hub:
        found = build(hub.endpoint, home)
        assert found["data"]["origin"] == f"hub:sinwang/SIUO@{SHA}"
        assert set(found["data"]["files"]) == {"data/siuo_gen.json"}
        assert found["data"]["images"]["count"] == 2
        # Only the card's files are fetched.
        assert not [path for path in hub.requests if "huge" in path]
        assert build(hub.endpoint, home, revision=SHA) == found
    # Without the hub, the earlier download is used, since it is complete.
    assert build(nobody, home) == found


@pytest.mark.parametrize("escaping", [False, True])
def test_archive_is_unpacked_unless_it_leaves_its_folder(tmp_path: Path, escaping: bool) -> None:
    records = vlguard_records(2, 0)
    buffer = io.BytesIO()
    picture = write_siuo(tmp_path / "siuo", 1) / "data/images/S-00.png"
    with zipfile.ZipFile(buffer, "w") as bundle:
        for record in records:
            bundle.write(picture, f"test/{record['image']}")
        if escaping:
            bundle.writestr("../escaped.txt", "no")
    files = {"test.json": json.dumps(records).encode(), "test.zip": buffer.getvalue()}
    home = tmp_path / "home"
    with hub_server("ys-zong/VLGuard", files) as hub:
        found = build(hub.endpoint, home, "vlguard")
    if escaping:
        assert "test.zip: nothing was unpacked. The path '../escaped.txt' leaves" in found["error"]
        assert not list(home.rglob("escaped.txt"))
    else:
        assert [Path(image).name for image in found["images"]] == ["u0.png", "u1.png"]


def test_broken_archive_is_named(tmp_path: Path) -> None:
    files = {"test.json": json.dumps(vlguard_records(1, 0)).encode(), "test.zip": b"half"}
    with hub_server("ys-zong/VLGuard", files) as hub:
        found = build(hub.endpoint, tmp_path / "home", "vlguard")
    assert "test.zip: cannot be unpacked" in found["error"]
    assert "Delete it and run again" in found["error"]


def test_gated_set_without_a_token(tmp_path: Path) -> None:
    with hub_server("ys-zong/VLGuard", {}, gated=True) as hub:
        error = build(hub.endpoint, tmp_path / "home", "vlguard")["error"]
    assert "VLGuard: ys-zong/VLGuard is gated" in error
    assert "HF_TOKEN" in error


def test_unknown_revision(siuo_files: dict[str, bytes], tmp_path: Path) -> None:
    with hub_server("sinwang/SIUO", siuo_files) as hub:
        error = build(hub.endpoint, tmp_path / "home", revision="v9")["error"]
    assert error == "SIUO: sinwang/SIUO has no revision v9."


def test_repository_that_is_not_there(tmp_path: Path) -> None:
    with hub_server("someone/else", {}) as hub:
        error = build(hub.endpoint, tmp_path / "home")["error"]
    assert "sinwang/SIUO was not found on the hub" in error
    assert "Clone https://github.com/sinwang20/SIUO" in error


def test_no_network(tmp_path: Path, nobody: str) -> None:
    error = build(nobody, tmp_path / "home")["error"]
    assert "the hub cannot be reached" in error
    assert "-T data_dir=" in error


def test_repository_without_the_files(tmp_path: Path) -> None:
    with hub_server("sinwang/SIUO", {"README.md": b"moved"}) as hub:
        error = build(hub.endpoint, tmp_path / "home")["error"]
    assert "siuo_gen.json not found" in error
