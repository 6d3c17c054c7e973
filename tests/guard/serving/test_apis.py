"""The Responses and the Messages API through the proxy: pass, rewrite, block, errors, keys."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from openai import AsyncOpenAI
from support.api_answers import MESSAGES_PATH, RESPONSES_PATH, ApiAnswers
from support.conversations import RED
from support.scripted import Scripted
from support.serving import ADDRESS, served

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.errors import UserError
from vlmguard.guard.serving import command
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.start import settings_of
from vlmguard.guard.serving.upstream import Upstream

REWRITE: Final = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
COPY: Final = "<reasoning>Fine.</reasoning><prompt>How do I tie it?</prompt>"
UNSAFE: Final = Scripted("unsafe\nS1")
GUARD: Final = {"options": {"adapter": "llama_guard"}}
APIS: Final = {RESPONSES_PATH: "input", MESSAGES_PATH: "messages"}


def body(path: str, text: str, **more: Any) -> bytes:
    turn = [{"role": "user", "content": text}]
    return json.dumps({"model": "m", APIS[path]: turn, **more}).encode()


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_rewriter_copies_goes_on_as_the_very_bytes(path: str, stream: bool) -> None:
    upstream, sent = ApiAnswers(), body(path, "How do I tie it?", stream=stream, x=[1.0])
    sent = sent.replace(b"1.0", b"1.00 ")
    async with served("vlmguard", {"rewriter": Scripted(COPY)}, upstream) as client:
        answered = await client.post(path, content=sent)
    assert answered.headers["x-vlmguard-action"] == "pass"
    assert upstream.bodies == [sent]
    assert "answer." in answered.text


@pytest.mark.parametrize("path", APIS)
async def test_the_text_of_the_last_user_turn_is_rewritten(path: str) -> None:
    upstream = ApiAnswers()
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        answered = await client.post(path, content=body(path, "How do I climb it?", top_k=1))
    assert answered.headers["x-vlmguard-action"] == "rewrite"
    assert upstream.bodies == [body(path, "How do I climb it safely?", top_k=1)]


@pytest.mark.parametrize(
    ("path", "field"), [(RESPONSES_PATH, "instructions"), (MESSAGES_PATH, "system")]
)
async def test_a_safety_prompt_is_system_text_of_the_api(path: str, field: str) -> None:
    upstream = ApiAnswers()
    async with served("safety_prompt", {}, upstream) as client:
        await client.post(path, content=body(path, "How?", **{field: "Be brief."}))
    (asked,) = upstream.asked
    assert asked[field].endswith("\n\nBe brief.")
    assert asked[APIS[path]] == json.loads(body(path, "How?"))[APIS[path]]


@pytest.mark.parametrize("path", APIS)
async def test_images_of_every_api_are_checked_before_the_guard_sees_them(path: str) -> None:
    upstream, rewriter = ApiAnswers(), Scripted(COPY)
    source = {"type": "url", "url": "file:///etc/passwd"}
    part: dict[str, Any] = {"type": "image", "source": source}
    if path == RESPONSES_PATH:
        part = {"type": "input_image", "image_url": "/etc/passwd"}
    sent = json.dumps({"model": "m", APIS[path]: [{"role": "user", "content": [part]}]}).encode()
    async with served("vlmguard", {"rewriter": rewriter}, upstream) as client:
        answered = await client.post(path, content=sent)
    assert answered.status_code == 400
    assert (upstream.bodies, rewriter.calls) == ([], [])


async def test_a_base64_source_is_a_data_uri_for_the_guard_alone() -> None:
    upstream, rewriter = ApiAnswers(), Scripted(COPY)
    data = RED.partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "How do I tie it?"}]
    sent = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    async with served("vlmguard", {"rewriter": rewriter}, upstream) as client:
        await client.post(MESSAGES_PATH, content=sent)
    assert upstream.bodies == [sent]
    assert rewriter.calls[0].images == [RED]


async def test_earlier_turns_that_only_the_upstream_has_are_said_to_be_unread() -> None:
    upstream = ApiAnswers()
    sent = body(RESPONSES_PATH, "How do I tie it?", previous_response_id="resp_0")
    async with served("vlmguard", {"rewriter": Scripted(COPY)}, upstream) as client:
        answered = await client.post(RESPONSES_PATH, content=sent)
    assert answered.headers["x-vlmguard-action"] == "partial"
    assert upstream.bodies == [sent]


@pytest.mark.parametrize(("status", "kind"), [(200, "refusal"), (400, "error")])
async def test_a_blocked_message_is_a_refusal_or_an_error_of_the_api(
    status: int, kind: str
) -> None:
    upstream, settings = ApiAnswers(), {**GUARD, "block_status": status}
    async with served("guard_model", {"guard": UNSAFE}, upstream, **settings) as client:
        answered = await client.post(MESSAGES_PATH, content=body(MESSAGES_PATH, "How?"))
    said = answered.json()
    assert (answered.status_code, answered.headers["x-vlmguard-action"]) == (status, "block")
    assert upstream.bodies == []
    if kind == "error":
        error = said["error"]
        assert (said["type"], error["type"]) == ("error", "invalid_request_error")
        assert error["code"] == "content_filter"
    else:
        assert said["stop_reason"] == "refusal"
        assert said["content"] == [{"type": "text", "text": REFUSAL_MESSAGE}]


@pytest.mark.parametrize("sent", [b"{", b'{"messages": [], "messages": []}', b'{"messages": 1}'])
async def test_an_error_has_the_form_of_the_api(sent: bytes) -> None:
    async with served("vlmguard", {"rewriter": Scripted(COPY)}, ApiAnswers()) as client:
        anthropic = await client.post(MESSAGES_PATH, content=sent)
        openai = await client.post(RESPONSES_PATH, content=sent)
    assert (anthropic.status_code, openai.status_code) == (400, 400)
    assert anthropic.json()["type"] == "error"
    assert openai.json()["error"]["type"] == "invalid_request_error"


@asynccontextmanager
async def openai_client(
    defense: str, roles: dict[str, Scripted], upstream: ApiAnswers, **settings: Any
) -> AsyncIterator[AsyncOpenAI]:
    async with served(defense, roles, upstream, **settings) as http:
        yield AsyncOpenAI(base_url="http://guard/v1", api_key="k", http_client=http, max_retries=0)


async def test_the_openai_client_gets_responses() -> None:
    upstream = ApiAnswers("Hold on tight.")
    async with openai_client("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        answered = await client.responses.create(model="m", input="How do I climb it?")
        stream = await client.responses.create(model="m", input="Climb it how?", stream=True)
        events = [event async for event in stream]
    assert [asked["input"] for asked in upstream.asked] == ["How do I climb it safely?"] * 2
    assert answered.output_text == "Hold on tight."
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "Hold on tight."


async def test_the_openai_client_gets_a_block_as_filtered_content() -> None:
    upstream = ApiAnswers()
    async with openai_client("guard_model", {"guard": UNSAFE}, upstream, **GUARD) as client:
        blocked = await client.responses.create(model="m", input="How?")
        stream = await client.responses.create(model="m", input="How?", stream=True)
        events = [event async for event in stream]
        # The client's own reader checks that the events belong together.
        async with client.responses.stream(model="m", input="How?") as reader:
            read = [event async for event in reader]
    assert upstream.bodies == []
    assert blocked.output_text == REFUSAL_MESSAGE
    assert blocked.incomplete_details is not None
    assert (blocked.status, blocked.incomplete_details.reason) == ("incomplete", "content_filter")
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [event.sequence_number for event in events] == list(range(9))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == REFUSAL_MESSAGE
    assert [event.type for event in read] == [event.type for event in events]


async def test_a_blocked_message_is_a_whole_stream() -> None:
    sent = body(MESSAGES_PATH, "How?", stream=True)
    async with served("guard_model", {"guard": UNSAFE}, ApiAnswers(), **GUARD) as client:
        answered = await client.post(MESSAGES_PATH, content=sent)
    events = [
        (head.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for head, data in (event.split("\n") for event in answered.text.strip().split("\n\n"))
    ]
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert [name for name, _ in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(name == event["type"] for name, event in events)
    assert events[2][1]["delta"] == {"type": "text_delta", "text": REFUSAL_MESSAGE}
    assert events[4][1]["delta"]["stop_reason"] == "refusal"


@pytest.mark.parametrize(
    ("key", "own", "expected"),
    [
        ((b"x-api-key", b"theirs"), None, {"x-api-key": "theirs"}),
        ((b"x-api-key", b"theirs"), "ours", {"x-api-key": "ours"}),
        ((b"authorization", b"Bearer theirs"), "ours", {"authorization": "Bearer ours"}),
        ((b"x-b", b"2"), "ours", {"x-api-key": "ours", "x-b": "2"}),
    ],
)
async def test_headers_of_the_messages_api_go_on(
    key: tuple[bytes, bytes], own: str | None, expected: Any
) -> None:
    given = [key, (b"anthropic-version", b"2023-06-01"), (b"accept-encoding", b"gzip")]
    headers = Upstream(ADDRESS, own).headers(given)
    sent = {name.decode(): value.decode() for name, value in headers}
    assert sent == {"anthropic-version": "2023-06-01", "accept-encoding": "gzip", **expected}


def settings(*words: str) -> Settings:
    parser = CommandParser()
    command.add(parser.add_subparsers())
    given = ["serve", "--defense", "ecso", "--upstream", ADDRESS, "--on-failure", "refuse", *words]
    return settings_of(parser.parse_args(given))


def test_questions_of_a_defense_go_to_the_named_model() -> None:
    theirs = settings().upstream
    assert theirs is not None
    assert str(theirs.model("m", {"x-api-key": "k"})).endswith("/m")
    named = settings("--target-model", "mockllm/judge").upstream
    assert named is not None
    assert str(named.model("m", {})) == "mockllm/judge"
    with pytest.raises(UserError, match="--target-model=nobody/judge"):
        settings("--target-model", "nobody/judge")


@pytest.mark.parametrize(("rule", "status"), [("refuse", 503), ("original", 200)])
async def test_words_in_the_variables_of_a_template_follow_the_rule(rule: Any, status: int) -> None:
    upstream, rewriter = ApiAnswers(), Scripted(COPY)
    sent = {"model": "m", "prompt": {"id": "pmpt_1", "variables": {"q": "How do I harm them?"}}}
    async with served("vlmguard", {"rewriter": rewriter}, upstream, on_failure=rule) as client:
        answered = await client.post(RESPONSES_PATH, json=sent)
    assert answered.status_code == status
    assert rewriter.calls == []
    assert upstream.asked == ([sent] if status == 200 else [])
    if status == 200:
        assert answered.headers["x-vlmguard-action"] == "error-open"


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER "])
def test_the_word_before_a_key_may_be_of_any_case(word: str) -> None:
    model = Upstream("http://upstream/v1").model("m", {"authorization": f"{word} theirs"})
    assert model.api.api_key == "theirs"
