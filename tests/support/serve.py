"""`transformers serve` as a subprocess, for tests against a real OpenAI-compatible server."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A checkpoint behind a server.

    Attributes:
        url: Base URL for an OpenAI client, ending in /v1.
        checkpoint: The served folder.
    """

    url: str
    checkpoint: Path

    @property
    def model(self) -> str:
        """The Inspect model name; needs the variables of `environment`."""
        return f"openai-api/served/{self.checkpoint}"

    def environment(self) -> dict[str, str]:
        """Variables that make `openai-api/served/...` use this server."""
        return {"SERVED_API_KEY": "not-needed", "SERVED_BASE_URL": self.url}


@contextmanager
def transformers_serve(checkpoint: Path, *, timeout: float = 180) -> Iterator[Served]:
    """Serve a local checkpoint on 127.0.0.1, in float32 on the CPU, until the block ends.

    If torchvision is missing, the processor must load without it (LLaVA does).

    Args:
        checkpoint: Folder of the checkpoint.
        timeout: Seconds to wait until the server answers.

    Raises:
        RuntimeError: It did not start; the message holds its output.
    """
    try:
        process, url = _start(checkpoint, timeout)
    except PortTaken:
        # Another process took the port between its choice and its use.
        process, url = _start(checkpoint, timeout)
    try:
        yield Served(f"{url}/v1", checkpoint)
    finally:
        _stop(process)


class PortTaken(Exception):
    """The port was free when it was chosen, but is no longer."""


def _start(checkpoint: Path, timeout: float) -> tuple["subprocess.Popen[bytes]", str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    command += ["serve", str(checkpoint), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = checkpoint.parent / f"serve-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(f"{url}/health", process, log, timeout)
    except BaseException:
        _stop(process)
        raise
    return process, url


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None:
                break
            time.sleep(0.3)
    if "address already in use" in log.read_text().lower():
        raise PortTaken(url)
    raise RuntimeError(f"transformers serve did not start:\n{log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
