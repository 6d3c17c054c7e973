"""Writes an exchange into a prompt: delimited, and disarmed so that no text leaves its block."""

from typing import Final

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser

from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.messages import user_message
from vlmguard.guard.text.reading import as_read, quoted_turns, to_read

__all__ = ["material", "turn_of"]

NO_TEXT: Final = "(no text)"


def material(exchange: Exchange) -> str:
    """An exchange as blocks of text: `<conversation>` (earlier turns), `<request>`, `<answer>`.

    Args:
        exchange: The exchange; system turns are left out, since they are not what is checked.
    """
    conversation = exchange.conversation
    blocks = {
        "conversation": quoted_turns(turn for turn in conversation.earlier if _is_said(turn)),
        "request": to_read(as_read(conversation.text).strip() or NO_TEXT),
        "answer": to_read(exchange.answer or ""),
    }
    return "\n\n".join(f"<{name}>\n{text}\n</{name}>" for name, text in blocks.items() if text)


def turn_of(exchange: Exchange, text: str) -> ChatMessageUser:
    """A user turn for a guard model: all images up to the request, in order, then a text."""
    return user_message(exchange.conversation.seen, text)


def _is_said(turn: ChatMessage) -> bool:
    return isinstance(turn, ChatMessageUser | ChatMessageAssistant) and bool(turn.text.strip())
