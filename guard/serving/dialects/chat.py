"""OpenAI's chat completions, `/v1/chat/completions`."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from uuid import uuid4

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
    StopReason,
)
from inspect_ai.tool import ToolCall

from vlmguard.guard.serving.dialects.base import Asked, Dialect, parsed_object
from vlmguard.guard.serving.dialects.parts import Part, ReadsParts
from vlmguard.guard.serving.dialects.reading import (
    content_of,
    settings_of,
    text_part,
    tool_call,
    unread,
    unreadable,
    usage_of,
    user_content,
)
from vlmguard.guard.serving.dialects.splicing import (
    Parts,
    with_members,
    with_messages,
    with_settings,
    written_message,
)
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.json_text import loads, quoted
from vlmguard.guard.text.blocks import is_block

__all__ = ["CHAT", "PARTS", "SETTINGS", "Chat", "chat_messages", "rendered"]

_FINISH: Final[Mapping[str, StopReason]] = {
    "stop": "stop",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_BESIDE: Final = ("reasoning_content", "reasoning", "tool_calls", "function_call", "refusal")
_TEXTS: Final = ("refusal", "reasoning_content", "reasoning")
_NO_USAGE: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
# As in OpenAI's API; a client's number must not cost memory.
_MOST_CHOICES: Final = 128
SETTINGS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "num_choices": "n",
    "stop_seqs": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Fields of the body, by Inspect's name."""


class Chat(Dialect, ReadsParts):
    """Chat completions."""

    path: ClassVar[str] = "/v1/chat/completions"

    def read(self, body: bytes) -> Asked:
        text, value = parsed_object(body)
        messages = chat_messages(value.get("messages"))
        return Asked(
            body,
            text,
            value,
            messages,
            str(value.get("model", "")),
            value.get("stream") is True,
            choices=n if isinstance(n := value.get("n"), int) else 1,
            settings=settings_of(value, "max_completion_tokens", "max_tokens"),
        )

    def written(
        self, asked: Asked, messages: Sequence[ChatMessage], settings: GenerateConfig | None
    ) -> bytes:
        text = with_messages(asked.text, "messages", asked.messages, messages, PARTS, rendered)
        named = {**SETTINGS}
        if "max_completion_tokens" in asked.value:
            named["max_tokens"] = "max_completion_tokens"
        return with_settings(text, settings, named).encode("utf-8")

    def output(self, answer: dict[str, Any]) -> ModelOutput:
        choices = answer.get("choices")
        if not isinstance(choices, list):
            raise ValueError("no choices")
        return ModelOutput(
            model=str(answer.get("model", "")),
            choices=[_choice(each) for each in choices],
            usage=usage_of(answer.get("usage"), "prompt_tokens", "completion_tokens"),
            metadata={"generated": True},
        )

    def streamed(self, events: Iterable[str]) -> dict[str, Any]:
        choices: dict[int, dict[str, Any]] = {}
        whole: dict[str, Any] = {}
        for event in events:
            chunk = _chunk(event)
            whole |= {key: chunk[key] for key in ("model", "usage") if chunk.get(key)}
            for delta in chunk["choices"]:
                _join(choices, delta)
        return {**whole, "choices": [choices[index] for index in sorted(choices)]}

    def replaced(self, answer: str, output: ModelOutput) -> str:
        return with_members(answer, {"choices": quoted([_written_choice(output)])})

    def answer(self, asked: Asked, output: ModelOutput) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked.model,
            "choices": [
                {**_written_choice(output), "index": index} for index in _indices(asked, output)
            ],
            "usage": _NO_USAGE,
        }

    def events(self, asked: Asked, output: ModelOutput) -> Iterator[bytes]:
        return self.cut(asked, output, [])

    def part(self, event: str) -> Part:
        text, beside, ends = "", False, False
        for choice in _chunk(event)["choices"]:
            delta = _delta(choice)
            if choice.get("index") not in (0, None):
                raise ValueError("another choice than the first")
            text += _said(delta.get("content"))
            beside = beside or any(value for key, value in delta.items() if key in _BESIDE)
            ends = ends or choice.get("finish_reason") is not None
        return Part(text, beside, ends)

    def broken(self, fault: Fault, sent: Sequence[str]) -> bytes:
        return f"data: {quoted(fault.body())}\n\n".encode()

    def cut(self, asked: Asked, output: ModelOutput, sent: Sequence[str]) -> Iterator[bytes]:
        head = {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": asked.model,
        }
        shared = loads(sent[-1]) if sent else {}
        head |= {name: shared[name] for name in head if shared.get(name)}
        deltas: list[tuple[dict[str, Any], str | None]] = [
            ({"role": "assistant", "content": output.completion}, None),
            ({}, finish_reason(output)),
        ]
        options = asked.value.get("stream_options")
        counted = isinstance(options, dict) and options.get("include_usage") is True
        # As the API has it: no figures in any chunk but one of their own at the end.
        head |= {"usage": None} if counted else {}
        for index in _indices(asked, output):
            for delta, finish in deltas:
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
                yield f"data: {quoted({**head, 'choices': [choice]})}\n\n".encode()
        if counted:
            yield f"data: {quoted({**head, 'choices': [], 'usage': _NO_USAGE})}\n\n".encode()
        yield b"data: [DONE]\n\n"


CHAT: Final = Chat()


def _indices(asked: Asked, output: ModelOutput) -> range:
    """The numbers of the choices: of a refusal as many as were asked for, else one."""
    count = asked.value.get("n")
    if not is_block(output) or not isinstance(count, int) or isinstance(count, bool):
        return range(1)
    return range(max(1, min(count, _MOST_CHOICES)))


def _written_choice(output: ModelOutput) -> dict[str, Any]:
    return {
        "index": 0,
        "message": {"role": "assistant", "content": output.completion, "refusal": None},
        "logprobs": None,
        "finish_reason": finish_reason(output),
    }


def _chunk(event: str) -> dict[str, Any]:
    chunk = loads(event)
    if not isinstance(chunk, dict) or not isinstance(chunk.get("choices"), list):
        raise ValueError("an event that is no chunk")
    return chunk


def _join(choices: dict[int, dict[str, Any]], chunk: Any) -> None:
    """Add a chunk's choice to what came of it so far."""
    delta = _delta(chunk)
    index = chunk.get("index") or 0
    if not isinstance(index, int):
        raise ValueError("a choice without a number")
    new: dict[str, Any] = {"message": {}, "finish_reason": None}
    choice = choices.setdefault(index, new)
    choice["finish_reason"] = chunk.get("finish_reason") or choice["finish_reason"]
    message = choice["message"]
    for key, value in delta.items():
        if key == "content":
            message[key] = message.get(key, "") + _said(value)
        elif isinstance(value, str) and key in _TEXTS:
            message[key] = message.get(key, "") + value
        elif value and key in ("tool_calls", "function_call"):
            message[key] = value


def _delta(choice: Any) -> dict[str, Any]:
    """What a choice of a chunk adds; nothing in one about a filter."""
    if not isinstance(choice, dict) or "message" in choice or "text" in choice:
        raise ValueError("a choice without a delta")
    delta = choice.get("delta", {})
    if not isinstance(delta, dict):
        raise ValueError("a choice without a delta")
    return delta


def _said(content: Any) -> str:
    """The text of an answer's content, which may be a list of parts; thinking in it is no text.

    Raises:
        ValueError: It is in another form, in which a text would go unread.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ValueError("a text in another form")
    text = ""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            text += part["text"]
        elif kind not in ("thinking", "reasoning"):
            raise ValueError("a part in another form")
    return text


def finish_reason(output: ModelOutput) -> str:
    """Why an answer ends: a defense's refusal is filtered content."""
    if is_block(output):
        return "content_filter"
    return next((name for name, reason in _FINISH.items() if reason == output.stop_reason), "stop")


def chat_messages(value: Any) -> list[ChatMessage]:
    """The messages of a body, one for each entry.

    Args:
        value: The body's `messages`; of a gateway its `structured_messages`.

    Raises:
        Fault: They are not messages of this API.
    """
    if not isinstance(value, list) or not value:
        raise unreadable("messages", "a list of messages is needed")
    return [_message(entry, f"messages.{index}") for index, entry in enumerate(value)]


def _message(entry: Any, where: str) -> ChatMessage:
    role = entry.get("role") if isinstance(entry, dict) else None
    if role not in _ROLES:
        raise unreadable(where, f"a message of role {', '.join(_ROLES)} is needed")
    said, place = entry.get("content"), f"{where}.content"
    if role == "user":
        return ChatMessageUser(content=user_content(said, place, _part))
    content = content_of(said, place, _part)
    if role in ("system", "developer"):
        return ChatMessageSystem(content=content)
    if role == "assistant":
        return ChatMessageAssistant(content=content, tool_calls=_calls(entry) or None)
    name = entry.get("tool_call_id")
    return ChatMessageTool(content=content, tool_call_id=name if isinstance(name, str) else None)


def _part(part: dict[str, Any]) -> Content | None:
    kind = part.get("type")
    if kind == "text":
        return text_part(part)
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        return ContentImage(image=url) if isinstance(url, str) else None
    return unread(kind) if isinstance(kind, str) else None


def _calls(message: dict[str, Any]) -> list[ToolCall]:
    calls = message.get("tool_calls")
    made = [*calls] if isinstance(calls, list) else []
    # The older form of one call, without an id.
    made += [None] if message.get("function_call") else []
    return [tool_call(call.get("id") if isinstance(call, dict) else None) for call in made]


def rendered(message: ChatMessage) -> dict[str, Any]:
    """A message that a defense wrote, for the body."""
    return written_message(message, PARTS)


PARTS: Final = Parts(
    content="content",
    text=lambda text: {"type": "text", "text": text},
    image=lambda image: {"type": "image_url", "image_url": {"url": image}},
    image_place=("image_url", "url"),
)


def _choice(choice: Any) -> ChatCompletionChoice:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise ValueError("a choice without a message")
    content: list[Content] = []
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str):
            content.append(ContentReasoning(reasoning=message[name]))
            break
    said, refused = _said(message.get("content")), message.get("refusal")
    if said:
        content.append(ContentText(text=said))
    # An empty one is none: it must not keep the text from its check.
    if refused and isinstance(refused, str):
        content.append(ContentText(text=refused, refusal=True))
    return ChatCompletionChoice(
        message=ChatMessageAssistant(content=content, tool_calls=_calls(message) or None),
        stop_reason=_FINISH.get(str(choice.get("finish_reason")), "unknown"),
    )
