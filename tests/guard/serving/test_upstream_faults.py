"""What clients get if the model behind the guard, or the guard, fails: real servers on loopback."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.live_serving import (
    PATIENCE,
    LiveServer,
    RawUpstream,
    Received,
    Talk,
    answer,
    asking,
    live_server,
    posted,
    raw_upstream,
    reset,
    saying,
)
from support.scripted import Scripted

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
UNDEFENDED: dict[str, Any] = {"defense": "figstep_defense", "roles": {}}


@contextmanager
def in_front(talk: Talk) -> Iterator[LiveServer]:
    with raw_upstream(talk) as upstream, live_server(upstream=upstream, **UNDEFENDED) as guard:
        yield guard


def guarded(script: Any = REWRITE) -> dict[str, Any]:
    return {"defense": "vlmguard", "roles": {"rewriter": Scripted(script)}}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("429 Too Many Requests", "Retry-After: 7\r\n"),
        ("500 Internal Server Error", ""),
        ("503 Slow Down", ""),
        ("401 Unauthorized", "WWW-Authenticate: Bearer\r\n"),
    ],
)
@pytest.mark.parametrize("defense", [UNDEFENDED, guarded()])
def test_errors_of_the_upstream_are_the_clients(
    status: str, headers: str, defense: dict[str, Any]
) -> None:
    said = b'{"error": {"message": "scripted", "vendor": 1.00}}'
    talk = saying(said, status, headers)
    with raw_upstream(talk) as upstream, live_server(upstream=upstream, **defense) as guard:
        came = guard.post(asking())
    assert (came.status, came.body) == (int(status[:3]), said)
    for line in headers.splitlines():
        name, _, value = line.partition(": ")
        assert came.header(name.lower()) == [value]
    assert len(upstream.received) == 1


def test_an_upstream_that_resets_is_a_bad_gateway() -> None:
    with in_front(lambda connection, _: reset(connection)) as guard:
        came = guard.post(asking())
    assert (came.status, came.code) == (502, "upstream_unreachable")


def test_an_upstream_that_is_down_is_a_bad_gateway() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        upstream = RawUpstream(f"http://127.0.0.1:{closed.getsockname()[1]}/v1")
        with live_server(upstream=upstream, **UNDEFENDED) as guard:
            came = guard.post(asking())
    assert (came.status, came.code) == (502, "upstream_unreachable")


def test_an_upstream_that_hangs_is_a_gateway_timeout() -> None:
    with raw_upstream(lambda connection, _: upstream.wait_until_left(connection)) as upstream:
        with live_server(upstream=upstream, timeout=0.1, **UNDEFENDED) as guard:
            came = guard.post(asking())
        assert upstream.left.wait(PATIENCE)
    assert (came.status, came.code) == (504, "upstream_timeout")


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"",
    ],
)
def test_an_upstream_that_speaks_no_http_is_a_bad_gateway(said: bytes) -> None:
    with in_front(lambda connection, _: connection.sendall(said)) as guard:
        came = guard.post(asking())
    assert (came.status, came.code) == (502, "upstream_unreachable")


CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "An"}}]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


@pytest.mark.parametrize("ending", ["reset", "silence", "nonsense"])
def test_a_stream_that_breaks_does_not_end_well(ending: str) -> None:
    """A client must not take what came so far for the whole answer."""

    def talk(connection: socket.socket, request: Received) -> None:
        connection.sendall(STREAM + chunked(CHUNK))
        if ending == "reset":
            reset(connection)
        elif ending == "silence":
            upstream.wait_until_left(connection)
        else:
            connection.sendall(b"zz\r\n")

    with (
        raw_upstream(talk) as upstream,
        live_server(upstream=upstream, timeout=0.2, **UNDEFENDED) as guard,
    ):
        with guard.connect() as connection:
            connection.sendall(posted(asking(stream=True)))
            came = b""
            while more := connection.recv(65_536):
                came += more
        again = guard.post(b"{}")
    assert CHUNK in came
    assert b"[DONE]" not in came
    assert not came.endswith(b"0\r\n\r\n") or b'"error"' in came
    assert again.status == 400


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("ending", ["reset", "silence", "nonsense", "half an event"])
def test_a_checked_stream_that_breaks_does_not_end_well(ending: str, sent: bool) -> None:
    """Nor where the guard holds words back, or has let some go."""

    def talk(connection: socket.socket, request: Received) -> None:
        event = CHUNK.replace(b"An", b"This is a whole sentence. " if sent else b"An")
        connection.sendall(STREAM + chunked(event))
        if ending == "reset":
            reset(connection)
        elif ending == "silence":
            upstream.wait_until_left(connection)
        else:
            connection.sendall(b"zz\r\n" if ending == "nonsense" else chunked(CHUNK[:20]))

    checking = {"options": {"adapter": "llama_guard", "check": "output"}}
    with raw_upstream(talk) as upstream:
        roles = {"guard": Scripted("safe")}
        with live_server("guard_model", roles, upstream, timeout=0.2, **checking) as guard:
            with guard.connect() as connection:
                connection.sendall(posted(asking(stream=True)))
                came = b""
                while more := connection.recv(65_536):
                    came += more
                    if b"}}" in came and b"HTTP/1.1 50" in came:
                        break
            assert guard.post(b"{}").status == 400
    assert b"[DONE]" not in came
    if sent:
        assert b"This is a whole sentence." in came
        assert not came.endswith(b"0\r\n\r\n") or b'"error"' in came
    else:
        assert came.startswith(b"HTTP/1.1 502")
        assert b'"error"' in came


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_upstreams_work(stream: bool) -> None:
    """While the answer is streamed, and while nothing of it has come."""

    def talk(connection: socket.socket, request: Received) -> None:
        if stream:
            connection.sendall(STREAM + chunked(CHUNK))
        upstream.wait_until_left(connection)

    with raw_upstream(talk) as upstream, live_server(upstream=upstream, **UNDEFENDED) as guard:
        with guard.connect() as connection:
            connection.sendall(posted(asking(stream=stream)))
            if stream:
                came = b""
                while CHUNK not in came:
                    came += connection.recv(65_536)
            else:
                assert upstream.began.wait(PATIENCE)
        assert upstream.left.wait(PATIENCE)


def test_a_client_that_leaves_ends_the_guards_work() -> None:
    """The target is not paid for, nor is a rewriter that still thinks."""
    with raw_upstream(saying(answer())) as upstream, hanging() as rewriter:
        roles = {"rewriter": rewriter.model}
        with live_server("vlmguard", roles, upstream, guard_timeout=60) as guard:
            with guard.connect() as connection:
                connection.sendall(posted(asking()))
                assert rewriter.began.wait(PATIENCE)
            assert rewriter.left.wait(PATIENCE)
    assert upstream.received == []


FAILURES = {
    "down": ConnectionError("no route to c2VjcmV0"),
    "no sense": "That is a nice picture.",
    "nothing": "",
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_rewriter_that_fails(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with raw_upstream(saying(answer())) as upstream:
        with live_server(upstream=upstream, **guarded(FAILURES[name])) as guard:
            refused = guard.post(asking("secret words"))
        assert (refused.status, refused.code) == (503, "guard_unavailable")
        assert upstream.received == []
        settings = guarded(FAILURES[name]) | {"on_failure": "original"}
        with live_server(upstream=upstream, **settings) as guard:
            passed = guard.post(asking("secret words"))
    assert (passed.status, passed.header("x-vlmguard-action")) == (200, ["error-open"])
    assert [each.body for each in upstream.received] == [asking("secret words")]
    told = "".join(capfd.readouterr())
    assert "secret words" not in told
    assert "c2VjcmV0" not in told


def test_a_rewriter_that_hangs() -> None:
    with raw_upstream(saying(answer())) as upstream, hanging() as rewriter:
        roles = {"rewriter": rewriter.model}
        with live_server("vlmguard", roles, upstream, guard_timeout=0.1) as guard:
            refused = guard.post(asking())
        passing = {"guard_timeout": 0.1, "on_failure": "original"}
        with live_server("vlmguard", roles, upstream, **passing) as guard:
            passed = guard.post(asking())
    assert (refused.status, refused.code) == (503, "guard_unavailable")
    assert (passed.status, passed.header("x-vlmguard-action")) == (200, ["error-open"])
    assert len(upstream.received) == 1


@contextmanager
def hanging() -> Iterator[RawUpstream]:
    """A model that takes questions, and says nothing."""
    with raw_upstream(lambda connection, _: model.wait_until_left(connection)) as model:
        yield model


def test_cookies_of_one_client_go_to_no_other() -> None:
    talk = saying(b"{}", "200 OK", "Set-Cookie: session=of-the-first\r\n")
    with raw_upstream(talk) as upstream, live_server(upstream=upstream, **UNDEFENDED) as guard:
        first, _ = guard.post(asking()), guard.post(asking())
    assert first.header("set-cookie") == ["session=of-the-first"]
    assert ["cookie" in received.names for received in upstream.received] == [False, False]
