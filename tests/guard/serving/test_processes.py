"""The server as a process: stopped in the middle of answers, and with several workers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.live_serving import Received, answer, raw_upstream, saying

SENT: Final = {"model": "m", "messages": [{"role": "user", "content": "How?"}]}
KEY: Final = "a-key-of-a-client"
PATIENCE: Final = 120
"""Seconds for what happens at once, on a machine that is busy with other tests."""


class Server:
    """A running `vlmguard serve`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, path: str, sent: Any = None) -> HTTPResponse:
        """Ask on a connection of its own; the answer's body is not read."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        body = None if sent is None else json.dumps(sent)
        method = "GET" if sent is None else "POST"
        connection.request(method, path, body, {"x-api-key": KEY, "connection": "close"})
        return connection.getresponse()

    def figure(self, name: str, **labels: str) -> float:
        """A figure of `/metrics`."""
        text = self.ask("/metrics").read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def serving(folder: Path, address: str, *words: str) -> Iterator[Server]:
    """A server in front of an upstream, until the block ends."""
    program = str(Path(sys.executable).parent / "vlmguard")
    command = [program, "serve", "--defense", "figstep_defense", "--upstream", address]
    command += ["--on-failure", "refuse", "--port", "0", "--api-key-env", "CLIENTS", *words]
    environment = {**os.environ, "CLIENTS": KEY, "PROMETHEUS_MULTIPROC_DIR": str(folder / "old")}
    environment |= {"TMPDIR": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        said = ""
        while not (found := re.search(r"base URL +http://127.0.0.1:(\d+)/v1", said)):
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()
            said += line
        server = Server(process, int(found[1]))
        # It listens already; this is answered when it can be.
        assert server.ask("/readyz").status == 200
        yield server
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what must come about."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


class Streams:
    """An upstream's streams, which begin at once and end when they are told to."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def __call__(self, connection: socket.socket, request: Received) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        if b"never" in request.body:
            threading.Event().wait(PATIENCE)
        self.end.wait(PATIENCE)
        connection.sendall(b"2\r\ncd\r\n0\r\n\r\n")


def test_answers_end_before_the_server_does(tmp_path: Path) -> None:
    streams = Streams()
    with (
        raw_upstream(streams) as upstream,
        serving(tmp_path, upstream.address, "--grace", "8") as server,
    ):
        running = server.ask("/v1/chat/completions", SENT)
        stuck = server.ask("/v1/chat/completions", {**SENT, "user": "never"})
        assert (running.read(2), stuck.read(2)) == (b"ab", b"ab")
        server.process.send_signal(signal.SIGTERM)

        def closed() -> bool:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            except OSError:
                return True
            return False

        # Nothing new is taken; what runs goes on, and after its time it breaks off.
        until(closed)
        streams.end.set()
        assert running.read() == b"cd"
        with pytest.raises(IncompleteRead):
            stuck.read()
        assert server.process.wait(PATIENCE) == -signal.SIGTERM
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_worker_that_dies_while_it_is_asked_is_replaced_at_once(tmp_path: Path) -> None:
    with (
        raw_upstream(saying(answer())) as upstream,
        serving(tmp_path, upstream.address, "--workers", "2") as server,
    ):
        (worker, other) = _workers(server.process.pid)
        worker.suspend()
        time.sleep(2)  # It is asked twice a second whether it works, and cannot say.
        worker.kill()
        worker.wait(30)
        until(lambda: len(set(_workers(server.process.pid)) - {worker, other}) == 1)
        assert server.ask("/v1/chat/completions", SENT).read() == answer()


def test_workers_count_together_and_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    streams = Streams()

    def talk(connection: socket.socket, request: Received) -> None:
        script = streams if b'"stream"' in request.body else saying(answer())
        script(connection, request)

    with (
        raw_upstream(talk) as upstream,
        serving(tmp_path, upstream.address, "--workers", "2", "--grace", "1") as server,
    ):
        workers = _workers(server.process.pid)
        assert len(workers) == 2
        # What they need came through a pipe: no argument of theirs says anything.
        assert not any(upstream.address in " ".join(each.cmdline()) for each in workers)
        done = {"endpoint": "/v1/chat/completions", "status": "200"}
        for _ in range(10):
            assert server.ask("/v1/chat/completions", SENT).read() == answer()
        # Whoever is asked tells of all.
        assert [server.figure("vlmguard_requests_total", **done) for _ in range(6)] == [10] * 6
        held = [server.ask("/v1/chat/completions", {**SENT, "stream": True}) for _ in range(6)]
        assert [each.read(2) for each in held] == [b"ab"] * 6
        assert server.figure("vlmguard_in_flight") == 7
        workers[0].kill()
        workers[0].wait(PATIENCE)
        left = len(_alive(held))
        # Its requests are nobody's now; what it had counted stays.
        until(lambda: server.figure("vlmguard_in_flight") == left + 1)
        assert server.figure("vlmguard_requests_total", **done) == 10
        # Another takes its place.
        until(lambda: len(psutil.Process(server.process.pid).children()) == 3)
        folders = [*tmp_path.glob("prometheus_client-*")]
        assert [folder.stat().st_mode & 0o077 for folder in folders] == [0]
        streams.end.set()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        assert [*tmp_path.glob("prometheus_client-*")] == []
    assert [*(tmp_path / "old").iterdir()] == []


def test_ctrl_c_while_workers_load_ends_all_of_them(tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "vlmguard")
    command = [program, "serve", "--defense", "figstep_defense", "--on-failure", "refuse"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--port", "0", "--workers", "2"],
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            until(lambda: len(_workers(process.pid)) == 2)
            # As a terminal does: to the workers too, which are loading.
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in (tmp_path / "log").read_text()


def _workers(server: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(server).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]


def _alive(held: list[HTTPResponse]) -> list[HTTPResponse]:
    """Those whose connection was not closed by the other side."""

    def is_open(response: HTTPResponse) -> bool:
        raw = response.fp.raw._sock  # type: ignore[union-attr]
        raw.setblocking(False)
        try:
            while raw.recv(1_000):
                pass
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    return [each for each in held if is_open(each)]
