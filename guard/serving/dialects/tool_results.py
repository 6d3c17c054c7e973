"""Turns of a user that begin with results of tools: one in the body, two messages for the guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageTool, ChatMessageUser, Content

from vlmguard.guard.messages import parts_of
from vlmguard.guard.serving.dialects.reading import unread

__all__ = ["Mixed", "is_result", "listed", "mixed_turns", "one_each"]


@dataclass(frozen=True)
class Mixed:
    """An entry that is two messages here.

    Attributes:
        results: The results of its tools, as parts that nobody reads.
        user: The user's message of it.
        both: The entry as one message, a part for each block.
    """

    results: list[Content]
    user: ChatMessage
    both: ChatMessageUser


def mixed_turns(entries: list[Any], messages: Sequence[ChatMessage]) -> dict[int, Mixed]:
    """The entries that are two messages, by the identity of the first.

    Args:
        entries: The body's.
        messages: What was read of them.
    """
    found: dict[int, Mixed] = {}
    left = iter(messages)
    for entry in entries:
        first, blocks = next(left), listed(entry.get("content"))
        if not isinstance(first, ChatMessageTool) or all(map(is_result, blocks)):
            continue
        user = next(left)
        others = iter(parts_of(user))
        parts = [unread("tool_result") if is_result(block) else next(others) for block in blocks]
        results = [part for part, block in zip(parts, blocks, strict=True) if is_result(block)]
        found[id(first)] = Mixed(results, user, ChatMessageUser(content=parts))
    return found


def one_each(messages: Sequence[ChatMessage], mixed: dict[int, Mixed]) -> list[ChatMessage]:
    """Messages as the body has them, one for each entry.

    Args:
        messages: Those that a defense decided for, or those that were read.
        mixed: As from `mixed_turns`.
    """
    joined: list[ChatMessage] = []
    before: ChatMessage | None = None
    for message in messages:
        entry = mixed.get(id(before)) if isinstance(message, ChatMessageUser) else None
        before = message
        if entry is None:
            joined.append(message)
        elif message is entry.user:
            joined[-1] = entry.both
        else:
            joined[-1] = ChatMessageUser(content=[*entry.results, *parts_of(message)])
    return joined


def is_result(block: Any) -> bool:
    """Whether a block is a tool's result."""
    return isinstance(block, dict) and block.get("type") == "tool_result"


def listed(blocks: Any) -> list[Any]:
    """The blocks of a content; none of a text."""
    return blocks if isinstance(blocks, list) else []
