"""The server's ways to put a defense in front of a model: the proxy, and a gateway's hook.

A new way joins the contract test with one function in `SERVERS`; `support.carriers` runs it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import httpx
import pytest
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.rows import messages_in, rows_of
from support.scripted import Scripted
from support.serving import ADDRESS, CHAT_PATH

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Defense, Outcome, Target, refusal
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.front import Note
from vlmguard.guard.serving.gateway import GATEWAY_PATH
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

__all__ = ["NOT_SERVED", "SERVERS", "Served", "Way", "app_of", "serve_all"]


class Served:
    """What a way makes of one conversation.

    Attributes:
        decision: The last decision.
        record: What was noted.
        output: What the user gets.
        heard: The messages of the model's first answer; None if it was not asked.
        calls: The requests that each model got.
    """

    def __init__(self) -> None:
        self.decision: Decision | None = None
        self.record = DefenseRecord()
        self.output: ModelOutput | None = None
        self.heard: list[ChatMessage] | None = None
        self.calls: list[tuple[str, list[ChatMessage]]] = []


Model = Callable[[Sequence[dict[str, Any]], Mapping[str, Any]], ModelOutput]
"""The model: answers rows under the other fields of a body."""

Way = Callable[[httpx.AsyncClient, Model, list[dict[str, Any]], str], Awaitable[ModelOutput]]
"""Sends rows through a server, under the name of a call, and gives what the user gets."""


async def by_proxy(
    client: httpx.AsyncClient, model: Model, rows: list[dict[str, Any]], name: str
) -> ModelOutput:
    """The base URL of a product is the server's."""
    response = await client.post(CHAT_PATH, json={"model": "target", "messages": rows})
    assert response.status_code == 200, response.text
    output = CHAT.output(response.json())
    return refusal("target") if response.headers["x-vlmguard-action"] == "block" else output


async def by_gateway(
    client: httpx.AsyncClient, model: Model, rows: list[dict[str, Any]], name: str
) -> ModelOutput:
    """A gateway asks before and after the model, and applies what it is told.

    Where it is told to block, its client gets an error, which stands here as our refusal.
    """

    async def told(**shown: Any) -> dict[str, Any]:
        payload = {"litellm_call_id": name, "litellm_version": "1.110.2", "model": "target"}
        response = await client.post(GATEWAY_PATH, json={**payload, **shown})
        assert response.status_code == 200, response.text
        return dict(response.json())

    before = await told(input_type="request", structured_messages=rows, texts=["?"])
    if before["action"] == "BLOCKED":
        return refusal("target")
    output = model(before.get("structured_messages", rows), {})
    after = await told(input_type="response", texts=[output.completion])
    if after["action"] == "BLOCKED":
        return refusal("target")
    return ModelOutput.from_content("target", after["texts"][0]) if "texts" in after else output


SERVERS: Final[dict[str, Way]] = {"proxy": by_proxy, "gateway": by_gateway}

_ASKS: Final = "asks the model itself"
NOT_SERVED: Final[dict[tuple[str, str], str]] = {
    ("proxy", "coca"): "whose scores it can combine",
    ("gateway", "coca"): "whose scores it can combine",
    ("gateway", "ecso"): _ASKS,
    ("gateway", "eta"): _ASKS,
    # With `on_flag=safe_prompt`, as its script has it; with `refuse` it is served.
    ("gateway", "guard_model"): _ASKS,
    ("gateway", "jailguard"): _ASKS,
    ("gateway", "smooth"): _ASKS,
}
"""Why a server does not start with a defense, in words of its error; all others are served."""


def app_of(
    way: str,
    defense: str,
    options: Mapping[str, Any],
    roles: Mapping[str, Scripted],
    upstream: Upstream,
) -> Starlette:
    """The server of a way; that of a gateway alone has no model behind it."""
    bound = {name: model.model for name, model in roles.items()}
    behind = upstream if way == "proxy" else None
    return make_app(
        Settings(defense, options, bound, behind, on_failure="original", guard_timeout=60.0)
    )


def serve_all(
    patch: pytest.MonkeyPatch,
    way: str,
    defense: str,
    options: Mapping[str, Any],
    models: Mapping[str, Scripted],
    conversations: Mapping[str, Sequence[ChatMessage]],
) -> dict[str, Served]:
    """Send conversations through a server, one after another.

    Args:
        patch: Notes decisions, which no server gives away whole.
        way: A name in `SERVERS`.
        defense: Name of the defense.
        options: Its options.
        models: The models by role; `target` is the guarded one.
        conversations: The conversations by name.
    """
    served: dict[str, Served] = {}
    roles = dict(models)
    target = roles.pop("target")

    def answer(rows: Sequence[dict[str, Any]], fields: Mapping[str, Any]) -> ModelOutput:
        one = list(served.values())[-1]
        messages = messages_in(rows)
        one.heard = one.heard or messages
        config = GenerateConfig(seed=fields.get("seed"), max_tokens=fields.get("max_tokens"))
        return target.reply(messages, [], "auto", config)

    async def chat(request: Request) -> Response:
        body = await request.json()
        output = answer(body["messages"], body)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        said = CHAT.answer(CHAT.read(await request.body()), output)
        return JSONResponse({**said, "usage": usage})

    _note(patch, served)
    upstream = Upstream(
        ADDRESS,
        transport=httpx.ASGITransport(Starlette(routes=[Route(CHAT_PATH, chat, methods=["POST"])])),
        questions=target.model,
    )
    app = app_of(way, defense, options, roles, upstream)

    async def send_all() -> None:
        async with app.router.lifespan_context(app):
            inside = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=inside, base_url="http://guard") as client:
                for name, messages in conversations.items():
                    served[name] = one = Served()
                    before = {who: len(model.calls) for who, model in models.items()}
                    one.output = await SERVERS[way](client, answer, rows_of(messages), name)
                    one.calls = [
                        (who, call.messages)
                        for who, model in models.items()
                        for call in model.calls[before[who] :]
                    ]

    asyncio.run(send_all())
    return served


def _note(patch: pytest.MonkeyPatch, served: dict[str, Served]) -> None:
    """Note decisions and records, and name requests as samples: some defenses draw by the name."""
    decide, check = Defense._decide, Defense.check

    async def deciding(
        self: Defense, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        decision = await decide(self, conversation, record, target)
        one = list(served.values())[-1]
        one.decision, one.record = decision, record
        return decision

    async def checking(
        self: Defense,
        conversation: Conversation,
        decision: Decision,
        output: ModelOutput,
        target: Target,
        record: DefenseRecord,
    ) -> Outcome:
        outcome = await check(self, conversation, decision, output, target, record)
        one = list(served.values())[-1]
        one.decision, one.record = outcome.decision, record
        return outcome

    patch.setattr(Defense, "_decide", deciding)
    patch.setattr(Defense, "check", checking)
    patch.setattr(Note, "name", property(lambda self: f"Sample {list(served)[-1]}"))
