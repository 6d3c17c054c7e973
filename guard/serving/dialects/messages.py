"""Anthropic's Messages API, `/v1/messages`.

The system text is the field `system`, and a defense's own goes there, before the client's. A user's
turn of tool results alone is a tool turn, and passes. One with words or images behind its results
is two messages here, a tool turn and a user's turn, which is protected as any other: a result does
not hide what a user says. In the body both stay one turn.
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
    ContentData,
    ContentImage,
    ContentText,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.tool import ToolCall

from vlmguard.guard.serving.dialects.base import Asked, parsed_object
from vlmguard.guard.serving.dialects.message_answers import STOPS, MessageAnswers
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
from vlmguard.guard.serving.dialects.splicing import (
    Parts,
    apart,
    with_messages,
    with_settings,
    with_system,
    written_message,
)
from vlmguard.guard.serving.dialects.tool_results import (
    is_result,
    listed,
    mixed_turns,
    one_each,
)
from vlmguard.guard.serving.faults import Fault

__all__ = ["MESSAGES", "Messages"]

SETTINGS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "stop_seqs": "stop_sequences",
}
"""Fields of the body, by Inspect's name."""

_ROLES: Final = ("user", "assistant", "system")


class Messages(MessageAnswers):
    """The Messages API."""

    path: ClassVar[str] = "/v1/messages"

    def read(self, body: bytes) -> Asked:
        text, value = parsed_object(body)
        entries = value.get("messages")
        if not isinstance(entries, list) or not entries:
            raise unreadable("messages", "a list of messages is needed")
        messages = _system(value)
        for index, entry in enumerate(entries):
            messages += _turns(entry, f"messages.{index}")
        return Asked(
            body,
            text,
            value,
            messages,
            str(value.get("model", "")),
            value.get("stream") is True,
            settings=settings_of(value, "max_tokens"),
        )

    def written(
        self, asked: Asked, messages: Sequence[ChatMessage], settings: GenerateConfig | None
    ) -> bytes:
        own = len(_system(asked.value))
        mixed = mixed_turns(asked.value["messages"], asked.messages[own:])
        entries = one_each(asked.messages[own:], mixed)
        above, rest = apart(one_each(messages, mixed), entries)
        text = with_system(asked.text, "system", asked.messages[:own], above, "[]")
        text = with_messages(text, "messages", entries, rest, PARTS, _rendered)
        return with_settings(text, settings, SETTINGS).encode("utf-8")

    def output(self, answer: dict[str, Any]) -> ModelOutput:
        blocks = answer.get("content")
        if not isinstance(blocks, list):
            raise ValueError("no content")
        try:
            said = _said(blocks, "content")
        except Fault as fault:
            raise ValueError(fault.message) from None
        stop = STOPS.get(str(answer.get("stop_reason")), "unknown")
        return ModelOutput(
            model=str(answer.get("model", "")),
            choices=[ChatCompletionChoice(message=said, stop_reason=stop)],
            usage=usage_of(answer.get("usage"), "input_tokens", "output_tokens"),
            metadata={"generated": True},
        )


MESSAGES: Final = Messages()


def _source(image: str) -> dict[str, Any]:
    """The `source` of an image that a defense made."""
    head, comma, data = image.partition(";base64,")
    if not comma:
        return {"type": "url", "url": image}
    return {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}


PARTS: Final = Parts(
    content="content",
    text=lambda text: {"type": "text", "text": text},
    image=lambda image: {"type": "image", "source": _source(image)},
    image_place=("source",),
    reference=_source,
)


def _system(value: dict[str, Any]) -> list[ChatMessage]:
    if value.get("system") is None:
        return []
    return [ChatMessageSystem(content=content_of(value["system"], "system", _part))]


def _turns(entry: Any, where: str) -> list[ChatMessage]:
    """The message of an entry; of a user's turn with results of tools and more, two."""
    role = entry.get("role") if isinstance(entry, dict) else None
    if role not in _ROLES:
        raise unreadable(where, f"a message of role {', '.join(_ROLES)} is needed")
    blocks = entry.get("content")
    if role == "assistant":
        return [_said(blocks, f"{where}.content")]
    if role == "system":
        return [ChatMessageSystem(content=content_of(blocks, f"{where}.content", _part))]
    results = [block for block in listed(blocks) if is_result(block)]
    rest = [block for block in listed(blocks) if not is_result(block)] if results else blocks
    turns: list[ChatMessage] = [_results(results, where)] if results else []
    if rest or not results:
        turns.append(ChatMessageUser(content=user_content(rest, f"{where}.content", _part)))
    return turns


def _said(blocks: Any, where: str) -> ChatMessageAssistant:
    content = content_of(blocks, where, _part)
    if not isinstance(content, str):
        kept: list[Content] = [part for part in content if not isinstance(part, ContentData)]
        content = kept
    return ChatMessageAssistant(content=content, tool_calls=_calls(blocks) or None)


def _calls(blocks: Any) -> list[ToolCall]:
    # A tool of the provider's own (`server_tool_use`) leaves an answer that can be read.
    return [tool_call(each.get("id")) for each in listed(blocks) if each.get("type") == "tool_use"]


def _results(results: list[Any], where: str) -> ChatMessageTool:
    content: list[Content] = []
    for result in results:
        read = content_of(result.get("content"), f"{where}.content", _part)
        content += [ContentText(text=read)] if isinstance(read, str) else read
    name = results[0].get("tool_use_id")
    return ChatMessageTool(content=content, tool_call_id=name if isinstance(name, str) else None)


def _part(block: dict[str, Any]) -> Content | None:
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        return text_part(block)
    if kind in ("thinking", "redacted_thinking"):
        return thought(block.get("thinking"))
    if kind == "image" and isinstance(source, dict):
        return _image(source)
    return unread(kind) if isinstance(kind, str) and kind != "image" else None


def _image(source: dict[str, Any]) -> Content | None:
    kind, media, data = (source.get(name) for name in ("type", "media_type", "data"))
    if kind == "base64":
        known = isinstance(media, str) and isinstance(data, str)
        return ContentImage(image=f"data:{media};base64,{data}") if known else None
    if kind == "url":
        url = source.get("url")
        return ContentImage(image=url) if isinstance(url, str) else None
    return unread("image_file")


def _rendered(message: ChatMessage) -> dict[str, Any]:
    return written_message(message, PARTS)
