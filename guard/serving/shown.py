"""A client's conversation as the guard sees it: with checked images, each a data URI."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inspect_ai.model import ChatMessage, ChatMessageUser, Content, ContentImage

from vlmguard.guard.defense import Conversation
from vlmguard.guard.messages import parts_of
from vlmguard.guard.serving.fetching import ImageFetcher
from vlmguard.guard.serving.images import ImagePolicy, ImageReference, checked_images

__all__ = ["Shown", "shown"]


@dataclass(frozen=True)
class Shown:
    """A conversation, as it was sent and as the guard sees it.

    Attributes:
        sent: The client's messages.
        messages: The same for the guard. Those whose images are all data URIs are those of `sent`
            themselves.
    """

    sent: Sequence[ChatMessage]
    messages: list[ChatMessage]

    def as_sent(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Messages that a defense decided for, with the client's links where these were fetched."""
        own = {id(one): sent for one, sent in zip(self.messages, self.sent, strict=True)}
        return [own.get(id(each)) or self._with_links(each) for each in messages]

    def _with_links(self, message: ChatMessage) -> ChatMessage:
        """A turn that a defense wrote in the place of the last user turn."""
        if not isinstance(message, ChatMessageUser):
            return message
        turn = Conversation(self.messages).index
        if turn is None or self.messages[turn] is self.sent[turn]:
            return message
        pairs = zip(parts_of(self.messages[turn]), parts_of(self.sent[turn]), strict=True)
        # Two links may lead to the same picture, so each is used once, in order.
        fetched = [(seen, sent) for seen, sent in pairs if seen is not sent]
        parts: list[Content] = []
        for part in parts_of(message):
            found = next((n for n, (seen, _) in enumerate(fetched) if _alike(part, seen)), None)
            parts.append(part if found is None else fetched.pop(found)[1])
        return message.model_copy(update={"content": parts})


async def shown(
    messages: Sequence[ChatMessage],
    key: str | None,
    policy: ImagePolicy,
    fetcher: ImageFetcher | None,
) -> Shown:
    """Check all images of a conversation, and fetch those that are linked.

    Args:
        messages: The client's messages.
        key: The key of the messages in the body, for errors; None if they are not those entries,
            one by one.
        policy: The limits of images.
        fetcher: Fetches linked images; None if none are fetched.

    Raises:
        Fault: An image may not be used, see `checked_images`.
    """
    places = [
        (part.image, f"{key}.{index}.content.{at}" if key else None)
        for index, message in enumerate(messages)
        for at, part in enumerate(parts_of(message))
        if isinstance(part, ContentImage)
    ]
    references = [
        ImageReference(image, number, place) for number, (image, place) in enumerate(places, 1)
    ]
    images = await checked_images(references, policy, fetcher)
    sent = [each.value for each in references]
    if images == sent:
        return Shown(messages, list(messages))
    left = iter(images)
    return Shown(messages, [_with_next(message, left) for message in messages])


def _with_next(message: ChatMessage, images: Iterator[str]) -> ChatMessage:
    """A message with the next images in the places of its own; itself if they are the same."""
    if isinstance(message.content, str):
        return message
    parts = [
        _with_image(part, next(images)) if isinstance(part, ContentImage) else part
        for part in message.content
    ]
    if all(one is other for one, other in zip(parts, message.content, strict=True)):
        return message
    return message.model_copy(update={"content": parts})


def _with_image(part: ContentImage, image: str) -> ContentImage:
    return part if part.image == image else part.model_copy(update={"image": image})


def _alike(part: Content, other: Content) -> bool:
    if not isinstance(part, ContentImage) or not isinstance(other, ContentImage):
        return False
    return part.image == other.image
