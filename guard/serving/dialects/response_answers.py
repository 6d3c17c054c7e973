"""Answers of OpenAI's Responses API: bodies, streams, and ours in their place.

A refusal of ours is a response that content filtering left incomplete, as the API has it: its
stream ends with `response.incomplete`, where a client's `get_final_response` raises, as it does
where the model's own filter stops an answer.
"""

import time
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

__all__ = ["INCOMPLETE", "ResponseAnswers"]

INCOMPLETE: Final[Mapping[str, StopReason]] = {
    "max_output_tokens": "max_tokens",
    "content_filter": "content_filter",
}
"""Why an answer is incomplete, by the API's name."""

_ENDS: Final = ("response.completed", "response.incomplete")
# What says where an event's item or part stands.
_PLACES: Final = {
    "output_item": ("output_index",),
    "content_part": ("output_index", "content_index"),
}
_NO_USAGE: Final = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}
# Fields of a response that say what was asked, and what stands there if nothing was.
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}

_Event = tuple[str, dict[str, Any]]


class ResponseAnswers(Dialect, ReadsParts):
    """The part of the API that is about answers."""

    def streamed(self, events: Iterable[str]) -> dict[str, Any]:
        text, last = "", ""
        for last in events:
            part = self.part(last)
            text += part.text
            if not text.endswith(part.repeats):
                raise ValueError("an event that repeats what was not said")
        said = _event(last) if last else {}
        whole = said.get("response")
        if said.get("type") not in _ENDS or not isinstance(whole, dict):
            raise ValueError("a stream without its end")
        if _text_of(whole.get("output")) != text:
            raise ValueError("a stream that says one thing and ends with another")
        return whole

    def replaced(self, answer: str, output: ModelOutput) -> str:
        status, why = _status(output)
        item = _item(f"msg_{uuid4().hex}", status, output.completion)
        whole = {"output": [item], "status": status, "incomplete_details": why}
        return with_members(answer, {key: quoted(value) for key, value in whole.items()})

    def answer(self, asked: Asked, output: ModelOutput) -> dict[str, Any]:
        status, why = _status(output)
        echoed = {
            name: default if asked.value.get(name) is None else asked.value[name]
            for name, default in _ECHOED.items()
        }
        return {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": why,
            "model": asked.model,
            "output": [_item(f"msg_{uuid4().hex}", status, output.completion)],
            **echoed,
            "usage": _NO_USAGE,
        }

    def events(self, asked: Asked, output: ModelOutput) -> Iterator[bytes]:
        done = self.answer(asked, output)
        begun: dict[str, Any] = {
            "status": "in_progress",
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        first = {"response": {**done, **begun}}
        (item,) = done["output"]
        events: list[_Event] = [("created", first), ("in_progress", first)]
        events += [*_new_item(item, 0), *_told(item, 0, 0), (done["status"], {"response": done})]
        yield from _written(events, 0)

    def part(self, event: str) -> Part:
        said = _event(event)
        kind = said["type"]
        if kind == "response.output_text.delta":
            if not isinstance(said.get("delta"), str):
                raise ValueError("a text in another form")
            return Part(said["delta"])
        if kind == "response.output_text.done":
            return Part(ends=True, repeats=_string(said.get("text")))
        if kind in ("response.content_part.added", "response.content_part.done"):
            return Part(repeats=_text_in(said.get("part")))
        if kind in ("response.output_item.added", "response.output_item.done"):
            return Part(repeats=_text_of([said.get("item")]))
        if "response" in said:
            return Part(ends=kind in _ENDS, repeats=_text_of(said["response"].get("output")))
        return Part(beside=kind.endswith(".delta"))

    def cut(self, asked: Asked, output: ModelOutput, sent: Sequence[str]) -> Iterator[bytes]:
        said = [_event(event) for event in sent]
        begun = [each["response"] for each in said if "response" in each]
        whole = begun[0] if begun else self.answer(asked, output)
        items = {each["output_index"]: each["item"] for each in said if "item" in each}
        status, why = _status(output)
        index, place, before = _running(said)
        events: list[_Event] = []
        if index is None or "id" not in items.get(index, {}):
            index, place = max(items, default=-1) + 1, 0
            items[index] = _item(f"msg_{uuid4().hex}", status, output.completion)
            events += _new_item(items[index], index)
        else:
            item = _item(items[index]["id"], status, before + output.completion)
            earlier = [each["part"] for each in said if _ends_part(each, index)]
            items[index] = {**items[index], **item, "content": [*earlier, *item["content"]]}
        events += _told(items[index], index, place, before)
        told = [items[each] for each in sorted(items)]
        ended = {"status": status, "incomplete_details": why, "output": told}
        events.append((status, {"response": {**whole, **ended}}))
        yield from _written(events, _next_number(said))

    def broken(self, fault: Fault, sent: Sequence[str]) -> bytes:
        number = _next_number([_event(event) for event in sent])
        event = {
            "type": "error",
            "code": fault.code,
            "message": fault.message,
            "param": None,
            "sequence_number": number,
            # The client raises for this field alone; without it, it takes the stream for whole.
            **fault.body(),
        }
        return f"event: error\ndata: {quoted(event)}\n\n".encode()


def _running(said: list[dict[str, Any]]) -> tuple[int | None, int, str]:
    """The item and the part of it whose text runs, None if none does, and the text so far."""
    index, place, text = None, 0, ""
    for event in said:
        kind = event["type"]
        if kind == "response.content_part.added" and event["part"].get("type") == "output_text":
            index, place, text = event["output_index"], event["content_index"], ""
        elif kind == "response.output_text.delta":
            text += event["delta"]
        elif kind == "response.content_part.done":
            index = None
    return index, place, text


def _ends_part(event: dict[str, Any], index: int) -> bool:
    return bool(event["type"] == "response.content_part.done" and event["output_index"] == index)


def _new_item(item: dict[str, Any], index: int) -> list[_Event]:
    at = {"item_id": item["id"], "output_index": index, "content_index": 0}
    empty = {**item, "status": "in_progress", "content": []}
    part = {**item["content"][0], "text": ""}
    return [
        ("output_item.added", {"output_index": index, "item": empty}),
        ("content_part.added", {**at, "part": part}),
    ]


def _told(item: dict[str, Any], index: int, place: int, before: str = "") -> list[_Event]:
    """The events of the last part's text behind what was sent of it, to the item's end."""
    at = {"item_id": item["id"], "output_index": index, "content_index": place}
    part = item["content"][-1]
    text = part["text"]
    return [
        ("output_text.delta", {**at, "delta": text[len(before) :], "logprobs": []}),
        ("output_text.done", {**at, "text": text, "logprobs": []}),
        ("content_part.done", {**at, "part": part}),
        ("output_item.done", {"output_index": index, "item": item}),
    ]


def _written(events: list[_Event], first: int) -> Iterator[bytes]:
    for number, (name, data) in enumerate(events, first):
        event = {"type": f"response.{name}", "sequence_number": number, **data}
        yield f"event: response.{name}\ndata: {quoted(event)}\n\n".encode()


def _next_number(said: list[dict[str, Any]]) -> int:
    numbers = [each.get("sequence_number") for each in said]
    return max((number for number in numbers if isinstance(number, int)), default=-1) + 1


def _event(data: str) -> dict[str, Any]:
    said: Any = loads(data)
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind in ("error", "response.failed"):
        raise ValueError("an event that is none of an answer")
    for name in ("response", "item", "part"):
        if name in said and not isinstance(said[name], dict):
            raise ValueError("an event in another form")
    for inner, places in _PLACES.items():
        if not kind.startswith(f"response.{inner}."):
            continue
        if inner.rpartition("_")[2] not in said:
            raise ValueError("an event in another form")
        if not all(isinstance(said.get(name), int) for name in places):
            raise ValueError("an event without its place")
    return {**said}


def _text_of(items: Any) -> str:
    """The texts of items of an answer."""
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    contents = [item["content"] for item in found if isinstance(item.get("content"), list)]
    return "".join(_text_in(part) for content in contents for part in content)


def _text_in(part: Any) -> str:
    said = isinstance(part, dict) and part.get("type") == "output_text"
    return _string(part.get("text")) if said else ""


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _status(output: ModelOutput) -> tuple[str, dict[str, Any] | None]:
    """The status of an answer, and why it is incomplete."""
    stop = "content_filter" if is_block(output) else output.stop_reason
    reason = next((name for name, each in INCOMPLETE.items() if each == stop), None)
    return ("incomplete", {"reason": reason}) if reason else ("completed", None)


def _item(name: str, status: str, text: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
