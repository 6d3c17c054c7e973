"""Inspect chat messages -> the conversation that a chat template takes, with its images.

Notes on what is changed on the way travel with the result and end up in the log:
a system turn folded into the user turn, an image placeholder spelled out in somebody's text.
"""

from dataclasses import dataclass, field
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ContentImage,
    ContentReasoning,
    ContentText,
)

from vlmguard.errors import UserError

SYSTEM_FOLDED = "system turn folded into the user turn (the chat template has none)"
PLACEHOLDER_BROKEN = "an image placeholder spelled out in the text was broken up"


@dataclass
class Conversation:
    """A conversation ready for a chat template.

    Attributes:
        turns: Messages of `role` and `content` parts (`{"type": "image"}`, `{"type": "text"}`).
        images: References (data URIs) of the images, in the order of their parts.
        prefix: The beginning of the answer that the model has to continue, without trailing
            white space; None where the answer starts anew. It is also the last of `turns`.
        prefix_space: White space at the end of the prefix as it came. The completion then starts
            without white space, so that prefix + completion reads as one text.
        notes: What was changed on the way.
    """

    turns: list[dict[str, Any]]
    images: list[str]
    prefix: str | None = None
    prefix_space: str = ""
    notes: list[str] = field(default_factory=list)


def to_conversation(
    messages: list[ChatMessage], *, system_turns: bool, placeholders: tuple[str, ...]
) -> Conversation:
    """Translate a conversation.

    Args:
        messages: Any mix of system, user and assistant messages with text and images. A trailing
            assistant message with text in it is the beginning of the answer.
        system_turns: Whether the chat template renders system turns; otherwise their text and
            images go before the next user turn's content.
        placeholders: Strings that the processor would take for an image or a video. In texts they
            are broken up by a space, or the processor would look for images that are not there.

    Returns:
        The conversation, see `Conversation`.

    Raises:
        UserError: A tool message, or content other than text, images and reasoning.
    """
    conversation = Conversation(turns=[], images=[])
    system: list[dict[str, Any]] = []
    for message in messages:
        parts = _parts(message, conversation, placeholders)
        if message.role == "system" and not system_turns:
            system = _folded(system, parts)
            continue
        if message.role == "user" and system:
            parts = _folded(system, parts)
            conversation.notes.append(SYSTEM_FOLDED)
            system = []
        conversation.turns.append({"role": message.role, "content": parts})
    if system:
        # No user turn to fold it into: the system turn itself is the request.
        conversation.turns.insert(0, {"role": "user", "content": system})
        conversation.notes.append(SYSTEM_FOLDED)
    _split_prefix(conversation)
    # Last, since folding moves parts.
    contents = (part for turn in conversation.turns for part in turn["content"])
    conversation.images = [part.pop("image") for part in contents if part["type"] == "image"]
    return conversation


def split_reasoning(text: str, *, opened: bool) -> tuple[str | None, str]:
    """Split a completion into what stands in `<think>` tags and the answer.

    Args:
        text: The completion.
        opened: Whether the prompt already opened the tag.

    Returns:
        Reasoning (None where there is none) and answer. Reasoning that was cut off before its
        closing tag leaves an empty answer: none of it was meant to be one.
    """
    body = text if opened else text.lstrip()
    if not opened:
        if not body.startswith("<think>"):
            return None, text
        body = body.removeprefix("<think>")
    reasoning, _, answer = body.partition("</think>")
    return reasoning.strip(), answer.lstrip()


def _parts(
    message: ChatMessage, conversation: Conversation, placeholders: tuple[str, ...]
) -> list[dict[str, Any]]:
    if message.role == "tool" or (isinstance(message, ChatMessageAssistant) and message.tool_calls):
        raise UserError("hf-vlm/ does not support tools. Use a server and openai-api/ for them.")
    content = message.content
    parts: list[dict[str, Any]] = []
    for item in [ContentText(text=content)] if isinstance(content, str) else content:
        if isinstance(item, ContentImage):
            parts.append({"type": "image", "image": item.image})
        elif isinstance(item, ContentText):
            parts.append({"type": "text", "text": _plain(item.text, conversation, placeholders)})
        elif isinstance(item, ContentReasoning):
            text = f"<think>\n{item.reasoning}\n</think>\n\n"
            parts.append({"type": "text", "text": _plain(text, conversation, placeholders)})
        else:
            raise UserError(
                f"hf-vlm/ takes text and images; a {message.role} message has {item.type} content."
            )
    return parts


def _folded(system: list[dict[str, Any]], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts behind those of a system turn, with a blank line between texts."""
    if system and system[-1]["type"] == "text":
        system[-1]["text"] += "\n\n"
    return [*system, *parts]


def break_up(text: str, placeholders: tuple[str, ...]) -> str:
    """Break up placeholders that somebody spelled out in a text.

    Args:
        text: Any text.
        placeholders: Strings that the processor would take for an image or a video.

    Returns:
        The text with a space after each placeholder's first character.
    """
    for placeholder in placeholders:
        text = text.replace(placeholder, f"{placeholder[0]} {placeholder[1:]}")
    return text


def _plain(text: str, conversation: Conversation, placeholders: tuple[str, ...]) -> str:
    broken = break_up(text, placeholders)
    if broken != text and PLACEHOLDER_BROKEN not in conversation.notes:
        conversation.notes.append(PLACEHOLDER_BROKEN)
    return broken


def _split_prefix(conversation: Conversation) -> None:
    if not conversation.turns or conversation.turns[-1]["role"] != "assistant":
        return
    parts = conversation.turns[-1]["content"]
    if any(part["type"] != "text" for part in parts):
        raise UserError("hf-vlm/ can continue an answer of text only; this one holds an image.")
    text = "".join(part["text"] for part in parts)
    prefix = text.rstrip()
    if not prefix:
        conversation.turns.pop()
        return
    # Tokenizers join a space to the word after it: a prompt that ends in one is out of the
    # model's distribution, and some templates strip it anyway.
    conversation.prefix = prefix
    conversation.prefix_space = text[len(prefix) :]
    conversation.turns[-1]["content"] = [{"type": "text", "text": prefix}]
