"""Builds chat messages, and reads texts and images from them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from inspect_ai.model import ChatMessage, ChatMessageUser, Content, ContentImage, ContentText

__all__ = [
    "image_parts",
    "images_of",
    "other_request",
    "parts_of",
    "replace_images",
    "texts_and_images",
    "user_message",
    "with_addition",
    "with_images",
    "with_text",
]


def user_message(images: Iterable[str | ContentImage], text: str) -> ChatMessageUser:
    """A user turn: images first, then text.

    Args:
        images: Image references (data URIs, paths), or parts of another turn; may be empty.
        text: The text.
    """
    return ChatMessageUser(content=[*map(_image_part, images), ContentText(text=text)])


def with_text(message: ChatMessage, text: str) -> ChatMessageUser:
    """A new user turn with other text and the same images.

    Returns:
        A new message: all parts but text are unchanged and in order; the text is last.
    """
    kept = [part for part in parts_of(message) if not isinstance(part, ContentText)]
    return ChatMessageUser(content=[*kept, ContentText(text=text)])


def replace_images(message: ChatMessage, images: Sequence[str]) -> ChatMessageUser:
    """A new user turn with other images in the places of its own; its texts keep their places.

    Args:
        message: The turn.
        images: As many as it has; none at all takes them out.

    Raises:
        ValueError: Another number of images.
    """
    ours = image_parts([message])
    if images and len(images) != len(ours):
        raise ValueError(f"{len(images)} images for the places of {len(ours)}")
    others = iter(images)
    parts: list[Content] = []
    for part in parts_of(message):
        if not isinstance(part, ContentImage):
            parts.append(part)
        elif images:
            parts.append(part.model_copy(update={"image": next(others)}))
    return ChatMessageUser(content=parts)


def other_request(
    turn: ChatMessage, images: Sequence[str | ContentImage], text: str
) -> ChatMessage:
    """A user turn with other images and another text, all else of it in its place.

    Args:
        turn: The turn.
        images: Image references, or parts of the turn. As many as it has take their places;
            another number comes first.
        text: The text, in the place of the turn's own if that is one, else last.

    Returns:
        The turn itself if nothing is new.
    """
    own = image_parts([turn])
    if text == turn.text and list(map(id, images)) == list(map(id, own)):
        return turn
    parts = parts_of(turn)
    if len(images) == len(own):
        others = map(_image_part, images)
        parts = [next(others) if isinstance(part, ContentImage) else part for part in parts]
    else:
        rest = [part for part in parts if not isinstance(part, ContentImage)]
        parts = [*map(_image_part, images), *rest]
    return ChatMessageUser(content=_told(parts, turn.text, text))


def with_addition(
    message: ChatMessage, text: str, place: Literal["prefix", "suffix"]
) -> ChatMessageUser:
    """A new user turn with a text added before or after its own.

    Args:
        message: The turn; its images and texts keep their order.
        text: The added text, separated by an empty line.
        place: `prefix` comes before the first text (images may be before that), `suffix` comes
            last.
    """
    parts = parts_of(message)
    texts = {n: part.text for n, part in enumerate(parts) if isinstance(part, ContentText)}
    last = len(parts) - 1
    if not texts or (place == "suffix" and last not in texts):
        return ChatMessageUser(content=[*parts, ContentText(text=text)])
    changed = last if place == "suffix" else min(texts)
    both = (texts[changed], text) if place == "suffix" else (text, texts[changed])
    parts[changed] = ContentText(text="\n\n".join(both))
    return ChatMessageUser(content=parts)


def parts_of(message: ChatMessage) -> list[Content]:
    """The parts of a message, in order, as a new list; a plain string is one part of text."""
    content = message.content
    return [ContentText(text=content)] if isinstance(content, str) else [*content]


def image_parts(messages: str | Sequence[ChatMessage]) -> list[ContentImage]:
    """The image parts of a conversation, in order.

    Args:
        messages: Messages, or a sample's input, which may be a plain string.

    Returns:
        The parts themselves: a change of them changes the conversation.
    """
    if isinstance(messages, str):
        return []
    return [
        part for message in messages for part in parts_of(message) if isinstance(part, ContentImage)
    ]


def images_of(messages: str | Sequence[ChatMessage]) -> list[str]:
    """The image references of a conversation, in order; of `messages` as for `image_parts`."""
    return [part.image for part in image_parts(messages)]


def with_images(messages: Sequence[ChatMessage], kept: Sequence[ContentImage]) -> list[ChatMessage]:
    """A conversation without its other images.

    Args:
        messages: The conversation.
        kept: Image parts of it, as from `image_parts`: two parts with the same image are two.
    """
    identities = {id(part) for part in kept}
    changed: list[ChatMessage] = []
    for message in messages:
        parts = parts_of(message)
        left = [
            part for part in parts if not isinstance(part, ContentImage) or id(part) in identities
        ]
        same = len(left) == len(parts)
        changed.append(message if same else message.model_copy(update={"content": left}))
    return changed


def texts_and_images(message: ChatMessage, clean: Callable[[str], str]) -> list[Content]:
    """The texts and images of a message, in order, without other parts and empty texts.

    Args:
        message: The message.
        clean: Is applied to each text.
    """
    cleaned = (
        ContentText(text=clean(part.text)) if isinstance(part, ContentText) else part
        for part in parts_of(message)
        if isinstance(part, ContentText | ContentImage)
    )
    return [part for part in cleaned if isinstance(part, ContentImage) or part.text.strip()]


def _image_part(image: str | ContentImage) -> ContentImage:
    return ContentImage(image=image) if isinstance(image, str) else image


def _told(parts: list[Content], old: str, new: str) -> list[Content]:
    """The parts of a turn with another text: in the place of its own if that is one, else last.

    What is only added behind comes last, and the texts before it stay among their images.
    """
    places = [number for number, part in enumerate(parts) if isinstance(part, ContentText)]
    if new == old:
        return parts
    if len(places) == 1:
        parts[places[0]] = ContentText(text=new)
        return parts
    if places and new.startswith(old):
        added = new.removeprefix(old)
        last = parts[-1]
        if isinstance(last, ContentText):
            return [*parts[:-1], ContentText(text=last.text + added)]
        return [*parts, ContentText(text=added)]
    kept = [part for part in parts if not isinstance(part, ContentText)]
    return [*kept, ContentText(text=new)]
