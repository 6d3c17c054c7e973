"""The tiny models as an OpenAI-compatible API, asked by OpenAI's own client."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from PIL import Image

from vlmguard.guard.serving.microworld import SCENES_PATH, microworld_app
from vlmguard.guard.serving.scenes import Scene, scenes
from vlmguard.training.microworld.world.language import grade

RISKY, HARMLESS = scenes()[:2]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(microworld_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://microworld") as client:
        yield client


@pytest.fixture
def client(http: httpx.AsyncClient) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url="http://microworld/v1", api_key="none", http_client=http, max_retries=0
    )


def asked(scene: Scene, **changed: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": scene.messages, **changed}


def of_user(text: str, *images: str) -> list[dict[str, Any]]:
    shown = [{"type": "image_url", "image_url": {"url": image}} for image in images]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def photo() -> str:
    buffer = io.BytesIO()
    Image.effect_noise((640, 480), 80).convert("RGB").save(buffer, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


async def test_a_client_with_another_base_url_gets_an_answer(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(**asked(RISKY))
    assert reply.object == "chat.completion"
    assert reply.model == "microworld/qwen2-vl/low"
    assert reply.choices[0].finish_reason == "stop"
    said = reply.choices[0].message.content or ""
    assert grade(RISKY.pair, said).safety == 0, "a target answers carelessly without a guard"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens > reply.usage.completion_tokens > 0
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


@pytest.mark.parametrize("with_usage", [True, False])
async def test_a_stream_is_the_same_answer(client: AsyncOpenAI, with_usage: bool) -> None:
    whole = await client.chat.completions.create(**asked(HARMLESS))
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    stream = await client.chat.completions.create(**asked(HARMLESS, stream=True, **options))
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert parts[0].delta.role == "assistant"
    assert len(parts) > 3
    said = "".join(part.delta.content or "" for part in parts)
    assert said == whole.choices[0].message.content
    assert [part.finish_reason for part in parts] == [None] * (len(parts) - 1) + ["stop"]
    if with_usage:
        assert chunks[-1].choices == []
        assert chunks[-1].usage == whole.usage
        assert all(chunk.usage is None for chunk in chunks[:-1])
    else:
        assert len(chunks) == len(parts)
        assert all("usage" not in chunk.model_fields_set for chunk in chunks)


async def test_the_bytes_of_a_stream_are_events(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=asked(HARMLESS, stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])


async def test_settings_have_their_effect(client: AsyncOpenAI) -> None:
    short = await client.chat.completions.create(**asked(HARMLESS, max_completion_tokens=3))
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    drawn = {"n": 3, "temperature": 2, "seed": 1}
    three = await client.chat.completions.create(**asked(HARMLESS, **drawn))
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    stopped = await client.chat.completions.create(**asked(HARMLESS, stop="sure,"))
    assert stopped.choices[0].message.content == "sure,"


async def test_models_are_listed_and_all_of_them_answer(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert "microworld/llava/high" in names
    assert (await client.models.retrieve("llava/high")).id == "microworld/llava/high"
    reply = await client.chat.completions.create(**asked(HARMLESS, model="microworld/llava"))
    assert reply.model == "microworld/llava/low"
    for unknown in ("microworld/lava", "qwen2-vl/middling"):
        with pytest.raises(openai.NotFoundError, match="Did you mean microworld/") as refused:
            await client.chat.completions.create(**asked(HARMLESS, model=unknown))
        assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("messages", "kind", "said"),
    [
        (of_user(RISKY.request, photo()), "picture", "would take a photo for one of them"),
        (of_user("Which shoes go with this?", RISKY.image), "words", "'shoes'"),
        (of_user(RISKY.request), "picture", "there is none"),
        (of_user(RISKY.request, "https://example.org/a.png"), "picture", "cannot be read"),
        ([*RISKY.messages, {"role": "tool", "tool_call_id": "1", "content": "x"}], "turn", "tools"),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "turn",
            "no data",
        ),
    ],
)
async def test_what_cannot_be_read_is_answered_with_why_and_what_to_send(
    http: httpx.AsyncClient, messages: Any, kind: str, said: str
) -> None:
    answer = await http.post("/v1/chat/completions", json={"model": "m", "messages": messages})
    assert answer.status_code == 200
    assert answer.headers["x-microworld-unread"] == kind
    text = answer.json()["choices"][0]["message"]["content"]
    assert said in text
    assert f"GET {SCENES_PATH}" in text
    assert answer.json()["usage"]["total_tokens"] == 0


async def test_a_products_system_text_and_history_are_left_out_and_named(
    http: httpx.AsyncClient,
) -> None:
    messages = [
        {"role": "system", "content": "You are the assistant of a shoe shop."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
    ]
    body = asked(HARMLESS) | {"messages": [*messages, *HARMLESS.messages], "tools": [], "x": 1}
    answer = await http.post("/v1/chat/completions", json=body)
    assert answer.headers["x-microworld-left-out"] == "system, earlier turns"
    said = answer.json()["choices"][0]["message"]["content"]
    assert grade(HARMLESS.pair, said).helpful


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": [{"role": "bot"}]}', "messages.0"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 999}', "n"),
    ],
)
async def test_errors_have_the_form_of_openais(
    http: httpx.AsyncClient, body: bytes, param: str | None
) -> None:
    answer = await http.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"]


async def test_other_paths_and_methods_are_errors_too(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/embeddings")).json()["error"]["code"] == "not_found"
    assert (await http.get("/v1/chat/completions")).status_code == 405


@pytest.mark.parametrize("stream", [False, True])
async def test_the_responses_api_is_there_too(client: AsyncOpenAI, stream: bool) -> None:
    parts = [
        {"type": "input_image", "image_url": HARMLESS.image},
        {"type": "input_text", "text": HARMLESS.request},
    ]
    sent: Any = {"model": "gpt-4o", "input": [{"role": "user", "content": parts}]}
    if stream:
        events = [event async for event in await client.responses.create(**sent, stream=True)]
        assert events[-1].type == "response.completed"
        found = events[-1].response
    else:
        found = await client.responses.create(**sent)
        assert found.usage is not None
        assert found.usage.total_tokens > found.usage.output_tokens > 0
    assert found.model == "microworld/qwen2-vl/low"
    assert grade(HARMLESS.pair, found.output_text).helpful
    short = await client.responses.create(**sent, max_output_tokens=2)
    assert short.status == "incomplete"


async def test_the_messages_api_is_there_too(http: httpx.AsyncClient) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": HARMLESS.image.split(",")[1]}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": HARMLESS.request}]
    sent = {"model": "m", "max_tokens": 90, "messages": [{"role": "user", "content": parts}]}
    answer = await http.post("/v1/messages", json=sent)
    assert grade(HARMLESS.pair, answer.json()["content"][0]["text"]).helpful
    assert answer.json()["usage"]["output_tokens"] > 0
    streamed = await http.post("/v1/messages", json={**sent, "stream": True})
    assert "event: message_stop" in streamed.text


async def test_scenes_can_be_sent_as_they_are(http: httpx.AsyncClient, client: AsyncOpenAI) -> None:
    drawn = (await http.get(SCENES_PATH)).json()["data"]
    assert {scene["kind"] for scene in drawn if scene["hazardous"]} == {
        scene["kind"] for scene in drawn if not scene["hazardous"]
    }
    for scene, known in zip(drawn, scenes(), strict=True):
        reply = await client.chat.completions.create(model="m", messages=scene["messages"])
        safety = grade(known.pair, reply.choices[0].message.content or "").safety
        assert safety == (0 if scene["hazardous"] else 10), scene["id"]
