"""No endpoint, and no way of writing an image, opens a file or an address of the server's own."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.picture_server import Reply, picture_server
from support.scripted import Scripted, picture
from support.serving import Answers, served

from vlmguard.guard.images.prepare import from_data_uri
from vlmguard.guard.serving.addresses import is_public

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
WORDS = "How do I climb it?"


def chat(image: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": WORDS}, {"type": "image_url", "image_url": image}]
    return {"model": "m", "messages": [{"role": "user", "content": parts}]}


def responses(part: Any) -> dict[str, Any]:
    parts = [{"type": "input_text", "text": WORDS}, part]
    return {"model": "m", "input": [{"role": "user", "content": parts}]}


def messages(source: Any, earlier: bool = False) -> dict[str, Any]:
    turn = {"role": "user", "content": [{"type": "image", "source": source}]}
    turn["content"].append({"type": "text", "text": WORDS})
    turns = [turn, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": WORDS}]
    return {"model": "m", "max_tokens": 9, "messages": turns if earlier else [turn]}


def result(url: str) -> dict[str, Any]:
    """An image in a tool's result, behind which the user speaks again."""
    block = {"type": "image", "source": {"type": "url", "url": url}}
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "a", "content": [block]}
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [answer, {"type": "text", "text": WORDS}]},
    ]
    return {"model": "m", "max_tokens": 9, "messages": turns}


def gateway(**fields: Any) -> dict[str, Any]:
    return {"input_type": "request", "texts": [WORDS], "litellm_version": "1.110.2", **fields}


CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GATEWAY, REWRITING = "/beta/litellm_basic_guardrail_api", "/v1/rewrite"
WAYS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "chat": (CHAT, lambda url: chat({"url": url})),
    "chat, plain": (CHAT, chat),
    "responses": (RESPONSES, lambda url: responses({"type": "input_image", "image_url": url})),
    "responses, screenshot": (
        RESPONSES,
        lambda url: responses({"type": "computer_screenshot", "image_url": url}),
    ),
    "messages": (MESSAGES, lambda url: messages({"type": "url", "url": url})),
    "messages, earlier": (MESSAGES, lambda url: messages({"type": "url", "url": url}, True)),
    "messages, tool result": (MESSAGES, result),
    "rewrite": (REWRITING, lambda url: {"text": WORDS, "images": [url]}),
    "rewrite, messages": (REWRITING, lambda url: {"messages": chat({"url": url})["messages"]}),
    "gateway": (
        GATEWAY,
        lambda url: gateway(structured_messages=chat({"url": url})["messages"], images=[url]),
    ),
    "gateway, texts": (GATEWAY, lambda url: gateway(images=[url])),
}


async def refused(way: str, url: str, **settings: Any) -> str:
    """The answer, after which nobody was asked."""
    path, body = WAYS[way]
    upstream, rewriter = Answers(), Scripted(REWRITE)
    async with served("vlmguard", {"rewriter": rewriter}, upstream, **settings) as client:
        answered = await client.post(path, content=json.dumps(body(url)))
    if path == GATEWAY:
        assert (answered.status_code, answered.json()["action"]) == (200, "BLOCKED")
    else:
        assert answered.status_code == 400
    assert (rewriter.calls, upstream.bodies) == ([], [])
    assert url not in answered.text
    return answered.text


@pytest.mark.parametrize("way", WAYS)
async def test_a_file_of_the_server_is_opened_for_nobody(way: str, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    from_data_uri(picture()).save(file)
    for url in (str(file), file.as_uri(), f"file:{file}"):
        assert "data URI" in await refused(way, url)


@pytest.mark.parametrize("way", WAYS)
async def test_an_address_of_the_servers_network_is_asked_for_nobody(way: str) -> None:
    with picture_server({"/a": Reply(content=b"secret")}) as server:
        fetcher = server.fetcher(allowed=is_public)
        for url in ("http://169.254.169.254/latest/meta-data", "//pictures.test/a", "HTTPS://x.y/"):
            await refused(way, url, fetcher=fetcher)
        said = await refused(way, "https://pictures.test/a", fetcher=fetcher)
        assert "its host has no public address" in said
        for url in (f"https://127.0.0.1:{server.port}/a", "https://[::1]/a", "https://a@b.test/"):
            await refused(way, url, fetcher=fetcher)
    assert server.asked == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_link_is_refused_unless_the_server_fetches_it(way: str) -> None:
    url = "https://pictures.test/a.png"
    assert "not fetched by this server" in await refused(way, url)
    path, body = WAYS[way]
    content = from_data_uri(picture())
    upstream, rewriter = Answers(), Scripted(REWRITE)
    with picture_server({"/a.png": Reply(content=_png(content))}) as server:
        fetching = {"fetcher": server.fetcher()}
        async with served("vlmguard", {"rewriter": rewriter}, upstream, **fetching) as client:
            await client.post(path, content=json.dumps(body(url)))
    assert server.paths == ["/a.png"]
    for call in rewriter.calls:
        assert all(image.startswith("data:image/") for image in call.images)
    # Another writing of the same link would be another address to the model.
    for each in upstream.bodies:
        assert url.encode() in each


SOURCES = [
    {"type": "base64", "media_type": "image/png", "data": "/etc/passwd"},
    {"type": "base64", "media_type": "image/png;base64,AAAA", "data": "x"},
    {"type": "base64", "media_type": "../../etc", "data": "x"},
    {"type": "base64", "media_type": "text/html", "data": "x"},
    {"type": "url", "url": "data:text/html;base64,eA=="},
    {"type": "file", "path": "/etc/passwd", "url": "/etc/passwd", "data": "/etc/passwd"},
]


@pytest.mark.parametrize("source", SOURCES)
async def test_sources_of_another_kind(source: dict[str, Any]) -> None:
    """They are refused, or shown to no guard as an image."""
    upstream, rewriter = Answers(), Scripted(REWRITE)
    async with served("vlmguard", {"rewriter": rewriter}, upstream) as client:
        answered = await client.post(MESSAGES, content=json.dumps(messages(source)))
    assert answered.status_code in (200, 400, 404)
    assert all(call.images == [] for call in rewriter.calls)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("system", [False, True])
async def test_an_error_names_the_image(system: bool) -> None:
    """By its place too, unless other text of the body is among the messages."""
    given = messages({"type": "url", "url": "x"}) | ({"system": "Be kind."} if system else {})
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, Answers()) as client:
        answered = await client.post(MESSAGES, content=json.dumps(given))
    place = "" if system else ", at messages.0.content.0"
    assert f"Image 1{place}: neither" in answered.text
