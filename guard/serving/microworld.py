"""An OpenAI-compatible API on the microworld's tiny models: `vlmguard serve --microworld`.

    POST /v1/chat/completions        whole or streamed, as OpenAI's
    POST /v1/responses, /v1/messages the same; their streams count no tokens
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
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import httpx
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import first_fault
from vlmguard.guard.serving.ascii_json import AsciiJSON
from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.dialects.messages import MESSAGES
from vlmguard.guard.serving.dialects.responses import RESPONSES
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.scenes import scenes
from vlmguard.guard.serving.upstream import Upstream
from vlmguard.training.microworld.models.api import REWRITERS, TARGETS
from vlmguard.training.microworld.models.reading import Unreadable, readable
from vlmguard.training.microworld.use.flags import models_of, solver_options
from vlmguard.training.microworld.world.levels import DEFAULT, LEVELS

__all__ = [
    "DEFAULT_TARGET",
    "MODELS",
    "PROVIDER",
    "SCENES_PATH",
    "WAY_OUT",
    "MicroworldUpstream",
    "microworld_app",
    "quiet_loading",
    "scenes_route",
    "tiny_models",
]

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
_EVENTS: Final = "text/event-stream"
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
_MAX_CHOICES: Final = 16
MODELS: Final = tuple(f"{PROVIDER}/{target}/{level}" for target in TARGETS for level in LEVELS)


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool = False


class Fields(BaseModel):
    """The fields of a chat request, besides its messages, that have an effect here."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=_MAX_CHOICES)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None


class MicroworldUpstream(Upstream):
    """The tiny models as the model behind a guard, in this process."""

    def __init__(self) -> None:
        super().__init__("http://microworld/v1", transport=httpx.ASGITransport(microworld_app()))

    def model(self, name: str, headers: Mapping[str, str]) -> Model:
        """The tiny target that a name means, for a defense's own questions.

        Args:
            name: Its name in requests.
            headers: Not used: there is no key.
        """
        return get_model(_model_named(name), strict=True)


def tiny_models(defense: str) -> tuple[dict[str, Model], dict[str, Any]]:
    """The tiny models that a defense asks, and its options for them.

    Args:
        defense: Its name.

    Returns:
        Models by role, which refuse what they cannot read, and options: the folders of auxiliary
        models with their thresholds. Both are empty for a defense without any.

    Raises:
        UserError: As for `solver_options`.
    """
    names = [name for name in models_of(defense) if name in REWRITERS]
    models = {name: get_model(f"{PROVIDER}/{name}", strict=True) for name in names}
    return models, dict(solver_options(defense))


def quiet_loading() -> None:
    """Have no progress bars in the terminal while weights are loaded."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def microworld_app() -> Starlette:
    """The application; it keeps nothing of a request, and loads weights with the first one."""
    return Starlette(
        routes=[
            Route(CHAT.path, _chat, methods=["POST"]),
            _others(RESPONSES),
            _others(MESSAGES),
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
            scenes_route(),
        ],
        exception_handlers={HTTPException: _told, Fault: _told},
    )


def scenes_route() -> Route:
    """The route of the drawn scenes."""
    return Route(SCENES_PATH, _scenes)


@dataclass(frozen=True)
class Replied:
    """A request, with what a tiny model said to it."""

    asked: Asked
    fields: Fields
    output: ModelOutput
    headers: dict[str, str]


async def _replied(dialect: Dialect, request: Request) -> Replied:
    asked = dialect.read(await request.body())
    try:
        fields = Fields.model_validate(asked.value)
    except ValidationError as error:
        where, why = first_fault(error)
        raise Fault(400, "invalid_value", f"{where}: {why}.", where) from error
    name = _model_named(fields.model)
    headers = {}
    try:
        found = readable(asked.messages)
    except Unreadable as unread:
        headers[UNREAD_HEADER] = unread.kind
        output = _said(name, f"{unread} {WAY_OUT}", fields.n or 1)
    else:
        if found.left_out:
            headers[LEFT_OUT_HEADER] = ", ".join(found.left_out)
        output = await _answer(name, found.messages, _settings(fields))
    # The answer says who spoke, whoever was asked for.
    return Replied(replace(asked, model=name), fields, output, headers)


async def _chat(request: Request) -> Response:
    replied = await _replied(CHAT, request)
    answer, fields = _completion(replied.asked.model, replied.output), replied.fields
    if not fields.stream:
        return AsciiJSON(answer, headers=replied.headers)
    with_usage = fields.stream_options is not None and fields.stream_options.include_usage
    return StreamingResponse(
        _events(answer, with_usage), media_type=_EVENTS, headers=replied.headers
    )


def _others(dialect: Dialect) -> Route:
    """The route of another API, in the words that a guard's own answers have there."""

    async def reply(request: Request) -> Response:
        replied = await _replied(dialect, request)
        asked, output = replied.asked, replied.output
        if asked.stream:
            events = dialect.events(asked, output)
            return StreamingResponse(events, media_type=_EVENTS, headers=replied.headers)
        answer, usage = dialect.answer(asked, output), output.usage or ModelUsage()
        told = usage.model_dump()
        counts = {name: told[name] for name in _COUNTS if name in answer["usage"]}
        answer["usage"] = {**answer["usage"], **counts}
        return AsciiJSON(answer, headers=replied.headers)

    return Route(dialect.path, reply, methods=["POST"])


async def _answer(name: str, messages: list[ChatMessage], settings: GenerateConfig) -> ModelOutput:
    # The API itself, and not the model around it: a server has no sample whose events and usage
    # Inspect could keep, and a request that passed through a guard has a record of its own.
    said = await get_model(name).api.generate(messages, [], "none", settings)
    output = said[0] if isinstance(said, tuple) else said
    if isinstance(output, Exception):
        raise output
    return output


async def _models(request: Request) -> Response:
    return AsciiJSON({"object": "list", "data": [_described(name) for name in MODELS]})


async def _model(request: Request) -> Response:
    typed = str(request.path_params["name"])
    if not _is_ours(typed):
        raise _no_such_model(typed)
    return AsciiJSON(_described(_model_named(typed)))


async def _scenes(request: Request) -> Response:
    return AsciiJSON({"object": "list", "data": [scene.described() for scene in scenes()]})


def _model_named(typed: str) -> str:
    """The model that a name means.

    Raises:
        Fault: It is one of ours, and does not exist.
    """
    if not _is_ours(typed) or typed == PROVIDER:
        return DEFAULT_TARGET
    target, _, level = typed.removeprefix(f"{PROVIDER}/").partition("/")
    name = f"{PROVIDER}/{target}/{level or DEFAULT}"
    if name not in MODELS:
        raise _no_such_model(typed)
    return name


def _is_ours(typed: str) -> bool:
    first = typed.partition("/")[0]
    return first == PROVIDER or first in TARGETS


def _no_such_model(typed: str) -> Fault:
    meant = did_you_mean(f"{PROVIDER}/{typed.removeprefix(f'{PROVIDER}/')}", MODELS)
    said = f"No such model.{meant} GET /v1/models lists them."
    return Fault(404, "model_not_found", said, "model")


def _settings(asked: Fields) -> GenerateConfig:
    limits = (asked.max_completion_tokens, asked.max_output_tokens, asked.max_tokens)
    return GenerateConfig(
        max_tokens=next((each for each in limits if each is not None), _MAX_TOKENS),
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


async def _told(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = Fault(
            error.status_code,
            "not_found" if error.status_code == 404 else "invalid_request",
            f"{request.method} {request.url.path}: {error.detail}.",
            headers=dict(error.headers or {}),
        )
    assert isinstance(error, Fault)
    return AsciiJSON(error.body(), error.status, headers=error.headers)
