"""Says what the tiny models can read of a conversation, so that nothing else is answered by guess.

They learned one request about one drawing, in the words of the world, and the questions of
defenses. Given a photo or other words they would answer all the same, with something about a cliff.
An evaluation wants that (a defense may alter a picture); who talks to them does not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from inspect_ai.model import ChatMessage, ChatMessageSystem
from tokenizers import Tokenizer

from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError, size_of
from vlmguard.guard.messages import images_of, user_message
from vlmguard.guard.rewriter.prompts import CONVERSATION_TEMPLATE
from vlmguard.guard.templates import fill
from vlmguard.training.microworld.models.api import REWRITER, checkpoint
from vlmguard.training.microworld.world.drawing import SIZE, picture_of

__all__ = ["Readable", "Unreadable", "readable"]

# The earlier turns in a rewriter's prompt, as in CONVERSATION_TEMPLATE.
_EARLIER: Final = re.compile(
    r"\s*".join(map(re.escape, fill(CONVERSATION_TEMPLATE, turns="\0").split())).replace(
        re.escape("\0"), ".*?"
    ),
    re.DOTALL,
)
_SHOWN: Final = 5


class Unreadable(UserError):
    """A conversation that the tiny models cannot read; the message says why, and what to send.

    Args:
        kind: What cannot be read: `picture`, `words`, `turn`.
        message: The message.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Readable:
    """What the tiny models are sent of a conversation.

    Attributes:
        messages: System turns in known words, and the last user turn with the latest picture.
        left_out: What else there was (`system`, `earlier turns`, `prefill`).
    """

    messages: list[ChatMessage]
    left_out: tuple[str, ...]


def readable(messages: Sequence[ChatMessage]) -> Readable:
    """Take out of a conversation what the tiny models can read.

    Args:
        messages: The conversation, or the prompt of a rewriter.

    Raises:
        Unreadable: The last user turn has other words, no drawing of the microworld, several
            pictures, or is followed by a tool's result.
    """
    conversation = Conversation(messages)
    if conversation.turn is None:
        raise Unreadable("turn", "There is no user turn to answer.")
    if conversation.skipped == "tool_turn":
        raise Unreadable("turn", "The tiny models call no tools and read no results of tools.")
    if conversation.unread:
        kinds = ", ".join(conversation.unread)
        raise Unreadable("turn", f"The tiny models read text and one drawing, and no {kinds}.")
    text, embedded = conversation.turn.text, 0
    if _has_template(text):
        text, embedded = _EARLIER.subn("\n", text)
    images = conversation.images[-1:] if embedded else conversation.images
    images = images or images_of(conversation.earlier)[-1:]
    _check_images(images)
    _check_text(text, bool(images))
    system = [turn for turn in conversation.system if not _unknown_words(turn.text)]
    earlier = [turn for turn in conversation.earlier if not isinstance(turn, ChatMessageSystem)]
    left_out = {
        "system": len(system) < len(conversation.system),
        "earlier turns": bool(earlier or embedded),
        "prefill": bool(conversation.prefill),
    }
    turn = conversation.turn
    if embedded or images != conversation.images:
        turn = user_message(images, text)
    return Readable([*system, turn], tuple(name for name, is_so in left_out.items() if is_so))


def _check_text(text: str, has_image: bool) -> None:
    if not text.strip():
        raise Unreadable("words", "The request has no words, and the tiny models need some.")
    if unknown := _unknown_words(text):
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        listed = ", ".join(repr(word) for word in unknown[:_SHOWN])
        raise Unreadable(
            "words",
            f"The tiny models never learned {listed}{more}: they know the requests of the "
            "microworld alone, in small letters.",
        )
    # A defense may ask about a caption in a picture's place; its questions are tokens of their own.
    if not has_image and not _has_template(text):
        raise Unreadable("picture", "The tiny models answer about a drawing, and there is none.")


def _check_images(images: Sequence[str]) -> None:
    if len(images) > 1:
        raise Unreadable(
            "picture", f"The tiny models read one drawing a request, and there are {len(images)}."
        )
    for image in images:
        try:
            known = size_of(image) == (SIZE, SIZE) and bool(picture_of(image))
        except ImageError as error:
            raise Unreadable("picture", f"The picture cannot be read: {error}.") from error
        except ValueError:
            known = False
        if not known:
            raise Unreadable(
                "picture",
                "The picture is no drawing of the microworld (as PNG, with its bytes unchanged). "
                "The tiny models learned these alone, and would take a photo for one of them.",
            )


def _unknown_words(text: str) -> list[str]:
    """Words of a text that are no tokens of the tiny models, in order, each once."""
    encoded = _tokenizer().encode(text, add_special_tokens=False)
    special = _added(special=True)
    found = [
        text[start:end].strip()
        for token, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True)
        if token in special
    ]
    return list(dict.fromkeys(found))


def _has_template(text: str) -> bool:
    """Whether a text holds a line of a defense's template."""
    lines = _added(special=False)
    return any(token in lines for token in _tokenizer().encode(text).tokens)


@cache
def _added(special: bool) -> frozenset[str]:
    """Tokens besides words: special ones (an unknown word is one), or lines of templates."""
    added = _tokenizer().get_added_tokens_decoder().values()
    return frozenset(token.content for token in added if token.special == special)


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(checkpoint(REWRITER) / "tokenizer.json"))
