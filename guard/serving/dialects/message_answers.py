"""Answers of Anthropic's Messages API: bodies, streams, and ours in their place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from inspect_ai.model import ModelOutput, StopReason

from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.dialects.parts import Part, ReadsParts
from vlmguard.guard.serving.dialects.splicing import with_members
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.json_text import loads, quoted
from vlmguard.guard.text.blocks import is_block

__all__ = ["STOPS", "MessageAnswers"]

STOPS: Final[Mapping[str, StopReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "model_length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Why an answer ends, by the API's name."""


class MessageAnswers(Dialect, ReadsParts):
    """The part of the API that is about answers."""

    def streamed(self, events: Iterable[str]) -> dict[str, Any]:
        whole: dict[str, Any] = {}
        blocks: dict[int, dict[str, Any]] = {}
        for event in events:
            said = _event(event)
            kind = said["type"]
            try:
                if kind == "message_start":
                    whole = {**said["message"]}
                elif kind == "content_block_start":
                    blocks[said["index"]] = {**said["content_block"]}
                elif kind == "content_block_delta":
                    _join(blocks[said["index"]], said["delta"])
                elif kind == "message_delta":
                    whole |= said["delta"]
                elif kind == "message_stop":
                    return {**whole, "content": [blocks[index] for index in sorted(blocks)]}
            except (KeyError, TypeError, AttributeError):
                raise ValueError("an event in another form") from None
        raise ValueError("a stream without its end")

    def replaced(self, answer: str, output: ModelOutput) -> str:
        whole = {
            "content": [{"type": "text", "text": output.completion}],
            "stop_reason": _stop_reason(output),
            "stop_sequence": None,
        }
        return with_members(answer, {key: quoted(value) for key, value in whole.items()})

    def answer(self, asked: Asked, output: ModelOutput) -> dict[str, Any]:
        return {
            "id": f"msg_{uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": [{"type": "text", "text": output.completion}],
            "stop_reason": _stop_reason(output),
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def events(self, asked: Asked, output: ModelOutput) -> Iterator[bytes]:
        begun = {**self.answer(asked, output), "content": [], "stop_reason": None}
        yield _written("message_start", message=begun)
        yield from _ended(output, 0, new=True)

    def part(self, event: str) -> Part:
        said = _event(event)
        kind = said["type"]
        inner = said.get("content_block" if kind == "content_block_start" else "delta")
        if kind == "message_delta":
            return Part(ends=True)
        if kind not in ("content_block_start", "content_block_delta"):
            return Part()
        if not isinstance(inner, dict):
            raise ValueError("an event in another form")
        if not isinstance(inner.get("type"), str):
            raise ValueError("an event in another form")
        if inner["type"] in ("text", "text_delta"):
            if not isinstance(inner.get("text"), str):
                raise ValueError("a text in another form")
            return Part(inner["text"])
        return Part(beside=True)

    def cut(self, asked: Asked, output: ModelOutput, sent: Sequence[str]) -> Iterator[bytes]:
        index, runs = -1, False
        for said in map(_event, sent):
            if said["type"] == "content_block_start":
                index, runs = said["index"], said["content_block"]["type"] == "text"
            elif said["type"] == "content_block_stop":
                runs = False
        # Blocks come one after another, so no other kind runs where a text was to follow.
        yield from _ended(output, index if runs else index + 1, new=not runs)

    def broken(self, fault: Fault, sent: Sequence[str]) -> bytes:
        return f"event: error\ndata: {quoted(fault.anthropic_body())}\n\n".encode()


def _ended(output: ModelOutput, index: int, new: bool) -> Iterator[bytes]:
    """The events that put a text into a block, a new one or one that runs, and end the answer."""
    if new:
        block = {"type": "text", "text": ""}
        yield _written("content_block_start", index=index, content_block=block)
    delta = {"type": "text_delta", "text": output.completion}
    yield _written("content_block_delta", index=index, delta=delta)
    yield _written("content_block_stop", index=index)
    ended = {"stop_reason": _stop_reason(output), "stop_sequence": None}
    yield _written("message_delta", delta=ended, usage={"output_tokens": 0})
    yield _written("message_stop")


def _written(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {quoted({'type': name, **data})}\n\n".encode()


def _event(data: str) -> dict[str, Any]:
    said: Any = loads(data)
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind == "error":
        raise ValueError("an event that is none of an answer")
    if kind.startswith("content_block_") and not isinstance(said.get("index"), int):
        raise ValueError("an event without its place")
    return {**said}


def _join(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("text", "thinking"):
        if isinstance(delta.get(name), str):
            block[name] = block.get(name, "") + delta[name]


def _stop_reason(output: ModelOutput) -> str:
    if is_block(output):
        return "refusal"
    return next((name for name, stop in STOPS.items() if stop == output.stop_reason), "end_turn")
