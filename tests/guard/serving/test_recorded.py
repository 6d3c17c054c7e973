"""`--record` in a server: what of real requests is kept, and the way from there to a new guard."""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.scripted import Scripted, picture
from support.serving import CHAT_PATH, Answers, served

from vlmguard.cli import main
from vlmguard.guard.recordings import RecordedRequest, read_recordings
from vlmguard.guard.serving.answer_text import text_of
from vlmguard.guard.serving.gateway import GATEWAY_PATH
from vlmguard.guard.serving.logs import LOGGER

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
COPY = "<reasoning>None.</reasoning>No change needed."


def body(number: int = 0, **more: Any) -> dict[str, Any]:
    parts = [
        {"type": "image_url", "image_url": {"url": picture("red")}},
        {"type": "text", "text": f"How do I climb ladder {number}?"},
    ]
    return {"model": "m", "messages": [{"role": "user", "content": parts}], **more}


async def kept(folder: Path, count: int = 1) -> list[RecordedRequest]:
    """What is recorded, as soon as it is so much; its order is that of ids."""
    for _ in range(500):
        if [*folder.glob("*.jsonl")]:
            found = read_recordings(folder).requests
            if len(found) >= count:
                break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("nothing was recorded")
    return found


async def test_a_request_and_its_decision_are_kept(tmp_path: Path) -> None:
    folder, upstream = tmp_path / "kept", Answers()
    rewriter = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", rewriter, upstream, record=folder) as client:
        headers = {"authorization": "Bearer sk-client-0123456789"}
        answered = await client.post(CHAT_PATH, json=body(temperature=0.5), headers=headers)
        (request,) = await kept(folder)
    assert answered.headers["x-vlmguard-action"] == "rewrite"
    assert request.prompt == "How do I climb ladder 0?"
    assert request.decision.request == "How do I climb it safely?"
    assert (request.decision.action, request.shadow, request.answer) == ("rewrite", False, None)
    assert request.template
    assert request.image is not None
    assert (folder / request.image).is_file()
    assert not any("sk-client" in file.read_text() for file in folder.glob("*.jsonl"))


@pytest.mark.parametrize("stream", [False, True])
async def test_in_shadow_mode_the_undefended_answer_is_kept_too(
    tmp_path: Path, stream: bool
) -> None:
    folder, upstream = tmp_path / "kept", Answers("Just climb it.")
    rewriter = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", rewriter, upstream, shadow=True, record=folder) as client:
        await client.post(CHAT_PATH, json=body(stream=stream))
        (request,) = await kept(folder)
    assert request.shadow
    assert request.answer == ("Justclimbit." if stream else "Just climb it.")
    assert request.decision.action == "rewrite"
    assert upstream.asked == [body(stream=stream)]


async def test_an_error_is_no_answer(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    rewriter = {"rewriter": Scripted(REWRITE)}
    async with served(
        "vlmguard", rewriter, Answers(status=429), shadow=True, record=folder
    ) as client:
        assert (await client.post(CHAT_PATH, json=body())).status_code == 429
        (request,) = await kept(folder)
    assert request.answer is None


async def test_a_guard_that_fails_is_kept_as_that(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    rewriter = {"rewriter": Scripted("Lovely weather today.")}
    async with served("vlmguard", rewriter, Answers(), record=folder) as client:
        assert (await client.post(CHAT_PATH, json=body())).status_code == 503
        (request,) = await kept(folder)
    assert request.decision.failure == "no_prompt"


async def test_what_a_client_declines_is_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    rewriter = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", rewriter, Answers(), record=folder) as client:
        await client.post(CHAT_PATH, json=body(1), headers={"X-VLMGuard-No-Record": "1"})
        await client.post(CHAT_PATH, json=body(2))
        (request,) = await kept(folder)
    assert request.prompt == "How do I climb ladder 2?"


async def test_the_log_leaves_out_what_a_client_declines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=LOGGER.name)
    rewriter = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", rewriter, Answers(), log_content=True) as client:
        await client.post(CHAT_PATH, json=body(1), headers={"X-VLMGuard-No-Record": "1"})
        await client.post(CHAT_PATH, json=body(2))
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "climb ladder 2" in said
    assert "climb ladder 1" not in said


async def test_what_became_of_requests_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    rewriter = {"rewriter": Scripted(REWRITE)}
    async with served("vlmguard", rewriter, Answers(), record=folder) as client:
        await client.post(CHAT_PATH, json=body(1), headers={"X-VLMGuard-No-Record": "1"})
        await client.post(CHAT_PATH, json=body(2))
        await kept(folder)
        for _ in range(100):
            told = (await client.get("/metrics")).text
            if 'vlmguard_recorded_total{outcome="recorded"} 1.0' in told:
                break
            await asyncio.sleep(0.01)
    assert 'vlmguard_recorded_total{outcome="recorded"} 1.0' in told
    assert 'vlmguard_recorded_total{outcome="declined"} 1.0' in told


async def test_a_gateway_tells_what_its_client_declines(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    async with served(
        "vlmguard", {"rewriter": Scripted(REWRITE)}, Answers(), record=folder
    ) as client:
        for number, names in enumerate(({"X-VLMGuard-No-Record": "[present]"}, {"x-other": "1"})):
            shown = {
                "input_type": "request",
                "texts": [f"How do I climb ladder {number}?"],
                "structured_messages": body(number)["messages"],
                "request_headers": names,
            }
            answered = await client.post(GATEWAY_PATH, json=shown)
            assert answered.json()["action"] == "GUARDRAIL_INTERVENED"
        (request,) = await kept(folder)
    assert request.prompt == "How do I climb ladder 1?"


async def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, Answers()) as client:
        await client.post(CHAT_PATH, json=body())
    assert [*tmp_path.iterdir()] == []


def test_content_must_be_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--upstream", "http://x/v1", "--on-failure", "refuse", "--rewriter", "mockllm/r"]
    assert main(["serve", *words, "--record", str(tmp_path / "kept")]) == 2
    assert "--log-content" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


CHAT = {"choices": [{"message": {"content": "Just climb."}}]}
RESPONSES = {
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Just climb."}]},
    ]
}
MESSAGES = {"type": "message", "content": [{"type": "text", "text": "Just climb."}]}
DELTAS: list[Callable[[str], dict[str, Any]]] = [
    lambda text: {"choices": [{"index": 0, "delta": {"content": text}}]},
    lambda text: {"type": "response.output_text.delta", "delta": text},
    lambda text: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}},
]


@pytest.mark.parametrize("answer", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("packed", [False, True])
def test_the_text_of_a_whole_answer(answer: dict[str, Any], packed: bool) -> None:
    raw = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json")]
    if packed:
        raw, headers = gzip.compress(raw), [*headers, (b"content-encoding", b"gzip")]
    assert text_of(headers, raw) == "Just climb."


@pytest.mark.parametrize("delta", DELTAS)
def test_the_text_of_a_streamed_answer(delta: Callable[[str], dict[str, Any]]) -> None:
    events = [
        ": a comment",
        "event: x",
        *(f"data: {json.dumps(delta(t))}" for t in ("Just", " go")),
    ]
    events += ["data: {broken", "data: [DONE]"]
    headers = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
    assert text_of(headers, "\n\n".join(events).encode()) == "Just go"


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b'{"choices": [{"message": {"content": null}}]}'),
        ("text/event-stream", b"data: {}\n\n"),
        ("image/png", b"\x89PNG"),
    ],
)
def test_what_has_no_text_is_no_answer(kind: str, raw: bytes) -> None:
    assert text_of([(b"content-type", kind.encode())], raw) is None


def test_what_is_packed_wrongly_is_no_answer() -> None:
    headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
    assert text_of(headers, b"{}") is None
