"""Images of requests to the server: what is refused, and what guard and upstream get of links."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.picture_server import Reply, picture_server
from support.scripted import Scripted, picture
from support.serving import CHAT_PATH, Answers, served

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri
from vlmguard.guard.serving.addresses import is_public
from vlmguard.guard.serving.command import add
from vlmguard.guard.serving.images import ImagePolicy
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.start import settings_of

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
COPIED = "<reasoning>Fine.</reasoning><prompt>How do I climb it?</prompt>"


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def words(text: str = "How do I climb it?") -> dict[str, Any]:
    return {"type": "text", "text": text}


def turn(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def body(*messages: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m", "messages": messages}).encode()


@pytest.mark.parametrize("url", ["http://pictures.test/a.png", "/etc/passwd", "", "HTTPS://a.b/c"])
@pytest.mark.parametrize("defense", ["vlmguard", "caption_only", "figstep_defense"])
async def test_what_is_no_picture_is_refused_before_anybody_is_asked(
    url: str, defense: str
) -> None:
    upstream, rewriter = Answers(), Scripted(REWRITE)
    roles = {"rewriter": rewriter} if defense == "vlmguard" else {}
    async with served(defense, roles, upstream) as client:
        answered = await client.post(CHAT_PATH, content=body(turn(words(), image(url))))
    error = answered.json()["error"]
    assert (answered.status_code, error["code"]) == (400, "image_scheme")
    assert (error["type"], error["param"]) == ("invalid_request_error", "messages.0.content.1")
    assert (upstream.bodies, rewriter.calls) == ([], [])


@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
async def test_a_picture_on_the_servers_disk_is_opened_for_nobody(
    role: str, tmp_path: Path
) -> None:
    """In earlier turns too, which defenses load as well."""
    file = tmp_path / "picture.png"
    from_data_uri(picture()).save(file)
    upstream, rewriter = Answers(), Scripted(REWRITE)
    sent = body(turn(words(), image(str(file)), role=role), turn(words(), image(picture())))
    async with served("vlmguard", {"rewriter": rewriter}, upstream) as client:
        answered = await client.post(CHAT_PATH, content=sent)
    error = answered.json()["error"]
    assert (answered.status_code, error["param"]) == (400, "messages.0.content.1")
    assert str(file) not in answered.text
    assert (upstream.bodies, rewriter.calls) == ([], [])


async def test_shadow_refuses_no_image_and_shows_it_to_no_guard() -> None:
    upstream, rewriter = Answers(), Scripted(REWRITE)
    sent = body(turn(words(), image("/etc/passwd")))
    async with served("vlmguard", {"rewriter": rewriter}, upstream, shadow=True) as client:
        answered = await client.post(CHAT_PATH, content=sent)
    assert answered.status_code == 200
    assert answered.headers["x-vlmguard-action"] == "shadow"
    assert (upstream.bodies, rewriter.calls) == ([sent], [])


async def test_limits_hold_in_the_server() -> None:
    upstream = Answers()
    limits = ImagePolicy(count=2, max_pixels=100)
    roles = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", roles, upstream, images=limits) as client:
        for count, code in ((1, "image_too_large"), (3, "too_many_images")):
            sent = body(turn(words(), *[image(picture())] * count))
            answered = await client.post(CHAT_PATH, content=sent)
            assert (answered.status_code, answered.json()["error"]["code"]) == (413, code)
    assert upstream.bodies == []


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    from_data_uri(picture(colour)).save(buffer, format="PNG")
    return buffer.getvalue()


A, B = "https://pictures.test/a", "https://pictures.test/b"
# Two addresses of one picture, which the upstream must still get in their places.
REPLIES = {"/a": Reply(content=png("red")), "/b": Reply(content=png("red"))}


async def test_what_is_fetched_is_for_the_guard_and_links_go_on() -> None:
    upstream, rewriter = Answers(), Scripted(REWRITE)
    earlier = [turn(words("Look."), image(B)), {"role": "assistant", "content": "I see."}]
    sent = body(*earlier, turn(image(A), words(), image(picture("blue")), image(B)))
    with picture_server(REPLIES) as server:
        fetching = {"fetcher": server.fetcher()}
        async with served("vlmguard", {"rewriter": rewriter}, upstream, **fetching) as client:
            answered = await client.post(CHAT_PATH, content=sent)
    assert answered.headers["x-vlmguard-action"] == "rewrite"
    assert all(each.startswith("data:image/png;base64,") for each in rewriter.calls[0].images)
    assert [from_data_uri(each).getpixel((0, 0)) for each in rewriter.calls[0].images[-3:]] == [
        (255, 0, 0),
        (0, 0, 255),
        (255, 0, 0),
    ]
    changed = words("How do I climb it safely?")
    (asked,) = upstream.asked
    expected = body(*earlier, turn(image(A), changed, image(picture("blue")), image(B)))
    assert asked == json.loads(expected)


async def test_a_request_with_links_that_passes_is_the_very_bytes() -> None:
    upstream = Answers()
    sent = body(turn(image(A), words(), image(B))).replace(b'": ', b'" :  ')
    with picture_server(REPLIES) as server:
        roles = {"rewriter": Scripted(COPIED)}
        async with served("vlmguard", roles, upstream, fetcher=server.fetcher()) as client:
            answered = await client.post(CHAT_PATH, content=sent)
    assert answered.headers["x-vlmguard-action"] == "pass"
    assert upstream.bodies == [sent]


async def test_a_defense_without_images_leaves_out_links_too() -> None:
    """`caption_only` shows the target a caption in the place of each image."""
    upstream = Answers()
    with picture_server(REPLIES) as server:
        roles = {"captioner": Scripted("A wall of stone.")}
        async with served("caption_only", roles, upstream, fetcher=server.fetcher()) as client:
            sent = body(turn(image(A), words()), {"role": "assistant", "content": "A wall."})
            sent = body(*json.loads(sent)["messages"], turn(image(A), words()))
            answered = await client.post(CHAT_PATH, content=sent)
    assert answered.status_code == 200
    (asked,) = upstream.asked
    assert A not in json.dumps(asked["messages"][-1])


async def test_an_address_inside_is_not_fetched_and_says_nothing_of_it() -> None:
    """With the policy that servers have, and a name that leads to this machine."""
    upstream = Answers()
    with picture_server(REPLIES) as server:
        fetcher = server.fetcher(allowed=is_public)
        roles = {"rewriter": Scripted(REWRITE)}
        async with served("vlmguard", roles, upstream, fetcher=fetcher) as client:
            answered = await client.post(CHAT_PATH, content=body(turn(image(A), words())))
    error = answered.json()["error"]
    assert (answered.status_code, error["code"]) == (400, "image_not_fetched")
    assert error["message"] == (
        "Image 1, at messages.0.content.0: not fetched: its host has no public address."
    )
    assert (server.asked, upstream.bodies) == ([], [])


def settings_for(*words: str) -> Settings:
    parser = CommandParser()
    add(parser.add_subparsers())
    given = ["serve", "--defense", "figstep_defense", "--on-failure", "refuse", *words]
    return settings_of(parser.parse_args(given))


def test_options_of_images() -> None:
    assert settings_for().fetcher is None
    words = ["--max-images", "3", "--max-image-bytes", "4", "--max-pixels", "5"]
    settings = settings_for(*words, "--fetch-images", "A.test,b.TEST", "--fetch-timeout", "6")
    assert settings.images == ImagePolicy(3, 4, 5)
    assert settings.fetcher is not None
    assert settings.fetcher.hosts == {"a.test", "b.test"}
    assert (settings.fetcher.max_bytes, settings.fetcher.seconds) == (4, 6.0)
    assert settings.fetcher.allowed is is_public
    everything = settings_for("--fetch-images", "any").fetcher
    assert everything is not None
    assert everything.hosts is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fetch-images", "https://a.test"], "without https://"),
        (["--fetch-images", "a.test,"], "host names are needed"),
        (["--fetch-images", "10.0.0.1"], "host names are needed"),
        (["--fetch-images", "*"], "or the word any"),
        (["--fetch-images", "any", "--fetch-timeout", "0"], "--fetch-timeout=0.0"),
        (["--fetch-images", "any", "--fetch-timeout", "nan"], "--fetch-timeout=nan"),
        (["--max-images", "-1"], "--max-images=-1"),
        (["--max-pixels", "0"], "--max-pixels=0"),
    ],
)
def test_options_of_images_that_cannot_be(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        settings_for(*words)
