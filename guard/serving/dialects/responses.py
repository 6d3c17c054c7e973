"""OpenAI's Responses API, `/v1/responses`.

The system text is the field `instructions`, and a defense's own goes there, before the client's.
Each item of `input` is one message: a call is the assistant's, its output is a tool turn. Items
that only the upstream can read (a reference to a stored one) are taken for the user's: nobody
looked at them, which is said, or is the failure `unread_content` where they stand last. Earlier
turns that the upstream keeps (`previous_response_id`) are unknown here, which is said too.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.tool import ToolCall

from vlmguard.guard.serving.dialects.base import Asked, parsed_object
from vlmguard.guard.serving.dialects.reading import (
    content_of,
    settings_of,
    text_part,
    thought,
    tool_call,
    unread,
    unreadable,
    usage_of,
    user_content,
)
from vlmguard.guard.serving.dialects.response_answers import INCOMPLETE, ResponseAnswers
from vlmguard.guard.serving.dialects.splicing import (
    Parts,
    apart,
    with_members,
    with_messages,
    with_settings,
    with_system,
    written_message,
)
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.json_text import quoted

__all__ = ["RESPONSES", "Responses"]

ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt")
"""Fields that name turns which only the upstream has."""

SETTINGS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
}
"""Fields of the body, by Inspect's name."""

_ROLES: Final = ("user", "system", "developer", "assistant")
# Items beside those that end in `_call` in which no user speaks.
_UNSAID: Final = (
    "additional_tools",
    "compaction_trigger",
    "configuration_update",
    "mcp_approval_request",
    "mcp_list_tools",
    "program",
)


class Responses(ResponseAnswers):
    """The Responses API."""

    path: ClassVar[str] = "/v1/responses"
    entries: ClassVar[str] = "input"

    def read(self, body: bytes) -> Asked:
        text, value = parsed_object(body)
        messages = [*_instructions(value), *_input(value)]
        return Asked(
            body,
            text,
            value,
            messages,
            str(value.get("model", "")),
            value.get("stream") is True,
            later=bool(value.get("background")),
            elsewhere=tuple(name for name in ELSEWHERE if value.get(name) is not None),
            settings=settings_of(value, "max_output_tokens"),
        )

    def written(
        self, asked: Asked, messages: Sequence[ChatMessage], settings: GenerateConfig | None
    ) -> bytes:
        own = len(_instructions(asked.value))
        items = asked.messages[own:]
        above, rest = apart(messages, items)
        text = with_system(asked.text, "instructions", asked.messages[:own], above, "null")
        if isinstance(asked.value.get("input"), list):
            text = with_messages(text, "input", items, rest, PARTS, _rendered)
        elif [id(each) for each in rest] != [id(each) for each in items]:
            text = with_members(text, {"input": quoted(_plain(rest))})
        return with_settings(text, settings, SETTINGS).encode("utf-8")

    def output(self, answer: dict[str, Any]) -> ModelOutput:
        items = answer.get("output")
        if not isinstance(items, list):
            raise ValueError("no output")
        content: list[Content] = []
        calls: list[ToolCall] = []
        for index, item in enumerate(items):
            read = _answered(item, f"output.{index}")
            # A call that the upstream ran itself leaves an answer that can be read.
            if item.get("type") in ("function_call", "custom_tool_call"):
                calls.append(tool_call(item.get("call_id")))
            elif isinstance(read, ChatMessageAssistant):
                content += [] if isinstance(read.content, str) else read.content
        said = ChatMessageAssistant(content=content, tool_calls=calls or None)
        details = answer.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        stop = INCOMPLETE.get(str(reason), "tool_calls" if calls else "stop")
        return ModelOutput(
            model=str(answer.get("model", "")),
            choices=[ChatCompletionChoice(message=said, stop_reason=stop)],
            usage=usage_of(answer.get("usage"), "input_tokens", "output_tokens"),
            metadata={"generated": True},
        )


RESPONSES: Final = Responses()

PARTS: Final = Parts(
    content="content",
    text=lambda text: {"type": "input_text", "text": text},
    image=lambda image: {"type": "input_image", "detail": "auto", "image_url": image},
    image_place=("image_url",),
)


def _instructions(value: dict[str, Any]) -> list[ChatMessage]:
    said = value.get("instructions")
    if said is None:
        return []
    if not isinstance(said, str):
        raise unreadable("instructions", "a text is needed")
    return [ChatMessageSystem(content=said)]


def _input(value: dict[str, Any]) -> list[ChatMessage]:
    items = value.get("input")
    if isinstance(items, str):
        return [ChatMessageUser(content=items)]
    if items is None:
        # What the user says is stored, or in a template's variables: nobody here can look at it.
        known = [name for name in ELSEWHERE if value.get(name) is not None]
        if known:
            return [ChatMessageUser(content=[unread(known[0])])]
    if not isinstance(items, list) or not items:
        raise unreadable("input", "a text or a list of items is needed")
    return [_message(item, f"input.{index}") for index, item in enumerate(items)]


def _message(item: Any, where: str) -> ChatMessage:
    if not isinstance(item, dict):
        raise unreadable(where, "an item is needed")
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if not isinstance(kind, str):
        raise unreadable(where, "the type of an item is a text")
    if kind == "message":
        return _turn(item, where)
    if kind == "reasoning":
        return ChatMessageAssistant(content=[_thoughts(item)])
    if kind.endswith("_output") or kind == "mcp_approval_response":
        # Some are objects of their kind, as a screenshot or what a shell wrote.
        said = item.get("output")
        parts = [said] if isinstance(said, dict) else said
        return ChatMessageTool(content=content_of(parts, f"{where}.output", _result))
    if kind.endswith("_call") or kind in _UNSAID:
        return ChatMessageAssistant(content="", tool_calls=[tool_call(item.get("call_id"))])
    return ChatMessageUser(content=[unread(kind)])


def _turn(item: dict[str, Any], where: str) -> ChatMessage:
    role = item.get("role")
    if role not in _ROLES:
        raise unreadable(where, f"a message of role {', '.join(_ROLES)} is needed")
    said, place = item.get("content"), f"{where}.content"
    if role == "user":
        return ChatMessageUser(content=user_content(said, place, _part))
    content = content_of(said, place, _part)
    if role == "assistant":
        return ChatMessageAssistant(content=content)
    return ChatMessageSystem(content=content)


def _part(part: dict[str, Any]) -> Content | None:
    kind, image = part.get("type"), part.get("image_url")
    if kind in ("input_text", "output_text", "text"):
        return text_part(part)
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        # An empty one is none: it must not keep the text beside it from its check.
        return ContentText(text=part["refusal"], refusal=bool(part["refusal"]) or None)
    if kind in ("input_image", "computer_screenshot") and image is not None:
        return ContentImage(image=image) if isinstance(image, str) else None
    return unread(kind) if isinstance(kind, str) else None


def _result(part: dict[str, Any]) -> Content | None:
    # What a shell wrote has no type.
    return _part(part) if "type" in part else unread("output")


def _thoughts(item: dict[str, Any]) -> ContentReasoning:
    parts = item.get("summary")
    texts = (
        [part.get("text") for part in parts if isinstance(part, dict)]
        if isinstance(parts, list)
        else []
    )
    return thought("\n".join(text for text in texts if isinstance(text, str)))


def _rendered(message: ChatMessage) -> dict[str, Any]:
    return written_message(message, PARTS)


def _answered(item: Any, where: str) -> ChatMessage:
    try:
        return _message(item, where)
    except Fault as fault:
        raise ValueError(fault.message) from None


def _plain(messages: Sequence[ChatMessage]) -> str | list[dict[str, Any]]:
    """An input that was one text: still one, unless a defense made more of it."""
    written = [_rendered(message) for message in messages]
    alone = written[0]["content"] if len(written) == 1 and written[0]["role"] == "user" else None
    return alone if isinstance(alone, str) else written
