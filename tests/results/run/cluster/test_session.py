"""Where a cluster is looked for, what a cluster of our own leaves behind, and what Ray says."""

import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from vlmguard.guard.errors import UserError
from vlmguard.results.run.cluster.own import own_folder
from vlmguard.results.run.cluster.said_by_ray import shortened
from vlmguard.results.run.cluster.session import connected

DEAD = (
    "\x1b[33m(raylet)\x1b[0m Raylet is terminated. Termination is unexpected. Last 20 lines:\n"
    "    [state-dump] NodeManager.GCTaskFailureReason - 1 total\n"
)


def refused(address: str) -> str:
    with pytest.raises(UserError) as caught, connected(address):
        raise AssertionError
    return str(caught.value)


def test_a_client_address_is_refused() -> None:
    said = refused("ray://127.0.0.1:10001")
    assert "Ray's client is not supported" in said
    assert "--ray auto or HOST:PORT of its head" in said


def test_auto_says_at_once_that_a_head_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    began = time.monotonic()
    said = refused("auto")
    assert "--ray auto: no cluster answers" in said
    assert f":{port}: Connection refused. Start one (ray start --head)" in said
    assert time.monotonic() - began < 30
    assert "no cluster answers" in refused("nonsense")


def test_the_token_of_a_cluster_of_our_own_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    with own_folder() as folder:
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.parent == folder
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert len(token.read_text()) == 64
        # As Ray does when it finds a token.
        os.environ["RAY_AUTH_MODE"] = "token"
    assert not {"RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & os.environ.keys()
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 32)
    with own_folder():
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_folders_of_killed_runs_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    old = time.time() - 3600
    for name in ("vlmguard-ray-killed", "vlmguard-ray-running", "other"):
        (tmp_path / name / "session").mkdir(parents=True)
    (tmp_path / "vlmguard-ray-young").mkdir()
    with FileLock(tmp_path / "vlmguard-ray-running/.held"):
        for name in ("vlmguard-ray-killed", "vlmguard-ray-running", "other"):
            os.utime(tmp_path / name, (old, old))
        with own_folder():
            pass
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"vlmguard-ray-running", "vlmguard-ray-young", "other"}


def test_what_ray_prints_of_a_dead_node_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def say() -> None:
        print(DEAD)
        print(DEAD)
        print("\x1b[33m(raylet)\x1b[0m The autoscaler failed.\nmore")

    with shortened():
        print("done [1 of 4]")
        thread = threading.Thread(target=say, name="ray_listen_error_messages")
        thread.start()
        thread.join()
    said = capsys.readouterr()
    assert said.out == "done [1 of 4]\n"
    assert said.err.splitlines() == [
        "Ray: a node of the cluster has died (its raylet was killed, or crashed).",
        "Ray: The autoscaler failed.",
    ]
