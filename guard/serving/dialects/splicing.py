"""Puts the messages that a defense decided for into a body, and leaves all other bytes alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
)

from vlmguard.guard.messages import parts_of
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.json_text import (
    Edit,
    Value,
    elements,
    folded,
    members,
    quoted,
    spliced,
)

__all__ = [
    "Parts",
    "apart",
    "with_members",
    "with_messages",
    "with_settings",
    "with_system",
    "written_message",
]

# Several answers, and where they end: without them a defense would sample otherwise.
_DECISIVE: Final = ("num_choices", "stop_seqs")


@dataclass(frozen=True)
class Parts:
    """How an API writes the parts of a turn.

    Attributes:
        content: The key of a message's content.
        text: A part with a text.
        image: A part with an image.
        image_place: The keys that lead to the image's reference in a part; the last may be missing
            where the API allows a plain string.
        reference: What stands there for an image.
    """

    content: str
    text: Callable[[str], dict[str, Any]]
    image: Callable[[str], dict[str, Any]]
    image_place: tuple[str, ...]
    reference: Callable[[str], Any] = str


def with_messages(
    text: str,
    key: str,
    old: Sequence[ChatMessage],
    new: Sequence[ChatMessage],
    parts: Parts,
    rendered: Callable[[ChatMessage], dict[str, Any]],
) -> str:
    """The body's text with other messages.

    Args:
        text: The body's text.
        key: Key of the list of messages.
        old: The messages in it, one for each entry.
        new: The messages to put there. Those of `old` keep their text; the first user turn that is
            not of them takes the place of the last user turn of `old`, part by part; others are
            rendered.
        parts: How the API writes parts.
        rendered: Writes a message anew.
    """
    if len(new) == len(old) and all(one is other for one, other in zip(new, old, strict=True)):
        return text
    text, unfolded = folded(text)
    whole = members(text)[key]
    entries = elements(text, whole.start)
    place = {id(message): index for index, message in enumerate(old)}
    kept = {place[id(message)] for message in new if id(message) in place}
    lost = [
        index
        for index, message in enumerate(old)
        if isinstance(message, ChatMessageUser) and index not in kept
    ]
    turn = lost[-1] if lost else None
    pieces = []
    for message in new:
        index = place.get(id(message))
        if index is not None:
            pieces.append(text[entries[index].start : entries[index].end])
        elif turn is not None and isinstance(message, ChatMessageUser):
            entry, was = entries[turn], old[turn]
            content = members(text, entry.start)[parts.content]
            changed = _content(text, content, parts_of(was), parts_of(message), parts)
            edit = Edit(content.start, content.end, changed)
            pieces.append(_cut(text, entry.start, entry.end, [edit]))
            turn = None
        else:
            pieces.append(quoted(rendered(message)))
    edit = Edit(whole.start, whole.end, f"[{', '.join(pieces)}]")
    return unfolded(spliced(text, [edit]))


def with_settings(text: str, settings: GenerateConfig | None, named: Mapping[str, str]) -> str:
    """The body's text with other settings.

    Args:
        text: The body's text.
        settings: The settings; None for those that are there.
        named: The API's names by Inspect's; settings without one are left out.

    Raises:
        Fault: The API has no such setting, and the defense is another one without it.
    """
    if settings is None:
        return text
    set_ = settings.model_dump(exclude_none=True)
    for name in _DECISIVE:
        if name in set_ and name not in named and set_[name] != 1:
            said = f"The defense needs {name}, which this API has not. Use /v1/chat/completions."
            raise Fault(400, "unsupported_setting", said)
    wanted = {named[name]: value for name, value in set_.items() if name in named}
    wanted |= set_.get("extra_body") or {}
    return with_members(text, {name: quoted(value) for name, value in wanted.items()})


def with_members(text: str, wanted: Mapping[str, str]) -> str:
    """The body's text with other values of members, or with more members.

    Args:
        text: The body's text, an object with a member.
        wanted: JSON texts by key.
    """
    there = members(text)
    edits = [
        Edit(there[name].start, there[name].end, value)
        for name, value in wanted.items()
        if name in there
    ]
    added = [f"{quoted(name)}: {value}" for name, value in wanted.items() if name not in there]
    if added:
        last = max(value.end for value in there.values())
        edits.append(Edit(last, last, "".join(f", {each}" for each in added)))
    return spliced(text, edits)


def apart(
    messages: Sequence[ChatMessage], entries: Sequence[ChatMessage]
) -> tuple[list[ChatMessage], list[ChatMessage]]:
    """Messages for an API's field of system text, and those for its list.

    Args:
        messages: The messages that a defense decided for.
        entries: The messages that stand in the list already, system turns among them.
    """
    there = {id(entry) for entry in entries}
    above: list[ChatMessage] = []
    rest: list[ChatMessage] = []
    for message in messages:
        own_field = isinstance(message, ChatMessageSystem) and id(message) not in there
        (above if own_field else rest).append(message)
    return above, rest


def with_system(
    text: str, key: str, old: Sequence[ChatMessage], new: Sequence[ChatMessage], none: str
) -> str:
    """The body's text with other system text, where the API has a field for it.

    Args:
        text: The body's text.
        key: Key of the system text, or of a list of parts with texts.
        old: The message of that field, if it is there.
        new: The system messages to put there; that of `old` keeps its parts.
        none: JSON text of no system text.
    """
    if [id(message) for message in new] == [id(message) for message in old]:
        return text
    there = members(text).get(key)
    if there is None or not isinstance(there.value, list):
        said = quoted("\n\n".join(message.text for message in new)) if new else none
        return with_members(text, {key: said})
    pieces = []
    for message in new:
        if any(message is each for each in old):
            pieces += [text[each.start : each.end] for each in elements(text, there.start)]
        else:
            pieces.append(quoted({"type": "text", "text": message.text}))
    return with_members(text, {key: _joined(pieces)})


def written_message(message: ChatMessage, parts: Parts) -> dict[str, Any]:
    """A message that a defense wrote, for the body; its texts alone as one string.

    Args:
        message: The message.
        parts: How the API writes parts.
    """
    if isinstance(message.content, str):
        return {"role": message.role, parts.content: message.content}
    if all(isinstance(part, ContentText) for part in message.content):
        texts = [part.text for part in message.content if isinstance(part, ContentText)]
        return {"role": message.role, parts.content: "\n".join(texts)}
    kept = [part for part in message.content if isinstance(part, ContentText | ContentImage)]
    return {"role": message.role, parts.content: [_written(part, parts) for part in kept]}


def _content(
    text: str, content: Value, old: list[Content], new: list[Content], parts: Parts
) -> str:
    """The text of a turn's content, as the new parts are."""
    if not isinstance(content.value, list):
        if all(isinstance(part, ContentText) for part in new):
            return quoted("\n".join(part.text for part in new if isinstance(part, ContentText)))
        return quoted([_written(part, parts) for part in new])
    places = elements(text, content.start)
    if [part.type for part in old] == [part.type for part in new]:
        pairs = zip(places, old, new, strict=True)
        return _joined([_part(text, place, was, part, parts) for place, was, part in pairs])
    new = _text_in_place(old, new)
    # Parts without text that are new are images in the place of others, in order.
    free = [
        index
        for index, part in enumerate(old)
        if isinstance(part, ContentImage) and not any(part is each for each in new)
    ]
    texts = [index for index, part in enumerate(old) if isinstance(part, ContentText)]
    pieces = []
    for part in new:
        known = next((index for index, was in enumerate(old) if was is part), None)
        if known is None and isinstance(part, ContentImage) and free:
            known = free.pop(0)
        if known is None and isinstance(part, ContentText) and texts:
            known = texts.pop(0)
        if known is None:
            pieces.append(quoted(_written(part, parts)))
        else:
            pieces.append(_part(text, places[known], old[known], part, parts))
    return _joined(pieces)


def _text_in_place(old: list[Content], new: list[Content]) -> list[Content]:
    """The new parts, with a single text where the first text was: images stay at their place."""
    texts = [part for part in new if isinstance(part, ContentText)]
    first = next((n for n, part in enumerate(old) if isinstance(part, ContentText)), None)
    others = [part for part in new if not isinstance(part, ContentText)]
    # Only if no other part went away.
    if (
        len(texts) != 1
        or first is None
        or len(others) != sum(not isinstance(part, ContentText) for part in old)
    ):
        return new
    return [*others[:first], *texts, *others[first:]]


def _part(text: str, place: Value, old: Content, new: Content, parts: Parts) -> str:
    edits: list[Edit] = []
    if isinstance(old, ContentText) and isinstance(new, ContentText):
        if old.text != new.text:
            found = members(text, place.start).get("text")
            if found is None:
                return quoted(parts.text(new.text))
            edits = [Edit(found.start, found.end, quoted(new.text))]
    elif isinstance(old, ContentImage) and isinstance(new, ContentImage) and old.image != new.image:
        found = _image_at(text, place, parts.image_place)
        edits = [Edit(found.start, found.end, quoted(parts.reference(new.image)))]
    return _cut(text, place.start, place.end, edits)


def _image_at(text: str, place: Value, keys: tuple[str, ...]) -> Value:
    for key in keys:
        if isinstance(place.value, dict):
            place = members(text, place.start)[key]
    return place


def _written(part: Content, parts: Parts) -> dict[str, Any]:
    if isinstance(part, ContentText):
        return parts.text(part.text)
    if isinstance(part, ContentImage):
        return parts.image(part.image)
    raise ValueError(f"a defense wrote a part of type {part.type}")


def _cut(text: str, start: int, end: int, edits: list[Edit]) -> str:
    moved = [Edit(edit.start - start, edit.end - start, edit.text) for edit in edits]
    return spliced(text[start:end], moved)


def _joined(pieces: list[str]) -> str:
    return f"[{', '.join(pieces)}]"
