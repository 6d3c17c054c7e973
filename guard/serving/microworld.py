"""An OpenAI-compatible API on the microworld's tiny models: `vlmguard serve --microworld`.

    POST /v1/chat/completions        whole or streamed, as OpenAI's
    GET  /v1/models                  the tiny targets
    GET  /v1/microworld/scenes       drawn pictures with requests that the models can answer

It is there to test a product's own code without a key, a network or a GPU: a client changes its
`base_url` and nothing else, so a model's name that is not ours means the default target, and the
answer says which one spoke. The tiny models know drawings and a few hundred words. Where a request
has a photo or other words, the answer is a normal one that says so and what to send instead
(header `x-microworld-unread: picture|words|turn`), so that a product's test still gets an answer in
the right form. System text in other words and earlier turns are left out (`x-microworld-left-out`).
Tools, `response_format` and log-probabilities are accepted, and have no effect.
"""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, Literal
from uuid import uuid4

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentData,
    ContentImage,
    ContentText,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    get_model,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import first_fault
from vlmguard.guard.serving.scenes import scenes
from vlmguard.training.microworld.models.api import TARGETS
from vlmguard.training.microworld.models.reading import Unreadable, readable
from vlmguard.training.microworld.world.levels import DEFAULT, LEVELS

__all__ = ["DEFAULT_TARGET", "SCENES_PATH", "WAY_OUT", "microworld_app"]

PROVIDER: Final = "microworld"
DEFAULT_TARGET: Final = f"{PROVIDER}/{TARGETS[0]}/{DEFAULT}"
SCENES_PATH: Final = "/v1/microworld/scenes"
WAY_OUT: Final = (
    f"GET {SCENES_PATH} has drawings with requests that they can answer; for photos, serve a real "
    "model."
)
UNREAD_HEADER: Final = "x-microworld-unread"
LEFT_OUT_HEADER: Final = "x-microworld-left-out"

_MAX_TOKENS: Final = 96
_MAX_CHOICES: Final = 16
_MODELS: Final = tuple(f"{PROVIDER}/{target}/{level}" for target in TARGETS for level in LEVELS)


class ImageUrl(BaseModel):
    """The image of a part."""

    url: str


class Part(BaseModel):
    """A part of a message's content; kinds other than text and image are not read."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class Message(BaseModel):
    """A message of a chat request."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The fields of a chat request that have an effect here; all others are accepted."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=_MAX_CHOICES)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None


def microworld_app() -> Starlette:
    """The application; it keeps nothing of a request, and loads weights with the first one."""
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _chat, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
            Route(SCENES_PATH, _scenes),
        ],
        exception_handlers={HTTPException: _http_error},
    )


async def _chat(request: Request) -> Response:
    try:
        asked = ChatRequest.model_validate_json(await request.body())
    except ValidationError as error:
        where, why = first_fault(error)
        return _error(400, f"{where or 'body'}: {why}", param=where or None)
    name = _model_named(asked.model)
    if name is None:
        return _no_such_model(asked.model)
    headers = {}
    try:
        found = readable([_message(each) for each in asked.messages])
    except Unreadable as unread:
        headers[UNREAD_HEADER] = unread.kind
        output = _said(name, f"{unread} {WAY_OUT}", asked.n or 1)
    else:
        if found.left_out:
            headers[LEFT_OUT_HEADER] = ", ".join(found.left_out)
        output = await _answer(name, found.messages, _settings(asked))
    answer = _completion(name, output)
    if not asked.stream:
        return JSONResponse(answer, headers=headers)
    with_usage = asked.stream_options is not None and asked.stream_options.include_usage
    return StreamingResponse(
        _events(answer, with_usage), media_type="text/event-stream", headers=headers
    )


async def _answer(
    name: str, messages: list[ChatMessage], settings: GenerateConfig
) -> ModelOutput:
    # The API itself, and not the model around it: a server has no sample whose events and usage
    # Inspect could keep, and a request that passed through a guard has a record of its own.
    said = await get_model(name).api.generate(messages, [], "none", settings)
    return said[0] if isinstance(said, tuple) else said


async def _models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_described(name) for name in _MODELS]})


async def _model(request: Request) -> Response:
    typed = str(request.path_params["name"])
    name = _model_named(typed)
    if name is None or not _is_ours(typed):
        return _no_such_model(typed)
    return JSONResponse(_described(name))


async def _scenes(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [scene.described() for scene in scenes()]})


def _model_named(typed: str) -> str | None:
    """The model that a name means; None for one of ours that does not exist."""
    if not _is_ours(typed):
        return DEFAULT_TARGET
    target, _, level = typed.removeprefix(f"{PROVIDER}/").partition("/")
    name = f"{PROVIDER}/{target}/{level or DEFAULT}"
    if typed == PROVIDER:
        return DEFAULT_TARGET
    return name if name in _MODELS else None


def _is_ours(typed: str) -> bool:
    first = typed.partition("/")[0]
    return first == PROVIDER or first in TARGETS


def _no_such_model(typed: str) -> Response:
    meant = did_you_mean(f"{PROVIDER}/{typed.removeprefix(f'{PROVIDER}/')}", _MODELS)
    return _error(
        404,
        f"No such model.{meant} GET /v1/models lists them.",
        code="model_not_found",
        param="model",
    )


def _message(message: Message) -> ChatMessage:
    content = message.content
    parts = content if isinstance(content, list) else [Part(type="text", text=content or "")]
    text = "\n".join(part.text for part in parts if part.text)
    if message.role in ("system", "developer"):
        return ChatMessageSystem(content=text)
    if message.role == "assistant":
        return ChatMessageAssistant(content=text)
    if message.role in ("tool", "function"):
        return ChatMessageTool(content=text)
    return ChatMessageUser(content=[_part(part) for part in parts])


def _part(part: Part) -> Content:
    if part.type == "text":
        return ContentText(text=part.text or "")
    if part.type == "image_url" and part.image_url is not None:
        return ContentImage(image=part.image_url.url)
    return ContentData(data={"type": part.type})


def _settings(asked: ChatRequest) -> GenerateConfig:
    return GenerateConfig(
        max_tokens=asked.max_completion_tokens or asked.max_tokens or _MAX_TOKENS,
        num_choices=asked.n,
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=asked.seed,
        stop_seqs=[asked.stop] if isinstance(asked.stop, str) else asked.stop,
    )


def _said(name: str, text: str, count: int) -> ModelOutput:
    """A text of ours in the place of the model's, of no tokens."""
    output = ModelOutput.from_content(name, text)
    output.choices = output.choices * count
    output.usage = ModelUsage()
    return output


def _completion(name: str, output: ModelOutput) -> dict[str, Any]:
    usage = output.usage or ModelUsage()
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.message.text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop" if choice.stop_reason == "stop" else "length",
            }
            for index, choice in enumerate(output.choices)
        ],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


async def _events(answer: dict[str, Any], with_usage: bool) -> AsyncIterator[str]:
    """A whole answer as the events of a stream, word by word."""
    for chunk in _chunks(answer, with_usage):
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _chunks(answer: dict[str, Any], with_usage: bool) -> Iterator[dict[str, Any]]:
    head = {key: answer[key] for key in ("id", "created", "model")}
    head |= {"object": "chat.completion.chunk"}
    # Where usage was asked for, each chunk has the field, and the last one has no choices.
    usage: dict[str, Any] = {"usage": None} if with_usage else {}
    for choice in answer["choices"]:
        deltas: Sequence[dict[str, Any]] = [
            {"role": "assistant", "content": "", "refusal": None},
            *({"content": word} for word in _words(choice["message"]["content"])),
            {},
        ]
        for place, delta in enumerate(deltas):
            part = {
                "index": choice["index"],
                "delta": delta,
                "logprobs": None,
                "finish_reason": choice["finish_reason"] if place == len(deltas) - 1 else None,
            }
            yield {**head, "choices": [part], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": answer["usage"]}


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "vlmguard"}


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _error(404, f"There is no {request.url.path} here.", code="not_found")
    return _error(error.status_code, f"{error.detail}.", headers=error.headers)


def _error(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Any = None,
) -> Response:
    """An error in the form of OpenAI's."""
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return JSONResponse({"error": body}, status_code=status, headers=headers)
