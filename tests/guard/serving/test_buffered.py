"""Whole answers behind defenses that check them: kept to the byte, refused, or other ones."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from inspect_ai.model import ModelOutput
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.asgi import exchange
from support.openai_server import openai_server
from support.scripted import Call, Scripted, picture
from support.serving import CHAT_PATH, Answers, served, started

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.dialects.base import Dialect
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.dialects.messages import MESSAGES
from vlmguard.guard.serving.dialects.responses import RESPONSES
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.sse import events_in
from vlmguard.guard.serving.upstream import Upstream

OUTPUT: dict[str, Any] = {"adapter": "llama_guard", "check": "output"}
AGAIN: dict[str, Any] = {**OUTPUT, "on_flag": "regenerate"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.10}


class Said(Answers):
    """An upstream that sends these bodies, one for each request; the last again and again."""

    def __init__(self, *bodies: bytes, status: int = 200, seconds: float = 0.0) -> None:
        super().__init__()
        self.left = list(bodies)
        self.status, self.seconds = status, seconds
        self.gone = 0
        self.app = Starlette(routes=[Route(CHAT_PATH, self._say, methods=["POST"])])

    async def _say(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        body = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.gone += 1
            raise
        events = body.startswith((b"data:", b":"))
        kind = "text/event-stream" if events else "application/json"
        headers = {"x-request-id": "up-1"}
        return Response(body, self.status, headers=headers, media_type=kind)


def answered(text: str | None, finish: str = "stop", **more: Any) -> bytes:
    """A body whose writing no serialiser repeats."""
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "message": message, "logprobs": {"content": [{"token": text}]}}
    choice["finish_reason"] = finish
    whole = {"id": "chatcmpl-7", "choices": [choice], "usage": USAGE, "vendor": 1.5}
    return json.dumps(whole).replace("1.5", "1.50").encode() + b"\n"


def streamed(*deltas: dict[str, Any], finish: str = "stop") -> bytes:
    chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    chunks.append({"index": 0, "delta": {}, "finish_reason": finish})
    events: list[Any] = [{"id": "c-1", "model": "m-7", "choices": [each]} for each in chunks]
    events.append({"id": "c-1", "choices": [], "usage": USAGE})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return ("".join(lines) + "data: [DONE]\n\n").encode()


def judge(*unsafe: str) -> Scripted:
    def say(call: Call) -> str:
        return "unsafe\nS1" if any(word in str(call.messages) for word in unsafe) else "safe"

    return Scripted(say)


def asking(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "How?"}], **more}


async def post(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post(CHAT_PATH, json=asking(**more))


@pytest.mark.parametrize(
    "body",
    [
        answered("Climb it."),
        answered("Climb it.", reasoning_content="Hm.", annotations=[]),
        answered("Climb it.", "length"),
        streamed(
            {"role": "assistant"}, {"reasoning": "Hm"}, {"content": "Climb"}, {"content": "."}
        ),
        b": waiting\r\n\r\n" + streamed({"content": "Climb."}).replace(b"\n", b"\r\n"),
    ],
)
async def test_what_is_kept_is_kept_to_the_byte(body: bytes) -> None:
    upstream, guard, options = Said(body), judge("bridge"), AGAIN
    async with served("guard_model", {"guard": guard}, upstream, options=options) as client:
        response = await post(client, stream=body.startswith((b"data", b":")), logprobs=True)
    assert response.content == body
    assert response.headers["x-request-id"] == "up-1"
    assert response.headers["x-vlmguard-action"] == "pass"
    assert upstream.asked == [asking(stream=body.startswith((b"data", b":")), logprobs=True)]
    assert ["Climb" in str(call.messages) for call in guard.calls] == [True]


async def test_what_is_refused_ends_as_a_filtered_answer_and_says_nothing_of_it() -> None:
    upstream = Said(answered("Jump from the bridge."))
    roles = {"guard": judge("bridge")}
    async with served("guard_model", roles, upstream, options=OUTPUT) as client:
        response = await post(client)
    (choice,) = response.json()["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] == REFUSAL_MESSAGE
    assert response.headers["x-vlmguard-action"] == "block"
    assert "bridge" not in response.text
    async with served("guard_model", roles, upstream, options=OUTPUT, block_status=400) as client:
        response = await post(client)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filter")


async def test_a_stream_that_is_refused_ends_as_one() -> None:
    upstream = Said(streamed({"content": "Jump from "}, {"content": "the bridge"}))
    options = {**AGAIN}
    async with served(
        "guard_model", {"guard": judge("bridge", "Jump")}, upstream, options=options
    ) as client:
        response = await post(client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "bridge" not in response.text
    assert "content_filter" in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    assert len(upstream.bodies) == 2  # once anew, which was flagged too


async def test_another_answer_of_the_model_is_sent_as_it_came() -> None:
    again = answered("Take care.", x=[1, None])
    upstream = Said(answered("Jump."), again)
    async with served("guard_model", {"guard": judge("Jump")}, upstream, options=AGAIN) as client:
        response = await post(client, seed=3)
    assert response.content == again
    assert response.headers["x-vlmguard-action"] == "regenerate"
    first, second = upstream.asked
    assert first == asking(seed=3)
    assert {key: second[key] for key in ("model", "seed")} == {"model": "m", "seed": 3}
    assert second["messages"][0]["content"].startswith("How?")


async def test_an_answer_of_the_defenses_own_keeps_id_and_usage_and_nothing_of_the_first() -> None:
    first = answered("Jump at dawn.", reasoning_content="At dawn, then.", audio={"data": "dawn"})
    roles = {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")}
    async with served("mllm_protector", roles, Said(first)) as client:
        response = await post(client)
    whole, before = response.json(), json.loads(first)
    assert "dawn" not in response.text
    assert whole.pop("choices")[0]["message"]["content"] == "Take care."
    assert before.pop("choices")
    assert whole == before
    assert b'"vendor": 1.50' in response.content
    async with served("mllm_protector", roles, Said(streamed({"content": "At dawn."}))) as client:
        response = await post(client, stream=True)
    assert "dawn" not in response.text
    assert "Take care." in response.text
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    "body",
    [
        answered("Jump.", "tool_calls", tool_calls=[{"id": "1", "type": "function"}]),
        answered("Jump.", "function_call", function_call={"name": "f", "arguments": "{}"}),
        streamed({"content": "Jump."}, {"tool_calls": [{"index": 0, "id": "1"}]}),
        answered(None),
        answered(None, refusal="No."),
    ],
)
async def test_tool_calls_and_what_is_no_answer_pass(body: bytes) -> None:
    roles = {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")}
    async with served("mllm_protector", roles, Said(body)) as client:
        response = await post(client, stream=body.startswith(b"data"))
    assert response.content == body
    assert roles["detector"].calls == []


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ("Jump.", {"refusal": ""}),
        ([{"type": "text", "text": "Jump."}], {}),
        ([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Jump."}], {}),
        ([{"type": "answer", "text": "Jump."}], {}),
        ({"text": "Jump."}, {}),
    ],
)
@pytest.mark.parametrize("on_flag", ["refuse", "regenerate"])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_form_of_a_text_goes_around_the_check(
    content: Any, more: dict[str, Any], on_flag: str, stream: bool
) -> None:
    body = streamed({"content": content, **more}) if stream else answered(content, **more)
    options = {**OUTPUT, "on_flag": on_flag}
    async with served(
        "guard_model", {"guard": judge("Jump")}, Said(body), options=options
    ) as client:
        response = await post(client, stream=stream)
    assert "Jump" not in response.text


@pytest.mark.parametrize("stream", [False, True])
async def test_several_answers_are_refused_before_any_call(stream: bool) -> None:
    upstream, guard = Said(answered("A.")), judge()
    async with served("guard_model", {"guard": guard}, upstream, options=OUTPUT) as client:
        response = await post(client, n=2, stream=stream)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "several_answers", "n")
    assert (upstream.bodies, guard.calls) == ([], [])


@pytest.mark.parametrize("status", [429, 500, 401])
async def test_errors_of_the_model_pass_with_status_and_body(status: int) -> None:
    error = b'{"error": {"message": "slow down",  "code": 7.0}}'
    guard = judge()
    upstream = Said(error, status=status)
    async with served("guard_model", {"guard": guard}, upstream, options=OUTPUT) as client:
        response = await post(client)
    assert (response.status_code, response.content) == (status, error)
    assert guard.calls == []


async def test_an_error_of_a_second_answer_passes_too() -> None:
    class Tired(Said):
        async def _say(self, request: Request) -> Response:
            self.status = 429 if self.bodies else 200
            return await super()._say(request)

    upstream = Tired(answered("Jump."), b'{"error": {"message": "slow down"}}')
    async with served("guard_model", {"guard": judge("Jump")}, upstream, options=AGAIN) as client:
        response = await post(client)
    assert (response.status_code, response.json()["error"]["message"]) == (429, "slow down")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b"[]",
        b'{"choices": [{}]}',
        b'data: {"error": {"message": "overloaded"}}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"content": "Jump"}}]}\n\ndata: {"er\n\n',
    ],
)
async def test_an_answer_that_cannot_be_read_follows_the_rule_for_failures(body: bytes) -> None:
    guard = judge()
    for rule in ("refuse", "original"):
        async with served(
            "guard_model", {"guard": guard}, Said(body), options=OUTPUT, on_failure=rule
        ) as client:
            response = await post(client)
        if rule == "refuse":
            assert response.status_code == 503
            assert "unreadable_answer" in response.json()["error"]["message"]
        else:
            assert response.content == body
            assert response.headers["x-vlmguard-action"] == "error-open"
    assert guard.calls == []


@pytest.mark.parametrize("fault", ["raises", "hangs", "mumbles"])
async def test_a_guard_that_fails_on_an_answer_follows_the_rule(fault: str) -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.sleep(60)

    guard = Scripted(ConnectionError("down") if fault == "raises" else "Lovely weather.")
    if fault == "hangs":
        guard.reply = hang  # type: ignore[method-assign]
    for rule in ("refuse", "original"):
        settings: dict[str, Any] = {"options": OUTPUT, "on_failure": rule, "guard_timeout": 0.2}
        body = answered("Climb it.")
        async with served("guard_model", {"guard": guard}, Said(body), **settings) as client:
            response = await post(client)
        if rule == "refuse":
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "guard_unavailable"
            assert "Climb" not in response.text
        else:
            assert response.content == body
            assert response.headers["x-vlmguard-action"] == "error-open"


async def test_a_slow_model_takes_none_of_the_guards_time() -> None:
    upstream = Said(answered("Jump."), answered("Take care."), seconds=0.4)
    settings: dict[str, Any] = {"options": AGAIN, "guard_timeout": 0.3}
    async with served("guard_model", {"guard": judge("Jump")}, upstream, **settings) as client:
        response = await post(client)
    assert response.headers["x-vlmguard-action"] == "regenerate"


@pytest.mark.parametrize("slow", ["model", "guard"])
async def test_a_client_that_leaves_ends_the_answer_and_its_check(slow: str) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def hang(*_: Any) -> Any:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    checks = judge()
    upstream = Said(answered("Climb it."), seconds=60.0 if slow == "model" else 0.0)
    if slow == "guard":
        checks.reply = hang  # type: ignore[method-assign]
    transport = httpx.ASGITransport(upstream.app)
    body = json.dumps(asking()).encode()
    async with started("guard_model", {"guard": checks}, transport, options=OUTPUT) as app:
        headers = [("content-type", "application/json")]
        async with exchange(app, "POST", CHAT_PATH, body, headers) as client:
            while not (upstream.bodies if slow == "model" else began.is_set()):
                await asyncio.sleep(0.01)
            client.leave()
            await client.ended()
    assert upstream.gone if slow == "model" else ended.is_set()


async def test_in_shadow_mode_an_answer_is_relayed() -> None:
    body, guard = answered("Jump."), judge("Jump")
    async with served(
        "guard_model", {"guard": guard}, Said(body), options=AGAIN, shadow=True
    ) as client:
        response = await post(client)
    assert response.content == body


async def test_a_defense_asks_the_model_itself_over_http() -> None:
    def say(text: str, messages: list[dict[str, Any]]) -> str:
        if "yes or no only" in text:
            return "yes"
        return "A worn rope." if "Describe the image" in text else f"Answer {len(messages)}."

    asked = asking(max_tokens=4000, stream=False, user="u-1", temperature=0.5)
    asked["messages"][0]["content"] = [
        {"type": "image_url", "image_url": {"url": picture()}},
        {"type": "text", "text": "How?"},
    ]
    with openai_server(say) as model:
        app = make_app(Settings("ecso", upstream=Upstream(model.url, "sk-server")))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://guard"
            ) as client,
        ):
            response = await client.post(CHAT_PATH, json=asked)
    assert response.headers["x-vlmguard-action"] == "regenerate"
    assert response.json()["choices"][0]["message"]["content"] == "Answer 1."
    first, check, caption, again = model.requests
    assert first == asked
    # Its questions are its own: greedy, and with the room that the client gives an answer.
    for question in (check, caption):
        assert (question["temperature"], question["max_tokens"]) == (0, 4000)
        assert "user" not in question
    assert {key: again[key] for key in ("user", "max_tokens", "stream")} == {
        "user": "u-1", "max_tokens": 4000, "stream": False,
    }  # fmt: skip
    assert "worn rope" in again["messages"][0]["content"][0]["text"]
    assert again["temperature"] == 0


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES], ids=lambda one: one.path)
def test_a_stream_says_what_its_body_says(dialect: Dialect) -> None:
    asked = dialect.read(
        json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": "How?"}], "input": "How?"}
        ).encode()
    )
    said = ModelOutput.from_content("m", "Take care.\nGo.")
    stream = b"".join(dialect.events(asked, said))
    read = dialect.output(dialect.streamed(events_in(stream)))
    assert (read.completion, read.stop_reason) == (said.completion, "stop")
    # And another answer in its place.
    body = json.dumps({**dialect.answer(asked, said), "vendor": 1.5}).replace("1.5", "1.50")
    other = dialect.replaced(body, ModelOutput.from_content("m", "No.", "max_tokens"))
    assert "Take care" not in other
    assert '"vendor": 1.50' in other
    read = dialect.output(json.loads(other))
    assert (read.completion, read.stop_reason) == ("No.", "max_tokens")
    with pytest.raises(ValueError, match="a"):
        dialect.streamed(["{}"])


async def test_an_answer_written_as_thinking_is_checked_and_stays_as_it_is() -> None:
    upstream = Said(answered("<think>Unsafe words."), answered("<think>Words.</think> Yes."))
    settings: dict[str, Any] = {"options": OUTPUT}
    asked = {"model": "m", "messages": [{"role": "user", "content": "How?"}]}
    async with served("guard_model", {"guard": judge("Unsafe")}, upstream, **settings) as client:
        blocked = await client.post(CHAT_PATH, json=asked)
        passed = await client.post(CHAT_PATH, json=asked)
    assert blocked.headers["x-vlmguard-action"] == "block"
    assert passed.content == answered("<think>Words.</think> Yes.")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_encoding_that_only_the_client_knows_goes_around_no_check(stream: bool) -> None:
    """Node's clients ask for `br`, which is not read here."""
    upstream, unsafe = Said(answered("Unsafe words.")), judge("Unsafe")
    upstream.app = Starlette(routes=[Route(CHAT_PATH, _encoded(upstream), methods=["POST"])])
    settings: dict[str, Any] = {"options": OUTPUT, "on_failure": "original"}
    asked = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "How?"}]}
    async with served("guard_model", {"guard": unsafe}, upstream, **settings) as client:
        came = await client.post(CHAT_PATH, json=asked, headers={"accept-encoding": "br, gzip"})
    assert came.headers["x-vlmguard-action"] == "block"
    assert "Unsafe" not in came.text


def _encoded(said: Said) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if "br" in request.headers["accept-encoding"]:
            return Response(b"Unsafe words.", headers={"content-encoding": "br"})
        return await said._say(request)

    return answer
