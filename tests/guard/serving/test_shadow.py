"""Shadow mode: the guard decides and is counted, and touches nothing of a request."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.asgi import exchange
from support.scripted import Scripted
from support.serving import ADDRESS, CHAT_PATH, Answers, served, would_be

from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.logs import LOGGER
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
SENT = b'{ "model":"m", "n":1.0, "messages":[{"role":"user","content":"How do I climb it?"}]}'


@pytest.fixture
def would(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log says that would have happened."""
    caplog.set_level(logging.INFO, LOGGER.name)
    return lambda: would_be(caplog)


@pytest.mark.parametrize(
    ("defense", "role", "script", "options", "said"),
    [
        ("vlmguard", "rewriter", REWRITE, {}, "rewrite"),
        ("vlmguard", "rewriter", RuntimeError("down"), {}, "unavailable"),
        ("guard_model", "guard", "unsafe\nS1", {"adapter": "llama_guard"}, "block"),
        ("guard_model", "guard", "no verdict", {"adapter": "llama_guard"}, "unavailable"),
    ],
)
async def test_nothing_changes_whatever_the_guard_says(
    defense: str,
    role: str,
    script: Any,
    options: dict[str, Any],
    said: str,
    would: Callable[[], list[str]],
) -> None:
    upstream = Answers()
    settings = {"options": options, "shadow": True, "on_failure": "refuse"}
    async with served(defense, {role: Scripted(script)}, upstream, **settings) as client:
        answered = await client.post(CHAT_PATH, content=SENT)
        assert answered.status_code == 200
        assert answered.headers["x-vlmguard-action"] == "shadow"
    assert upstream.bodies == [SENT]
    assert would() == [said]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"{", "invalid_json"),
        (b'{"messages": [], "messages": []}', "invalid_json"),
        (b'{"messages": "x"}', "invalid_messages"),
        (SENT.replace(b'"How', b'[{"type":"image_url","image_url":{"url":"/x"}}], "c": "'), ""),
    ],
)
async def test_what_the_guard_cannot_read_goes_on(
    sent: bytes, said: str, would: Callable[[], list[str]]
) -> None:
    upstream = Answers(status=400)
    async with served("vlmguard", {"rewriter": Scripted("x")}, upstream, shadow=True) as client:
        answered = await client.post(CHAT_PATH, content=sent)
    assert answered.json() == {"error": {"message": "scripted"}}
    assert upstream.bodies == [sent]
    assert would() == [said or "image_scheme"]


async def test_no_request_waits_for_the_guard(
    would: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, rewriter = Answers(), Scripted(REWRITE).model
    asked_guard, free, answers = asyncio.Event(), asyncio.Event(), rewriter.api.generate

    async def hangs(*given: Any, **named: Any) -> Any:
        asked_guard.set()
        await free.wait()
        return await answers(*given, **named)

    monkeypatch.setattr(rewriter.api, "generate", hangs)
    settings = Settings(
        "vlmguard",
        roles={"rewriter": rewriter},
        upstream=Upstream(ADDRESS, transport=httpx.ASGITransport(upstream.app)),
        shadow=True,
        max_concurrent=2,
    )
    app = make_app(settings)
    async with app.router.lifespan_context(app):
        for _ in range(3):
            async with exchange(app, "POST", CHAT_PATH, SENT) as asked:
                assert await asked.status() == 200
                await asked.ended()
        await asyncio.wait_for(asked_guard.wait(), 10)
        # Nor does memory: what is more than the server's places is not decided about.
        assert would() == ["dropped"]
        async with exchange(app, "POST", "/v1/rewrite", b'{"text": "How?"}') as asked:
            assert await asked.status() == 200
            said = json.loads(await asked.piece())
            assert (said["action"], said["text"], said["reason"]) == ("pass", "How?", "shadow")
        free.set()
    assert would() == ["dropped", "dropped", "rewrite", "rewrite"]
    assert upstream.bodies == [SENT] * 3


UNREADABLE = [
    [{"role": "ipython", "content": "x"}],
    [{"role": "user", "content": [{"text": "x"}]}],
    [{"role": "user", "content": "x", "Content": "y"}],
]


@pytest.mark.parametrize("rows", UNREADABLE)
async def test_a_gateway_is_refused_nothing(
    rows: list[Any], would: Callable[[], list[str]]
) -> None:
    roles = {"rewriter": Scripted(REWRITE)}
    shown = {"input_type": "request", "litellm_version": "1.110.2", "structured_messages": rows}
    async with served("vlmguard", roles, Answers(), shadow=True) as client:
        answered = await client.post("/beta/litellm_basic_guardrail_api", json=shown)
    assert (answered.status_code, answered.json()) == (200, {"action": "NONE"})
    assert would()[0].startswith("invalid_")
