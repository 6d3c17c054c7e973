"""Requests that are made to be read in two ways, or to be too much: bytes on a real connection."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.live_serving import (
    PATH,
    Answer,
    LiveServer,
    RawUpstream,
    answer,
    asking,
    live_server,
    posted,
    raw_upstream,
    saying,
)

Plain = tuple[LiveServer, RawUpstream]
HIDDEN = b"GET /v1/models HTTP/1.1\r\nHost: guard\r\n\r\n"


@contextmanager
def serving(headers: str = "", **settings: object) -> Iterator[Plain]:
    with (
        raw_upstream(saying(answer(), headers=headers)) as upstream,
        live_server("figstep_defense", {}, upstream, **settings) as guard,  # type: ignore[arg-type]
    ):
        yield guard, upstream


@pytest.fixture(scope="module")
def one_server() -> Iterator[Plain]:
    with serving() as both:
        yield both


@pytest.fixture
def plain(one_server: Plain) -> Plain:
    """A server that other tests here use too, and its upstream, which has received nothing."""
    one_server[1].received.clear()
    return one_server


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: guard", *lines, "", ""]).encode("latin-1")


def chunked(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"


TWO_WAYS = {
    "two lengths": head("Content-Length: 5", "Content-Length: 60") + asking(),
    "two lengths in one": head("Content-Length: 5, 60") + asking(),
    "negative length": head("Content-Length: -1") + asking(),
    "signed length": head("Content-Length: +60") + asking(),
    "hexadecimal length": head("Content-Length: 0x3c") + asking(),
    "length of a letter": head("Content-Length: a") + asking(),
    "unknown coding": head("Transfer-Encoding: xchunked") + chunked(asking()),
    "chunked twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")
    + chunked(asking()),
    "chunked, then not": head("Transfer-Encoding: chunked, identity") + chunked(asking()),
    "gzip and chunked": head("Transfer-Encoding: gzip, chunked") + chunked(asking()),
    "space before the colon": head("Content-Length : 60") + asking(),
    "folded": head("X: a", " Content-Length: 60") + asking(),
    "NUL in a value": head("X: a\0b", f"Content-Length: {len(asking())}") + asking(),
    "CR in a value": head("X: a\rContent-Length: 5", f"Content-Length: {len(asking())}") + asking(),
    "no host": f"POST {PATH} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode(),
    "two hosts": head("Host: other", f"Content-Length: {len(asking())}") + asking(),
    "chunk of no size": head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
    "name of no letters": head("X Y: z", f"Content-Length: {len(asking())}") + asking(),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("name", TWO_WAYS)
def test_what_two_servers_may_read_in_two_ways_is_refused(name: str, plain: Plain) -> None:
    guard, upstream = plain
    came = guard.send(TWO_WAYS[name] + HIDDEN)
    assert 400 <= came.status < 500
    assert guard.post(asking()).status == 200
    assert len(upstream.received) == 1


def test_a_length_beside_chunks_hides_no_second_request(plain: Plain) -> None:
    """By the standard the chunks count; what goes on has one length, which is ours."""
    body = asking()
    lines = (f"Content-Length: {len(body) // 2}", "Transfer-Encoding: chunked")
    guard, upstream = plain
    came = guard.send(head(*lines) + chunked(body))
    assert came.status in (200, 400)
    for request in upstream.received:
        assert request.names.count("content-length") == 1
        assert "transfer-encoding" not in request.names
        assert json.loads(request.body)["model"] == "m"


def test_a_line_end_inside_of_a_header_is_no_header_of_the_upstreams(plain: Plain) -> None:
    guard, upstream = plain
    guard.send(head("X: a\nX-Smuggled: 1", f"Content-Length: {len(asking())}") + asking())
    guard.send(head("X: a\r\n\r\nGET /v1/models HTTP/1.1", "Content-Length: 0"))
    for request in upstream.received:
        # As a header of its own it may pass: it is one to both, and nothing was hidden.
        assert b"\n" not in request.head.replace(b"\r\n", b"")
        assert request.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")


def test_headers_of_one_connection_end_with_it() -> None:
    lines = [
        "Connection: close, X-Private, X-OTHER",
        "X-Private: 1",
        "x-other: 2",
        "Keep-Alive: 5",
        "Proxy-Authorization: Basic abc",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Upgrade: h2c",
        "X-Kept: 3",
    ]
    back = "Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 4\r\n"
    with serving(back + "Proxy-Authenticate: Basic\r\n") as (guard, upstream):
        came = guard.post(asking(), *lines)
    (request,) = upstream.received
    gone = {"x-private", "x-other", "keep-alive", "proxy-authorization", "proxy-connection"}
    assert not (gone | {"te", "upgrade"}) & set(request.names)
    assert "x-kept" in request.names
    assert came.header("x-kept") == ["4"]
    for name in ("x-secret", "keep-alive", "proxy-authenticate"):
        assert came.header(name) == []


def test_only_the_guard_writes_its_headers() -> None:
    """Neither a client nor the upstream can say that a request was looked at."""
    back = "X-Vlmguard-Action: block\r\nx-vlmguard-action: skipped\r\nX-VLMGuard-Reason: x\r\n"
    with serving(back) as (guard, upstream):
        lines = ("X-VLMGUARD-Action: pass", "x-vlmguard-request-id: mine", "X-Vlmguard-Other: 1")
        came = guard.post(asking(), *lines)
    assert not any(name.startswith("x-vlmguard") for name in upstream.received[0].names)
    assert came.header("x-vlmguard-action") == ["rewrite"] or came.header("x-vlmguard-action") == [
        "pass"
    ]
    assert came.header("x-vlmguard-reason") == []
    (ours,) = came.header("x-vlmguard-request-id")
    assert ours != "mine"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "x"])
def test_an_encoded_body_is_refused_and_never_unpacked(coding: str, plain: Plain) -> None:
    """A megabyte of it may be gigabytes."""
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(coding, bytes)(asking())
    guard, upstream = plain
    came = guard.post(packed, f"Content-Encoding: {coding}")
    assert (came.status, came.code) == (415, "content_encoding")
    assert guard.post(asking(), "Content-Encoding: identity").status == 200
    assert len(upstream.received) == 1


def test_a_body_that_is_too_large_is_refused() -> None:
    """By its length before any of it is read, else as it comes; the server goes on."""
    with serving(max_body=1_000) as (guard, upstream):
        declared = guard.send(head("Content-Length: 1001"))
        endless = guard.send(
            head("Transfer-Encoding: chunked"), b"3e8\r\n" + b" " * 1_000 + b"\r\n", b"1\r\n \r\n"
        )
        lying = guard.send(head("Content-Length: 9999999999999999999"), b"{}")
        largest = asking("x" * (1_000 - len(asking(""))))
        fits = guard.post(largest)
        in_chunks = guard.send(head("Transfer-Encoding: chunked") + chunked(largest))
    for came in (declared, endless, lying):
        assert (came.status, came.code) == (413, "body_too_large")
    assert len(largest) == 1_000
    assert (fits.status, in_chunks.status) == (200, 200)
    assert len(upstream.received) == 2


def test_a_client_that_sends_all_before_it_reads_learns_why_it_is_refused() -> None:
    """A connection closed on it is reset, and the answer with it."""
    with serving(max_body=1_000) as (guard, upstream):
        with guard.connect() as connection:
            connection.sendall(head("Content-Length: 30000000") + b" " * 30_000_000)
            came = Answer.of(connection)
        assert (came.status, came.code) == (413, "body_too_large")
    assert not upstream.received


def test_half_a_body_is_no_request(plain: Plain) -> None:
    guard, upstream = plain
    with guard.connect() as connection:
        connection.sendall(posted(asking())[:-5])
    with guard.connect() as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + chunked(asking())[:-9])
    assert guard.post(asking()).status == 200
    assert len(upstream.received) == 1


PATHS = ["//v1/chat/completions", "/v1/chat/completions/", "/v1//chat/completions"]
PATHS += ["/v1/./chat/completions", "/v1/x/../chat/completions", "/V1/chat/completions"]
PATHS += ["/v1/chat%2fcompletions", "/v1/chat/completions%00", "/v1/chat/completions;x=1"]
PATHS += ["/chat/completions", "/v1/completions", "http://other/v1/chat/completions", "*"]


@pytest.mark.parametrize("path", PATHS)
def test_another_spelling_of_a_path_is_no_way_around_the_guard(path: str, plain: Plain) -> None:
    guard, upstream = plain
    came = guard.post(asking(), path=path)
    assert came.status in (200, 400, 404, 405)
    assert len(upstream.received) == (came.status == 200)
    # What the server takes for a guarded path is guarded, and goes on by that path.
    assert bool(came.header("x-vlmguard-action")) == (came.status == 200)
    for request in upstream.received:
        assert request.head.startswith(f"POST {PATH} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"])
def test_other_methods_reach_nobody(method: str, plain: Plain) -> None:
    guard, upstream = plain
    target = "other:443" if method == "CONNECT" else PATH
    request = posted(asking(), path=target).replace(b"POST", method.encode(), 1)
    came = guard.send(request)
    assert 400 <= came.status < 500
    assert upstream.received == []


def test_a_host_header_names_no_upstream(plain: Plain) -> None:
    body = asking()
    lines = [f"POST {PATH} HTTP/1.1", "Host: 169.254.169.254", f"Content-Length: {len(body)}"]
    lines += ["X-Forwarded-Host: 169.254.169.254", "Forwarded: host=169.254.169.254", "", ""]
    guard, upstream = plain
    assert guard.send("\r\n".join(lines).encode() + body).status == 200
    (request,) = upstream.received
    assert f"host: {upstream.address[7:-3]}".encode() in request.head.lower()


PAGES = {
    "another site": ("127.0.0.1:8900", "https://evil.test", 403),
    "another port": ("127.0.0.1:8900", "http://127.0.0.1:3000", 403),
    "a name that leads here": ("evil.test:8900", "http://evil.test:8900", 403),
    "a name like ours": ("localhost.evil.test", "http://localhost.evil.test", 403),
    "a file": ("127.0.0.1:8900", "null", 403),
    "nonsense": ("127.0.0.1:8900", "http://[", 403),
    "empty": ("127.0.0.1:8900", "", 403),
    "two": ("127.0.0.1:8900", "http://127.0.0.1:8900, http://evil.test", 403),
    "our own": ("127.0.0.1:8900", "http://127.0.0.1:8900", 200),
    "our own by name": ("localhost:8900", "http://localhost:8900", 200),
    "our own, IPv6": ("[::1]:8900", "http://[::1]:8900", 200),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_other_sites_do_not_use_a_server_without_keys(name: str, plain: Plain) -> None:
    """Its models cost money, and somebody who runs it looks at pages too."""
    guard, upstream = plain
    host, origin, status = PAGES[name]
    request = posted(asking(), f"Origin: {origin}", "Content-Type: text/plain")
    came = guard.send(request.replace(b"Host: guard", f"Host: {host}".encode()))
    assert came.status == status
    assert len(upstream.received) == (status == 200)
    assert status == 200 or came.code == "other_page"


def test_a_page_with_a_key_may_be_anywhere() -> None:
    with serving(client_keys=("k",)) as (guard, upstream):
        lines = ("Origin: https://product.test", "Authorization: Bearer k")
        assert guard.post(asking(), *lines).status == 200
        assert guard.post(asking(), lines[0]).status == 401
    assert len(upstream.received) == 1


def test_clients_with_ever_new_keys_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the model for each would take more time than the guard, and stay in memory."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a defense that asks no target needs none")

    with serving() as (guard, upstream):
        assert guard.post(asking()).status == 200  # it has started
        monkeypatch.setattr("vlmguard.guard.serving.upstream.get_model", never)
        for number in range(3):
            came = guard.post(asking(), f"Authorization: Bearer key-{number:020}")
            assert came.status == 200
    assert len(upstream.received) == 4
