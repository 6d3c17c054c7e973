"""Which paths there are, which go on to the upstream, and how all others are refused."""

import json
from typing import Any

import httpx
import pytest
from support.asgi import exchange
from support.scripted import Scripted, picture
from support.serving import CHAT_PATH, Answers, served, started

from vlmguard.guard.errors import UserError

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"


def guarded(upstream: Answers, script: str = REWRITE, **settings: Any) -> Any:
    return served("vlmguard", {"rewriter": Scripted(script)}, upstream, **settings)


async def test_models_go_on_with_their_query() -> None:
    upstream = Answers()
    async with guarded(upstream) as client:
        listed = await client.get("/v1/models?limit=3")
        one = await client.get("/v1/models/meta-llama/Llama-3:free")
        deleted = await client.delete("/v1/models/ft:gpt:org::1")
    assert listed.json() == {"object": "list", "data": []}
    assert one.status_code == 200
    assert upstream.paths == [
        "GET /v1/models?limit=3",
        "GET /v1/models/meta-llama/Llama-3:free",
    ]
    assert deleted.status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/chat/completions", 404),
        ("POST", "/v1/embeddings", 404),
        ("POST", "/v1/completions", 404),
        ("GET", CHAT_PATH, 405),
        ("PUT", CHAT_PATH, 405),
        ("GET", "/v1/rewrite", 405),
        ("POST", "/healthz", 405),
        ("OPTIONS", "/v1/models", 405),
        ("POST", f"{CHAT_PATH}/", 404),
    ],
)
async def test_what_is_not_there_is_an_error_of_the_api(
    method: str, path: str, status: int
) -> None:
    upstream = Answers()
    async with guarded(upstream) as client:
        answered = await client.request(method, path, content=b"{}")
    assert answered.status_code == status
    error = answered.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert len(answered.headers["x-vlmguard-request-id"]) == 32
    assert not upstream.bodies


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/%2e%2e/chat/completions",
        "/v1/files/../chat/completions",
        "/v1/files/x%2f..%2f..%2fchat/completions",
        "/v1/files//x",
        "/v1/files/",
        "/v1/files/x/.",
        "/v1/files/x;y",
        "/v1/files/x\\..\\y",
        "/v1/files%2fx",
        "/v1/filesystem",
        "/v1/Embeddings",
        "/v1/embeddings/",
        "/v1/embeddings%20",
        "/v1/embeddings/chat",
        "/v1/models/../chat/completions",
        "/v1/models%2f..%2fchat/completions",
        "//v1/embeddings",
    ],
)
async def test_an_allowed_path_is_no_way_around_the_guard(path: str) -> None:
    upstream = Answers()
    allowed = ("/v1/embeddings", "/v1/files/*")
    roles, transport = {"rewriter": Scripted(REWRITE)}, httpx.ASGITransport(upstream.app)
    async with (
        started("vlmguard", roles, transport, pass_through=allowed) as app,
        exchange(app, "POST", path, b'{"messages": []}') as asked,
    ):
        assert await asked.status() in (404, 405)
    assert not upstream.bodies


async def test_an_allowed_path_goes_on_as_it_came() -> None:
    upstream = Answers()
    sent = b'{ "input": "x", "n": 1.00 }'
    async with guarded(upstream, pass_through=("/v1/embeddings", "/v1/files/*")) as client:
        posted = await client.post("/v1/embeddings?a=%2F", content=sent)
        gone = await client.delete("/v1/files/file-1/content")
    assert (posted.status_code, gone.status_code) == (200, 200)
    assert posted.headers["x-vlmguard-action"] == "skipped"
    assert upstream.paths == ["POST /v1/embeddings?a=%2F", "DELETE /v1/files/file-1/content"]
    assert upstream.bodies[0] == sent


@pytest.mark.parametrize(
    "path",
    [CHAT_PATH, "/v1/*", "/v1/chat/*", "/v1/Chat/*", "/embeddings", "/v1/x/../y", "/v1/x/", "*"],
)
async def test_no_path_around_the_guard_can_be_allowed(path: str) -> None:
    with pytest.raises(UserError, match="--pass-through"):
        async with guarded(Answers(), pass_through=(path,)):
            pass


async def test_rewrite_gives_the_decision_alone() -> None:
    upstream, rewriter = Answers(), Scripted(REWRITE)
    async with served("vlmguard", {"rewriter": rewriter}, upstream) as client:
        plain = await client.post(
            "/v1/rewrite", json={"text": "How do I climb it?", "images": [picture()]}
        )
        turns = [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "How do I climb it?"},
        ]
        chat = await client.post("/v1/rewrite", json={"messages": turns})
    for answered in (plain, chat):
        said = answered.json()
        assert said["ms"] >= 0
        del said["ms"]
        assert said == {
            "action": "rewrite",
            "text": "How do I climb it safely?",
            "reason": "rewritten",
            "hazard": "A fall.",
            "verdict": None,
            "version": answered.headers["x-vlmguard-version"],
        }
    assert [len(call.images) for call in rewriter.calls] == [1, 0]
    assert not upstream.bodies


async def test_rewrite_tells_a_guards_verdict() -> None:
    unsafe = {"guard": Scripted("unsafe\nS1")}
    options = {"adapter": "llama_guard"}
    async with served("guard_model", unsafe, Answers(), options=options) as client:
        answered = await client.post("/v1/rewrite", json={"text": "How?"})
    said = answered.json()
    assert (said["action"], said["text"]) == ("block", "")
    assert said["verdict"]["label"] == "unsafe"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"text": 1},
        {"text": "x", "images": "y"},
        {"images": [1]},
        {"images": ["/etc/passwd"]},
        {"images": ["http://169.254.169.254/latest"]},
        {"text": "x", "messages": [{"role": "user", "content": "x"}]},
        {"txt": "x"},
        {"text": "x", "model": 1},
        [],
    ],
)
async def test_a_body_that_is_no_request_is_refused(sent: Any) -> None:
    rewriter = Scripted(REWRITE)
    async with served("vlmguard", {"rewriter": rewriter}, Answers()) as client:
        answered = await client.post("/v1/rewrite", content=json.dumps(sent))
    assert answered.status_code == 400
    assert "passwd" not in answered.text
    assert not rewriter.calls


async def test_probes_ask_no_model() -> None:
    rewriter = Scripted(REWRITE)
    async with served("vlmguard", {"rewriter": rewriter}, Answers()) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
    assert not rewriter.calls


async def test_a_guard_that_fails_again_and_again_is_not_ready() -> None:
    upstream, failing = Answers(), Scripted(RuntimeError("the provider is down: secret words"))
    async with served("vlmguard", {"rewriter": failing}, upstream) as client:
        for _ in range(3):
            answered = await client.post(
                CHAT_PATH, json={"model": "m", "messages": [{"role": "user", "content": "How?"}]}
            )
            assert answered.status_code == 503
            assert answered.headers["retry-after"] == "1"
            assert "secret words" not in answered.text
        probed = await client.get("/readyz")
    assert (probed.status_code, probed.json()["reason"]) == (503, "failing")
    assert not upstream.bodies
