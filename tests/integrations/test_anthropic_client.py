"""Anthropic's own client against the proxy: what it reads of answers, blocks, errors, streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import httpx2
import pytest
from support.api_answers import ApiAnswers
from support.integrations import needs
from support.scripted import Scripted
from support.serving import started

needs("anthropic")

import anthropic
from anthropic.types import MessageParam

from vlmguard.guard.defense import REFUSAL_MESSAGE

REWRITE: Final = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
ASKED: Final[list[MessageParam]] = [{"role": "user", "content": "How do I climb it?"}]
UNSAFE: Final = {"guard": Scripted("unsafe\nS1")}


@asynccontextmanager
async def client_of(
    defense: str, roles: dict[str, Scripted], upstream: ApiAnswers, **settings: Any
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    way = httpx.ASGITransport(upstream.app)
    async with (
        started(defense, roles, way, **settings) as app,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as inside,
    ):
        yield anthropic.AsyncAnthropic(
            base_url="http://guard", api_key="theirs", http_client=inside, max_retries=0
        )


async def test_it_gets_messages_whole_and_streamed() -> None:
    upstream = ApiAnswers("Hold on tight.")
    async with client_of("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        whole = await client.messages.create(model="m", max_tokens=9, messages=ASKED)
        async with client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
            streamed = await stream.get_final_message()
    for answered in (whole, streamed):
        assert [block.text for block in answered.content if block.type == "text"] == [
            "Hold on tight."
        ]
    said = [asked["messages"][0]["content"] for asked in upstream.asked]
    assert said == ["How do I climb it safely?"] * 2
    assert {headers["authorization"] for headers in upstream.headers} == {"Bearer theirs"}
    assert all("anthropic-version" in headers for headers in upstream.headers)


async def test_it_gets_a_block_as_a_refusal() -> None:
    options = {"options": {"adapter": "llama_guard"}}
    async with client_of("guard_model", UNSAFE, ApiAnswers(), **options) as client:
        whole = await client.messages.create(model="m", max_tokens=9, messages=ASKED)
        async with client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
            streamed = await stream.get_final_message()
    for answered in (whole, streamed):
        assert answered.stop_reason == "refusal"
        assert [block.text for block in answered.content if block.type == "text"] == [
            REFUSAL_MESSAGE
        ]


async def test_it_raises_errors_of_the_guard() -> None:
    broken = {"rewriter": Scripted(RuntimeError("down"))}
    async with client_of("vlmguard", broken, ApiAnswers(), on_failure="refuse") as client:
        with pytest.raises(anthropic.InternalServerError) as caught:
            await client.messages.create(model="m", max_tokens=9, messages=ASKED)
    assert caught.value.status_code == 503
    assert caught.value.type == "api_error"
    assert caught.value.body["error"]["code"] == "guard_unavailable"


async def test_it_reads_a_stream_that_was_cut() -> None:
    upstream = ApiAnswers("Tie a bowline first. Then jump off the bridge.")
    guard = Scripted(lambda call: "unsafe\nS1" if "bridge" in str(call.messages) else "safe")
    options = {"options": {"adapter": "llama_guard", "check": "output"}}
    async with (
        client_of("guard_model", {"guard": guard}, upstream, **options) as client,
        client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream,
    ):
        answered = await stream.get_final_message()
    assert answered.stop_reason == "refusal"
    (block,) = answered.content
    assert block.text == f"Tie a bowline first. \n\n{REFUSAL_MESSAGE}"
