"""The server of the tests starts even if another process took its port."""

import socket
import urllib.request
from pathlib import Path

import pytest
from support import serve
from support.checkpoints import checkpoint_fixture

tiny_llava = checkpoint_fixture("llava")


@pytest.mark.slow
def test_a_port_that_was_taken_meanwhile_is_given_up(
    tiny_llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = serve._free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        ports = iter([other.getsockname()[1], free])
        monkeypatch.setattr(serve, "_free_port", lambda: next(ports))
        with serve.transformers_serve(tiny_llava) as server:
            assert server.url == f"http://127.0.0.1:{free}/v1"
            with urllib.request.urlopen(f"http://127.0.0.1:{free}/health", timeout=5) as answer:
                assert answer.status == 200
