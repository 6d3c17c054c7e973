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
from functools import cache
from logging import getLogger
from pathlib import Path
from typing import Any, Final, Literal

from inspect_ai.model import ChatMessage, ChatMessageAssistant
from PIL import Image
from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict

from vlmguard.guard.attacks.base import AttackInput, AttackOutput
from vlmguard.guard.attacks.chosen import ChosenAttack
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import UserError, reason_of
from vlmguard.guard.images.prepare import MAX_SIDE, from_data_uri, to_data_uri, to_fitting_uri
from vlmguard.guard.messages import image_parts, other_request, user_message

__all__ = ["Asked", "Attacked", "asked_of", "attacked", "input_of", "messages_of"]

_LOGGER: Final = getLogger(__name__)
_FORM: Final = 2
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


class _KeptTurn(BaseModel):
    role: Literal["user", "assistant"]
    text: str
    images: list[str | int]


class _Kept(BaseModel):
    """What the cache has of a request under attack; a number is a picture of the request."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    text: str
    images: list[str | int]
    earlier: list[_KeptTurn]
    steps: list[str]
    notes: dict[str, bool | int | float | str]

    @property
    def all_images(self) -> list[str | int]:
        return [*self.images, *(image for turn in self.earlier for image in turn.images)]


def attacked(chosen: ChosenAttack, asked: Asked) -> Attacked:
    """Apply a static attack to a request, or take what the cache has of it.

    Args:
        chosen: The attack.
        asked: The request.

    Raises:
        UserError: It cannot be attacked so: it has no user turn, a needed picture, or letters that
            a font has; or what comes out is larger than any model takes.
    """
    conversation = Conversation(asked.messages, name=asked.name)
    if conversation.turn is None:
        raise UserError(f"{asked.name}: it has no user turn that {chosen.card.name} could change.")
    uris = [to_data_uri(image) for image in conversation.images]
    place = _place(chosen, asked, conversation.text, uris)
    kept = _read(place, len(uris))
    if kept is None:
        given = input_of(chosen, asked)
        kept = _as_kept(chosen.static()(given), given, chosen.card.name)
        _write(place, kept)
    return _restored(conversation, kept)


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
    """The conversation with what an attack made of its last user turn, for loops (nothing kept).

    Args:
        asked: The request.
        given: What the attack got of it: pictures of it in `sent` are sent as they were.
        sent: What it made of that.

    Raises:
        UserError: A picture is larger than any model takes.
    """
    conversation = Conversation(asked.messages, name=asked.name)
    return _restored(conversation, _as_kept(sent, given, "the attack")).messages


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _as_kept(sent: AttackOutput, given: AttackInput, attack: str) -> _Kept:
    """As plain values; a picture of the input is its number."""
    own = {id(image): number for number, image in enumerate(given.images)}
    largest = max((MAX_SIDE, *(side for image in given.images for side in image.size)))
    changes: list[str] = []

    def pictures(images: Sequence[Image.Image]) -> list[str | int]:
        found: list[str | int] = []
        for number, each in enumerate(images, start=1):
            if id(each) in own:
                found.append(own[id(each)])
                continue
            if max(each.size) > largest:
                raise UserError(
                    f"{given.name}: {attack} makes a picture of {each.width}x{each.height} pixels, "
                    f"and models take at most {MAX_SIDE} a side. Where it writes, smaller letters "
                    "and longer lines help (:size=, :wrap=); or leave the sample out "
                    "(--sample-id)."
                )
            uri, notes = to_fitting_uri(each)
            changes.extend(f"picture {number}: {note}" for note in notes)
            found.append(uri)
        return found

    earlier = [
        _KeptTurn(role=turn.role, text=turn.text, images=pictures(turn.images))
        for turn in sent.earlier
    ]
    images = pictures(sent.images)
    return _Kept(
        text=sent.text,
        images=images,
        earlier=earlier,
        steps=[*sent.steps, *changes],
        notes=dict(sent.notes),
    )


def _restored(conversation: Conversation, kept: _Kept) -> Attacked:
    own = image_parts([conversation.turn]) if conversation.turn else []

    earlier: list[ChatMessage] = [
        user_message([own[n] if isinstance(n, int) else n for n in turn.images], turn.text)
        if turn.role == "user"
        else ChatMessageAssistant(content=turn.text)
        for turn in kept.earlier
    ]
    index = conversation.index or 0
    before, behind = conversation.messages[:index], conversation.messages[index + 1 :]
    images = [own[n] if isinstance(n, int) else n for n in kept.images]
    turn = other_request(conversation.messages[index], images, kept.text)
    return Attacked([*before, *earlier, turn, *behind], tuple(kept.steps), kept.notes)


def _place(chosen: ChosenAttack, asked: Asked, text: str, uris: list[str]) -> Path:
    facts = {
        "form": _FORM,
        "attack": chosen.identity,
        "sample": [asked.name, text, asked.meant, asked.phrase, asked.category],
        "images": [hashlib.sha256(uri.encode()).hexdigest() for uri in uris],
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return user_cache_path("vlmguard") / "attacks" / key[:2] / f"{key}.json"


def _read(place: Path, images: int) -> _Kept | None:
    try:
        kept = _Kept.model_validate_json(place.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _LOGGER.warning("%s cannot be read (%s); it is made again.", place, reason_of(error))
        return None
    if any(isinstance(each, int) and not 0 <= each < images for each in kept.all_images):
        _LOGGER.warning("%s names a picture that there is not; it is made again.", place)
        return None
    return kept


def _write(place: Path, kept: _Kept) -> None:
    """Write at once or not at all: several runs may want the same file."""
    half: str | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, half = tempfile.mkstemp(dir=place.parent, prefix=f".{place.stem[:8]}.")
        with open(handle, "w", encoding="utf-8") as file:
            file.write(kept.model_dump_json())
        os.replace(half, place)
    except OSError as error:
        if half is not None:
            Path(half).unlink(missing_ok=True)
        _tell_once(str(place.parents[1]), reason_of(error))


@cache
def _tell_once(folder: str, reason: str) -> None:
    # Not for each sample: a run may have thousands.
    _LOGGER.warning(
        "What attacks make cannot be kept in %s (%s): each run makes it again. XDG_CACHE_HOME "
        "names another folder.",
        folder,
        reason,
    )
