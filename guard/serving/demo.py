"""`vlmguard serve --demo`: a page at `/demo` that shows one request answered twice.

It has no external resource, no inline script or style, and a policy that forbids both. It asks
`/demo/try`, which is for this page alone: a body must be JSON, so that no form of another site can
spend the server's key.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vlmguard.guard.defense import Conversation, Outcome, Target, refusal
from vlmguard.guard.serving.ascii_json import AsciiJSON
from vlmguard.guard.serving.comparing import Compared, compare, described
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import note_of
from vlmguard.guard.serving.guarding import Guard
from vlmguard.guard.serving.microworld import MODELS
from vlmguard.guard.serving.scenes import scenes
from vlmguard.guard.serving.upstream import Upstream
from vlmguard.guard.text.outputs import Output
from vlmguard.results.sanitize import clean
from vlmguard.training.microworld.models.reading import Unreadable, readable

__all__ = ["DEMO_PATH", "demo_routes"]

DEMO_PATH: Final = "/demo"

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_FILES: Final = {"demo.css": "text/css", "demo.js": "text/javascript"}
_JSON: Final = "application/json"


def demo_routes(guard: Guard, upstream: Upstream) -> list[Route]:
    """The routes of the page.

    Args:
        guard: The guard.
        upstream: The model behind it.
    """
    return [
        Route(DEMO_PATH, Demo(guard, upstream).page),
        Route(f"{DEMO_PATH}/try", Demo(guard, upstream).tried, methods=["POST"]),
        *(Route(f"{DEMO_PATH}/{name}", _file) for name in _FILES),
    ]


class Demo:
    """The page and what it asks.

    Args:
        guard: The guard.
        upstream: The model behind it.
    """

    def __init__(self, guard: Guard, upstream: Upstream) -> None:
        self._guard = guard
        self._upstream = upstream

    async def page(self, request: Request) -> Response:
        """The page."""
        card, tiny = self._guard.defense.card, self._guard.settings.microworld
        html = _templates().get_template("demo.html")
        text = html.render(
            defense=card.title,
            summary=card.summary,
            scenes=scenes() if tiny else (),
            models=MODELS if tiny else (),
        )
        return Response(text, media_type="text/html", headers=HEADERS)

    async def tried(self, request: Request) -> Response:
        """A request answered twice.

        Raises:
            Fault: The body is no request of the page, the tiny models cannot read it, or a model
                does not answer.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip() != _JSON:
            raise Fault(415, "unsupported_media_type", f"The page sends {_JSON}.")
        asked = CHAT.read(_chat_body(await request.body()))
        seen = await self._guard.shown(asked.messages, CHAT.entries)
        if self._guard.settings.microworld:
            try:
                readable(seen.messages)
            except Unreadable as unread:
                said = f"{unread} Choose one of the drawn scenes."
                raise Fault(400, "unreadable", said) from unread

        async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
            body = CHAT.written(asked, seen.as_sent(messages), config)
            headers = self._upstream.headers([(b"content-type", _JSON.encode())])
            path = CHAT.path.removeprefix("/v1")
            async with self._upstream.open("POST", path, headers, body) as response:
                raw = await response.aread()
            if response.status_code != 200:
                raise _refused(response.status_code, raw)
            return CHAT.output(json.loads(raw))

        target = Target(self._upstream.model(asked.model, {}), answer)
        conversation = Conversation(seen.messages, name=note_of(request).name)

        async def guarded() -> Outcome:
            return await self._guarded(conversation, target)

        roles = self._guard.settings.roles
        compared = await compare(conversation, target, roles, guarded)
        return AsciiJSON(_told(compared, self._guard.defense.card.title), headers=HEADERS)

    async def _guarded(self, conversation: Conversation, target: Target) -> Outcome:
        """What the proxy does too: decide, let the model answer, look at the answer."""
        guard = self._guard
        decided = await guard.decide(conversation, target)
        if decided.decision.action == "block":
            output = refusal(target.name)
        else:
            settings = guard.defense.answer_settings(decided.decision, target)
            output = await target(list(decided.decision.messages), settings)
            if guard.defense.needs_output:
                decided, output = await guard.check(conversation, decided, output, target)
        return Outcome(decided.decision, output, decided.record)


async def _file(request: Request) -> Response:
    name = request.url.path.rpartition("/")[2]
    text = (resources.files(__name__.rpartition(".")[0]) / "templates" / name).read_text(
        encoding="utf-8"
    )
    return Response(text, media_type=_FILES[name], headers=HEADERS)


def _chat_body(body: bytes) -> bytes:
    """The body of a chat request that the page's own stands for.

    Raises:
        Fault: It is none of the page's.
    """
    try:
        said = json.loads(body)
        model, request, image = said["model"], said["request"], said["image"]
        known = all(isinstance(each, str) for each in (model, request, image or ""))
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise Fault(400, "invalid_request", "The page sends model, image and request.")
    parts: list[dict[str, Any]] = [{"type": "text", "text": request}]
    if image is not None:
        parts.insert(0, {"type": "image_url", "image_url": {"url": image}})
    return json.dumps({"model": model, "messages": [{"role": "user", "content": parts}]}).encode()


def _refused(status: int, raw: bytes) -> Fault:
    """The upstream's error, in its own words."""
    try:
        said = str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = "it gives no reason"
    way_out = (
        " Start the server with --upstream-key-env NAME, the variable that holds the key for it."
        if status == 401
        else ""
    )
    message = f"The model behind the guard answered {status}: {said}{way_out}"
    return Fault(502, "upstream_error", message)


def _told(compared: Compared, defense: str) -> dict[str, Any]:
    told = {
        "did": f"{defense} {compared.did}",
        "cost": compared.cost,
        "request": compared.request,
        "reasoning": compared.reasoning,
        "sent": "" if compared.sent == compared.request else compared.sent,
    }
    cleaned: dict[str, Any] = {name: clean(text) for name, text in told.items()}
    return cleaned | {
        "undefended": _answer(compared.undefended),
        "guarded": _answer(compared.guarded),
    }


def _answer(output: Output) -> dict[str, str]:
    return {"text": clean(output.text), "remark": described(output)}


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("vlmguard.guard.serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
