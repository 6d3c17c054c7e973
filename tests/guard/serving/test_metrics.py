"""`/metrics`: what is counted, by whom, and that no client chooses a label."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.scripted import Scripted
from support.serving import CHAT_PATH, Answers, served

from vlmguard.guard.serving import metrics

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
SENT = {"model": "m", "messages": [{"role": "user", "content": "How do I climb it?"}]}

Figures = dict[tuple[str, ...], float]


def figures(text: str) -> Figures:
    """The figures, by name and values of labels."""

    def each() -> Iterator[tuple[tuple[str, ...], float]]:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield (sample.name, *sample.labels.values()), sample.value

    return dict(each())


async def test_requests_actions_tokens_and_times() -> None:
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, Answers()) as client:
        for _ in range(2):
            await client.post(CHAT_PATH, json=SENT)
        await client.post(CHAT_PATH, content=b"{")
        await client.get("/v1/models")
        await client.get("/v1/a-path-of-a-client")
        await client.request("BREW", "/v1/another")
        answered = await client.get("/metrics")
    assert answered.headers["content-type"].startswith("text/plain")
    told = figures(answered.text)
    assert told["vlmguard_requests_total", CHAT_PATH, "200"] == 2
    assert told["vlmguard_requests_total", CHAT_PATH, "400"] == 1
    assert told["vlmguard_requests_total", "/v1/models", "200"] == 1
    assert told["vlmguard_requests_total", "other", "404"] == 1
    assert told["vlmguard_requests_total", "other", "405"] == 1
    assert told["vlmguard_actions_total", "rewrite", CHAT_PATH] == 2
    assert told["vlmguard_tokens_total", "input", "rewriter"] == 20
    assert told["vlmguard_tokens_total", "output", "rewriter"] == 10
    assert told["vlmguard_guard_seconds_count",] == 2
    assert told["vlmguard_request_seconds_count", CHAT_PATH] == 3
    # This one.
    assert told["vlmguard_in_flight",] == 1
    assert "of-a-client" not in answered.text
    assert "BREW" not in answered.text


@pytest.mark.parametrize(("on_failure", "status"), [("refuse", 503), ("original", 200)])
async def test_failures_are_counted_by_their_reason(on_failure: str, status: int) -> None:
    down = {"rewriter": Scripted(RuntimeError("down"))}
    async with served("vlmguard", down, Answers(), on_failure=on_failure) as client:
        answered = await client.post(CHAT_PATH, json=SENT)
        told = figures((await client.get("/metrics")).text)
    assert answered.status_code == status
    assert told["vlmguard_failures_total", "guard_error"] == 1
    action = ("vlmguard_actions_total", "error-open", CHAT_PATH)
    assert told.get(action, 0) == (on_failure == "original")


async def test_what_would_have_happened_in_shadow_mode() -> None:
    rewriting = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", rewriting, Answers(), shadow=True) as client:
        await client.post(CHAT_PATH, json=SENT)
        await client.post(CHAT_PATH, content=b'{"messages": 1}')
        while ("vlmguard_shadow_total", "rewrite") not in (
            told := figures((await client.get("/metrics")).text)
        ):
            await asyncio.sleep(0.01)
    assert told["vlmguard_shadow_total", "rewrite"] == 1
    assert told["vlmguard_shadow_total", "invalid_messages"] == 1
    assert told["vlmguard_actions_total", "shadow", CHAT_PATH] == 2


async def test_a_defense_cannot_make_labels_without_end() -> None:
    counted = metrics.make_metrics()
    for number in range(200):
        counted.decided(0.1, f"reason {number}")
    told = figures(counted.text()[0].decode())
    reasons = [name for name in told if name[0] == "vlmguard_failures_total"]
    assert len(reasons) == 65
    assert told["vlmguard_failures_total", "other"] == 136


async def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, Answers()) as client:
        assert (await client.post(CHAT_PATH, json=SENT)).status_code == 200
        answered = await client.get("/metrics")
    assert answered.status_code == 501
    assert "pip install 'vlmguard[serve]'" in answered.json()["error"]["message"]


async def test_errors_of_ours_are_counted_by_their_code() -> None:
    """Before anything is changed, an operator sees how many requests would need it."""
    link = {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}
    linked = {"model": "m", "messages": [{"role": "user", "content": [link]}]}
    roles = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", roles, Answers(), max_body=1_000) as client:
        for _ in range(2):
            assert (await client.post(CHAT_PATH, json=linked)).status_code == 400
        await client.post(CHAT_PATH, content=b"{")
        await client.post(CHAT_PATH, content=b" " * 1_001)
        await client.post(CHAT_PATH, content=b"x", headers={"content-encoding": "gzip"})
        await client.get("/v1/a-path-of-a-client")
        rows = {"input_type": "request", "structured_messages": linked["messages"]}
        blocked = await client.post("/beta/litellm_basic_guardrail_api", json=rows | {"texts": []})
        assert blocked.json()["action"] == "BLOCKED"
        told = figures((await client.get("/metrics")).text)
    counted = {key[1]: value for key, value in told.items() if key[0] == "vlmguard_errors_total"}
    assert counted == {
        "remote_image": 3,
        "invalid_json": 1,
        "body_too_large": 1,
        "content_encoding": 1,
        "unknown_path": 1,
    }
