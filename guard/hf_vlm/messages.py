"""Turns Inspect chat messages into the conversation that a chat template takes, with its images.

The result notes each change, and the log shows it: a system turn moved into the user turn, a
control token that was broken up.
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

from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import parts_of
from vlmguard.guard.text.control_tokens import break_up
from vlmguard.guard.text.untrusted import well_formed

SYSTEM_FOLDED = "system turn folded into the user turn (the chat template has none)"
CONTROL_BROKEN = "a control token spelled out in the text was broken up"
HALF_REPLACED = "half a character (a lone surrogate) in the text was replaced"


@dataclass
class Conversation:
    """A conversation for a chat template.

    Attributes:
        turns: Messages of `role` and `content` parts (`{"type": "image"}`, `{"type": "text"}`).
        images: References (data URIs) of the images, in the order of their parts.
        prefix: The beginning of an answer that the model continues, without trailing white space;
            None for a new answer. It is also the last of `turns`.
        prefix_space: White space at the end of the prefix as it came. The completion then starts
            without white space, so that prefix + completion reads as one text.
        notes: The changes.
    """

    turns: list[dict[str, Any]]
    images: list[str]
    prefix: str | None = None
    prefix_space: str = ""
    notes: list[str] = field(default_factory=list)


def to_conversation(
    messages: list[ChatMessage], *, system_turns: bool, control_tokens: tuple[str, ...]
) -> Conversation:
    """Translate a conversation.

    Args:
        messages: Any mix of system, user and assistant messages with text and images. A trailing
            assistant message with text in it is the beginning of the answer.
        system_turns: Whether the chat template renders system turns; otherwise their text and
            images go before the next user turn's content.
        control_tokens: Strings that the tokenizer would read as turn markers, ends of text or
            images. A space breaks them up in all texts, also in the model's own and in a prefix of
            its answer. A model never writes them as text (decoding leaves special tokens out), so a
            text that holds one spells it, and could start a turn.

    Returns:
        The conversation, see `Conversation`.

    Raises:
        UserError: A tool message, or content other than text, images and reasoning.
    """
    conversation = Conversation(turns=[], images=[])
    system: list[dict[str, Any]] = []
    for message in messages:
        parts = _parts(message, conversation, control_tokens)
        if message.role == "system" and not system_turns:
            system = _folded(system, parts)
            continue
        if message.role == "user" and system:
            parts = _folded(system, parts)
            conversation.notes.append(SYSTEM_FOLDED)
            system = []
        conversation.turns.append({"role": message.role, "content": parts})
    if system:
        # There is no user turn to move it into, so the system turn itself is the request.
        conversation.turns.insert(0, {"role": "user", "content": system})
        conversation.notes.append(SYSTEM_FOLDED)
    for turn in conversation.turns:
        _keep_apart(turn["content"], control_tokens)
    _split_prefix(conversation)
    # Last, since moving system turns joins parts.
    contents = (part for turn in conversation.turns for part in turn["content"])
    conversation.images = [part.pop("image") for part in contents if part["type"] == "image"]
    return conversation


def split_reasoning(text: str, *, opened: bool) -> tuple[str | None, str]:
    """Split a completion into the text in `<think>` tags and the answer.

    `thinking.split_thinking` reads texts of unknown origin. Here it is known whether the prompt
    opened the tag, so that unfinished thinking is not taken for an answer. The answer is kept to
    the letter, for the log; its readers use `outputs`.

    Args:
        text: The completion.
        opened: Whether the prompt already opened the tag.

    Returns:
        Reasoning (None if there is none) and answer. If the reasoning was cut off before its
        closing tag, the answer is empty.
    """
    body = text if opened else text.lstrip()
    if not opened:
        if not body.startswith("<think>"):
            return None, text
        body = body.removeprefix("<think>")
    reasoning, _, answer = body.partition("</think>")
    return reasoning.strip(), answer.lstrip()


def _parts(
    message: ChatMessage, conversation: Conversation, control_tokens: tuple[str, ...]
) -> list[dict[str, Any]]:
    if message.role == "tool" or (isinstance(message, ChatMessageAssistant) and message.tool_calls):
        raise UserError("hf-vlm/ does not support tools. Use a server and openai-api/ for them.")
    parts: list[dict[str, Any]] = []
    for item in parts_of(message):
        if isinstance(item, ContentImage):
            parts.append({"type": "image", "image": item.image})
        elif isinstance(item, ContentText):
            parts.append({"type": "text", "text": _plain(item.text, conversation, control_tokens)})
        elif isinstance(item, ContentReasoning):
            thought = _plain(item.reasoning, conversation, control_tokens)
            parts.append({"type": "text", "text": f"<think>\n{thought}\n</think>\n\n"})
        else:
            raise UserError(
                f"hf-vlm/ takes text and images; a {message.role} message has {item.type} content."
            )
    return parts


def _folded(system: list[dict[str, Any]], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts after those of a system turn, with a blank line between texts."""
    if system and system[-1]["type"] == "text":
        system[-1]["text"] += "\n\n"
    return [*system, *parts]


def _plain(text: str, conversation: Conversation, control_tokens: tuple[str, ...]) -> str:
    whole = well_formed(text)
    broken = break_up(whole, control_tokens)
    for note, noted in ((HALF_REPLACED, whole != text), (CONTROL_BROKEN, broken != whole)):
        if noted and note not in conversation.notes:
            conversation.notes.append(note)
    return broken


def _keep_apart(parts: list[dict[str, Any]], control_tokens: tuple[str, ...]) -> None:
    """Put a space between two texts that would form a control token together."""
    longest = max(map(len, control_tokens), default=0)
    before = ""
    for part in parts:
        if part["type"] == "text":
            text = part["text"]
            alone = break_up(before, control_tokens) + break_up(text, control_tokens)
            if break_up(before + text, control_tokens) != alone:
                text = part["text"] = f" {text}"
            before = (before + text)[-longest:]


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
    # Tokenizers join a space to the next word. So a prompt that ends in a space is unusual for the
    # model, and some templates strip the space.
    conversation.prefix = prefix
    conversation.prefix_space = text[len(prefix) :]
    conversation.turns[-1]["content"] = [{"type": "text", "text": prefix}]
