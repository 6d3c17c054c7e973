"""Linked pictures are fetched from public servers alone: real TLS servers on loopback."""

import socket
import ssl

import anyio
import pytest
from support.picture_server import PictureServer, Reply, picture_server

from vlmguard.guard.serving.fetching import ImageFetcher, NotFetched, resolve

URL = "https://pictures.test/a.png"


def moved(to: str, status: int = 302) -> Reply:
    return Reply(status, {"Location": to, "Set-Cookie": "session=1"})


async def reason(fetcher: ImageFetcher, url: str = URL) -> str:
    with pytest.raises(NotFetched) as caught:
        await fetcher.fetch(url)
    return str(caught.value)


async def test_the_request_says_nothing_but_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with picture_server({"/a.png": Reply(content=b"bytes")}) as server:
        url = "https://Pictures.TEST/a.png?x=1#top"
        assert await server.fetcher(hosts=frozenset({"pictures.test"})).fetch(url) == b"bytes"
    ((named, path, headers),) = server.asked
    assert (named, path, headers["Host"]) == ("pictures.test", "/a.png?x=1", "pictures.test")
    assert headers["Accept-Encoding"] == "identity"
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.test/a.png",
        "https://user@pictures.test/a.png",
        "https://user:pass@pictures.test/a.png",
        "https://other.test\\@pictures.test/a.png",
        "https://pictures.test:22/a.png",
        "https://pictures.test:99999/a.png",
        "https://127.0.0.1/a.png",
        "https://2130706433/a.png",
        "https://0x7f.1/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://localhost/a.png",
        "https:///a.png",
        "https://",
        "https://pictures..test/a.png",
        "https://pictures.test%2f.other/a.png",
        f"https://{'a.' * 127}test/a.png",
        "https://pictures.test/\0",
        "https://\ud800.test/",
        "https://xn--a.test\u3002/",
    ],
)
async def test_an_address_that_is_not_plain_is_not_even_resolved(url: str) -> None:
    async def resolver(host: str) -> list[tuple[str, int]]:
        raise AssertionError(host)

    fetcher = ImageFetcher(hosts=None, max_bytes=100, seconds=5, resolver=resolver)
    await reason(fetcher, url)


async def test_hosts_are_those_that_were_named() -> None:
    with picture_server({"/a.png": Reply(content=b"bytes")}) as server:
        fetcher = server.fetcher(hosts=frozenset({"other.test"}))
        with pytest.raises(NotFetched) as caught:
            await fetcher.fetch(URL)
        for near in ("sub.other.test", "other.test.evil.test", "another.test", "test"):
            await reason(fetcher, f"https://{near}/a.png")
    assert caught.value.code == "remote_image"
    assert server.asked == []


@pytest.mark.parametrize(
    "addresses", [[], ["169.254.169.254"], ["127.0.0.1"], ["10.0.0.1", "::1"], ["fe80::1%lo"]]
)
async def test_a_private_name_says_no_more_than_an_unknown_one(addresses: list[str]) -> None:
    async def resolver(host: str) -> list[tuple[str, int]]:
        if not addresses:
            raise socket.gaierror("unknown")
        return [(each, 443) for each in addresses]

    fetcher = ImageFetcher(hosts=None, max_bytes=100, seconds=5, resolver=resolver)
    assert await reason(fetcher) == "its host has no public address"


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A name that means something else a moment later (DNS rebinding) is not resolved again."""
    asked: list[str] = []
    with picture_server({"/a.png": Reply(content=b"bytes")}) as server:

        async def resolver(host: str) -> list[tuple[str, int]]:
            asked.append(host)
            private = ("127.0.0.2", server.port)
            return [private] if len(asked) > 1 else [private, ("127.0.0.1", server.port)]

        fetcher = server.fetcher(resolver=resolver)
        assert await fetcher.fetch(URL) == b"bytes"
        assert asked == ["pictures.test"]
        assert await reason(fetcher) == "its host has no public address"
    assert len(server.asked) == 1


async def test_an_address_that_is_down_is_passed_over() -> None:
    with socket.socket() as closed, picture_server({"/a.png": Reply(content=b"bytes")}) as server:
        closed.bind(("127.0.0.1", 0))
        down = closed.getsockname()[1]

        async def resolver(host: str) -> list[tuple[str, int]]:
            return [("127.0.0.1", down), ("127.0.0.1", server.port)]

        async def nobody(host: str) -> list[tuple[str, int]]:
            return [("127.0.0.1", down)]

        assert await server.fetcher(resolver=resolver).fetch(URL) == b"bytes"
        assert await reason(server.fetcher(resolver=nobody)) == "its host cannot be reached"


async def test_a_certificate_is_checked_for_the_name() -> None:
    with picture_server({"/a.png": Reply(content=b"bytes")}) as server:
        assert "reached" in await reason(server.fetcher(), "https://other.test/a.png")
        assert "reached" in await reason(server.fetcher(tls=ssl.create_default_context()))
    assert server.asked == []


REFUSED_REDIRECTS = {
    "to http": "http://pictures.test/b.png",
    "to a file": "file:///etc/hosts",
    "to another port": "https://pictures.test:8443/b.png",
    "to a number": "https://169.254.169.254/latest/meta-data",
    "with a user": "https://a:b@pictures.test/b.png",
    "to a host that is not named": "https://other.test/b.png",
    "to a private name": "https://inside.test/b.png",
    "to itself": "/a.png",
    "to nothing that can be read": "https://[",
}


@pytest.mark.parametrize("name", REFUSED_REDIRECTS)
async def test_each_redirect_is_checked(name: str) -> None:
    replies = {"/a.png": moved(REFUSED_REDIRECTS[name]), "/b.png": Reply(content=b"bytes")}
    with picture_server(replies) as server:

        async def resolver(host: str) -> list[tuple[str, int]]:
            return [("10.0.0.1" if host == "inside.test" else "127.0.0.1", server.port)]

        hosts = frozenset({"pictures.test", "inside.test"})
        await reason(server.fetcher(hosts=hosts, resolver=resolver))
    assert set(server.paths) == {"/a.png"}
    assert len(server.paths) <= 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_few_redirects_are_followed_without_cookies(status: int) -> None:
    replies = {
        "/a.png": moved("/b.png", status),
        "/b.png": moved("https://more.test/c.png", status),
        "/c.png": Reply(content=b"bytes"),
    }
    with picture_server(replies, "pictures.test", "more.test") as server:
        assert await server.fetcher().fetch(URL) == b"bytes"
    assert [named for named, _, _ in server.asked] == [
        "pictures.test",
        "pictures.test",
        "more.test",
    ]
    assert server.asked[2][2]["Host"] == "more.test"
    assert not any("Cookie" in headers for _, _, headers in server.asked)


async def test_bytes_are_counted_as_they_come() -> None:
    """An endless body ends at the limit, whatever it says of its length."""
    replies = {
        "/endless": Reply(content=b"x" * 65_536, repeat=10_000),
        "/liar": Reply(headers={"Content-Length": "10"}, content=b"x" * 65_536, repeat=10_000),
        "/just": Reply(content=b"x" * 1_000_000),
    }
    with picture_server(replies) as server:
        with pytest.raises(NotFetched) as caught:
            await server.fetcher().fetch("https://pictures.test/endless")
        assert caught.value.code == "image_too_large"
        assert len(await server.fetcher().fetch("https://pictures.test/just")) == 1_000_000
        liar = await server.fetcher().fetch("https://pictures.test/liar")
        assert len(liar) <= 10


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404), "status 404"),
        (Reply(206, content=b"x"), "status 206"),
        (Reply(304), "status 304"),
        (Reply(headers={"Content-Encoding": "gzip"}, content=b"x"), "compresses"),
        (Reply(headers={"Content-Length": "99"}, content=b"x"), "does not answer as one should"),
        (Reply(headers={"Transfer-Encoding": "chunked"}, content=b"zz\r\n"), "as one should"),
    ],
)
async def test_an_answer_that_is_no_picture(reply: Reply, said: str) -> None:
    with picture_server({"/a.png": reply}) as server:
        assert said in await reason(server.fetcher())


async def test_the_whole_takes_no_longer_than_its_time() -> None:
    """A server that takes a connection and says nothing, and a resolver that hangs."""

    async def hang(host: str) -> list[tuple[str, int]]:
        await anyio.sleep_forever()
        raise AssertionError

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = PictureServer(silent.getsockname()[1], ssl.create_default_context())
        await reason(server.fetcher(seconds=0.05))
        assert "0.05 seconds" in await reason(server.fetcher(seconds=0.05, resolver=hang))


async def test_this_machines_resolver_gives_numbers() -> None:
    assert ("127.0.0.1", 443) in await resolve("127.0.0.1")
