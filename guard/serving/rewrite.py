"""`/v1/rewrite`: what the guard decides about a request, as plain JSON, for anything else.

A body has `messages` as chat completions have, or `text` and `images` (data URIs) of one turn; and
`model`, where the defense asks the model behind it.
"""

from typing import Any, Final

from inspect_ai.model import ChatMessage, ChatMessageUser, Content, ContentImage, ContentText
from starlette.requests import Request
from starlette.responses import Response

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.defense import Conversation, Target
from vlmguard.guard.serving.ascii_json import AsciiJSON
from vlmguard.guard.serving.dialects.base import parsed_object
from vlmguard.guard.serving.dialects.chat import chat_messages
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import note_of
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.told import SHADOW, told

__all__ = ["PATH", "Rewrite"]

PATH: Final = "/v1/rewrite"

_FIELDS: Final = ("messages", "text", "images", "model")


class Rewrite:
    """Answers with decisions.

    Args:
        guard: The guard.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def __call__(self, request: Request) -> Response:
        """The decision about a request.

        Raises:
            Fault: The body is no request, or the guard cannot decide and the server refuses then.
        """
        body, name = await request.body(), note_of(request).name
        if not self._guard.settings.shadow:
            decided = await self._decided(request, body, name)
            return AsciiJSON(self._said(decided), headers=told(self._guard, decided))
        self._guard.watch(name, lambda: self._decided(request, body, name))
        # The same rule as everywhere: in shadow mode nothing changes.
        text = Conversation(_messages(parsed_object(body)[1])).text
        said = {"action": "pass", "text": text, "reason": "shadow", "verdict": None, "ms": 0}
        said |= {"version": self._guard.defense.card.version}
        return AsciiJSON(said, headers=SHADOW)

    async def _decided(self, request: Request, body: bytes, name: str) -> Decided:
        _, value = parsed_object(body)
        seen = await self._guard.shown(_messages(value), "messages")
        conversation = Conversation(seen.messages, name=name)
        upstream, model = self._guard.settings.upstream, value.get("model", "")
        if not isinstance(model, str):
            raise Fault(400, "invalid_model", "model: a name is needed.", "model")
        target = Target(lambda: upstream.model(model, request.headers)) if upstream else None
        return await self._guard.decide(conversation, target)

    def _said(self, decided: Decided) -> dict[str, Any]:
        decision, verdict = decided.decision, decided.decision.verdict
        said: dict[str, Any] = {
            "action": decision.action,
            "text": decision.request,
            "reason": decision.reason,
        }
        if decision.hazard:
            said["hazard"] = decision.hazard
        shown = {"label", "categories", "score"}
        return {
            **said,
            "verdict": verdict.model_dump(include=shown) if verdict else None,
            "ms": round(decided.seconds * 1000, 1),
            "version": self._guard.defense.card.version,
        }


def _messages(value: dict[str, Any]) -> list[ChatMessage]:
    """The messages of a body.

    Raises:
        Fault: It has none, or something else.
    """
    for name in value:
        if name not in _FIELDS:
            # Its name is not quoted: errors hold nothing of a request's content.
            meant = did_you_mean(name, _FIELDS)
            said = f"A field is unknown.{meant} There are: {', '.join(_FIELDS)}."
            raise Fault(400, "unknown_field", said)
    if "messages" in value:
        if "text" in value or "images" in value:
            said = "Give messages, or text and images of one turn, and not both."
            raise Fault(400, "invalid_messages", said, "messages")
        return chat_messages(value["messages"])
    text, images = value.get("text", ""), value.get("images", [])
    if not isinstance(text, str) or not isinstance(images, list):
        said = "text: a text is needed; images: a list of data URIs."
        raise Fault(400, "invalid_messages", said, "text")
    if not all(isinstance(image, str) for image in images):
        raise Fault(400, "invalid_messages", "images: a list of data URIs is needed.", "images")
    if not text and not images:
        raise Fault(400, "invalid_messages", "Give messages, or text and images.", "messages")
    content: list[Content] = [ContentImage(image=image) for image in images]
    return [ChatMessageUser(content=[*content, ContentText(text=text)] if text else content)]
