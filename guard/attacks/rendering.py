"""Applies an attack to a conversation, once: all defenses then see the same bytes.

What an attack made of a request is kept in the user's cache (`platformdirs`), by the request, its
images, the attack with its version and options, the seed, and the font. Delete the folder to free
the space; the same bytes are made again.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, Final

from inspect_ai.model import ChatMessage, ChatMessageAssistant
from PIL import Image
from platformdirs import user_cache_path

from vlmguard.guard.attacks.base import AttackInput, AttackOutput
from vlmguard.guard.attacks.chosen import ChosenAttack
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri
from vlmguard.guard.messages import user_message

__all__ = ["Asked", "Attacked", "asked_of", "attacked", "input_of", "messages_of"]

_LOGGER: Final = getLogger(__name__)
_FORM: Final = 1
"""Of the cache's files; raised when they are written in another way."""


@dataclass(frozen=True)
class Asked:
    """A sample's request, as a benchmark has it.

    Attributes:
        messages: Its conversation.
        name: Its id.
        meant: What the benchmark says is asked for; empty if it says nothing.
        phrase: The key phrase that its data state; empty without one.
        category: Its category.
    """

    messages: Sequence[ChatMessage]
    name: str
    meant: str = ""
    phrase: str = ""
    category: str = ""


@dataclass(frozen=True)
class Attacked:
    """A conversation under attack.

    Attributes:
        messages: The conversation.
        steps: What was done, in order.
        notes: Facts for the log.
    """

    messages: list[ChatMessage]
    steps: tuple[str, ...]
    notes: dict[str, Any]


def asked_of(name: str, given: str | Sequence[ChatMessage], metadata: Mapping[str, Any]) -> Asked:
    """A sample's request, with what its metadata say of it.

    Args:
        name: Its id.
        given: Its input, or its messages.
        metadata: Its metadata.
    """
    meant = metadata.get("judge_text") or metadata.get("judge_request") or ""
    return Asked(
        [user_message([], given)] if isinstance(given, str) else list(given),
        name,
        meant=str(meant),
        phrase=str(metadata.get("key_phrase") or ""),
        category=str(metadata.get("category") or ""),
    )


def attacked(chosen: ChosenAttack, asked: Asked) -> Attacked:
    """Apply a static attack to a request, or take what the cache has of it.

    Args:
        chosen: The attack.
        asked: The request.

    Raises:
        UserError: It cannot be attacked so: it has no user turn, a needed picture, or letters that
            a font has.
    """
    conversation = Conversation(asked.messages, name=asked.name)
    if conversation.turn is None:
        raise UserError(f"{asked.name}: it has no user turn that {chosen.card.name} could change.")
    uris = [to_data_uri(image) for image in conversation.images]
    place = _place(chosen, asked, conversation.text, uris)
    kept = _read(place)
    if kept is None:
        kept = _as_kept(chosen.static()(input_of(chosen, asked)), input_of(chosen, asked), uris)
        _write(place, kept)
    return _restored(conversation, kept, uris)


def input_of(chosen: ChosenAttack, asked: Asked, number: int = 1) -> AttackInput:
    """What an attack gets of a request.

    Args:
        chosen: The attack.
        asked: The request.
        number: Number of the try, from 1.
    """
    conversation = Conversation(asked.messages, name=asked.name)
    seed = f"{chosen.seed}/{asked.name}"
    return AttackInput(
        text=conversation.text,
        images=tuple(from_data_uri(to_data_uri(image)) for image in conversation.images),
        seed=_number(f"{seed}/{number}"),
        sample_seed=_number(seed),
        number=number,
        meant=asked.meant or conversation.text,
        phrase=asked.phrase,
        category=asked.category,
        name=f"Sample {asked.name}",
    )


def messages_of(asked: Asked, given: AttackInput, sent: AttackOutput) -> list[ChatMessage]:
    """The conversation with what an attack made of its last user turn, for loops (nothing kept)."""
    conversation = Conversation(asked.messages, name=asked.name)
    uris = [to_data_uri(image) for image in conversation.images]
    return _restored(conversation, _as_kept(sent, given, uris), uris).messages


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _as_kept(sent: AttackOutput, given: AttackInput, uris: list[str]) -> dict[str, Any]:
    """As plain values; a picture of the input is its number."""
    own = {id(image): number for number, image in enumerate(given.images)}

    def pictures(images: Sequence[Image.Image]) -> list[str | int]:
        return [own[id(each)] if id(each) in own else to_data_uri(each) for each in images]

    return {
        "text": sent.text,
        "images": pictures(sent.images),
        "earlier": [
            {"role": turn.role, "text": turn.text, "images": pictures(turn.images)}
            for turn in sent.earlier
        ],
        "steps": list(sent.steps),
        "notes": dict(sent.notes),
    }


def _restored(conversation: Conversation, kept: dict[str, Any], uris: list[str]) -> Attacked:
    def shown(images: list[str | int]) -> list[str]:
        return [uris[each] if isinstance(each, int) else each for each in images]

    earlier: list[ChatMessage] = [
        user_message(shown(turn["images"]), turn["text"])
        if turn["role"] == "user"
        else ChatMessageAssistant(content=turn["text"])
        for turn in kept["earlier"]
    ]
    images = shown(kept["images"])
    turn = user_message(images, kept["text"])
    if kept["text"] == conversation.text and images == uris and not earlier:
        turn = conversation.turn or turn
    index = conversation.index or 0
    before, behind = conversation.messages[:index], conversation.messages[index + 1 :]
    return Attacked([*before, *earlier, turn, *behind], tuple(kept["steps"]), kept["notes"])


def _place(chosen: ChosenAttack, asked: Asked, text: str, uris: list[str]) -> Path:
    facts = {
        "form": _FORM,
        "attack": chosen.identity,
        "sample": [asked.name, text, asked.meant, asked.phrase, asked.category],
        "images": [hashlib.sha256(uri.encode()).hexdigest() for uri in uris],
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return user_cache_path("vlmguard") / "attacks" / key[:2] / f"{key}.json"


def _read(place: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _LOGGER.warning("%s cannot be read (%s); it is made again.", place, error)
        return None
    assert isinstance(kept, dict)
    return kept


def _write(place: Path, kept: dict[str, Any]) -> None:
    """Write at once or not at all: several runs may want the same file."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(name, place)
    except OSError as error:
        _LOGGER.warning("%s cannot be written (%s); nothing is kept.", place, error)
