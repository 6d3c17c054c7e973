"""Writes an exchange into a prompt: delimited, and disarmed so that no text leaves its block."""

import re
from typing import Final

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser

from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.messages import user_message
from vlmguard.guard.text.untrusted import disarm, plain_spelling

__all__ = ["marked", "material", "quoted", "turn_of"]

NO_TEXT: Final = "(no text)"


def material(exchange: Exchange) -> str:
    """An exchange as blocks of text: `<conversation>` (earlier turns), `<request>`, `<answer>`.

    Args:
        exchange: The exchange; system turns are left out, since they are not what is checked.
    """
    conversation = exchange.conversation
    turns = "\n".join(
        f"{turn.role}: {turn.text}" for turn in conversation.earlier if _is_said(turn)
    )
    blocks = {
        "conversation": turns,
        "request": conversation.text.strip() or NO_TEXT,
        "answer": exchange.answer or "",
    }
    return "\n\n".join(
        f"<{name}>\n{disarm(text)}\n</{name}>" for name, text in blocks.items() if text
    )


def turn_of(exchange: Exchange, text: str) -> ChatMessageUser:
    """A user turn for a guard model: all images up to the request, in order, then a text."""
    return user_message(exchange.conversation.seen, text)


def quoted(text: str, heads: re.Pattern[str], *tags: str) -> str:
    """A foreign text, disarmed, in which lines that begin as ours do are quoted (`> User: ...`).

    Args:
        text: The text.
        heads: Beginnings of our lines, in plain spelling.
        *tags: Names of further tags of the prompt, in small letters.
    """
    return marked(disarm(text, *tags), heads)


def marked(text: str, heads: re.Pattern[str]) -> str:
    """A text with `> ` before each line that begins as ours do.

    Args:
        text: The text.
        heads: Beginnings of our lines, in plain spelling.
    """
    lines = text.splitlines(keepends=True)
    return "".join(f"> {line}" if heads.match(plain_spelling(line)) else line for line in lines)


def _is_said(turn: ChatMessage) -> bool:
    return isinstance(turn, ChatMessageUser | ChatMessageAssistant) and bool(turn.text.strip())
