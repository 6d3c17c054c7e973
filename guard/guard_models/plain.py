"""The conversation itself, as guard models get it whose chat template writes the policy around it.

Such templates know turns of a user and of an assistant in strict alternation, and ask about the
last one. So system turns, tool calls and the text of tools' results are left out, images of such
results stand in a user turn, and turns of one role that follow each other become one. Foreign text
is as a reader sees it (`text/reading.py`), but for what could end its turn: control tokens, the
marks with which templates delimit a conversation (`<END CONVERSATION>`), and lines that begin as
their turns do (`Agent: No`), which are quoted.
"""

import re
from typing import Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentText,
)

from vlmguard.guard.guard_models.base import Exchange
from vlmguard.guard.messages import image_parts, texts_and_images
from vlmguard.guard.text.reading import as_read, marked
from vlmguard.guard.text.thinking import strip_thinking
from vlmguard.guard.text.untrusted import break_controls

__all__ = ["plain_turns", "text_turns"]

NO_TEXT = "(no text)"
"""Stands for a user turn without any text or image, which templates cannot show."""

# Beginnings of turns in the templates of Llama Guard, Qwen3Guard, Granite Guardian and the like.
_TURN: Final = re.compile(
    r"[\s*_#]{0,9}(?:user|human|agent|ai|assistant)(?:\s+message)?[\s*_]{0,9}:"
)
_LONGEST_TOKEN: Final = 70


def plain_turns(exchange: Exchange) -> list[ChatMessage]:
    """The turns of user and assistant up to the last user turn, and the answer if there is one.

    Args:
        exchange: With a user turn.

    Returns:
        Turns in alternation, the first of them the user's; the last is what is to be checked.
    """
    turns: list[tuple[str, list[Content]]] = []
    for message in exchange.conversation.request:
        if isinstance(message, ChatMessageUser):
            _add(turns, "user", texts_and_images(message, _inert))
        elif isinstance(message, ChatMessageAssistant) and turns:
            # A greeting before the first user turn is left out.
            _add(turns, "assistant", texts_and_images(message, _said))
        elif isinstance(message, ChatMessageTool) and (pictures := image_parts([message])):
            _add(turns, "user", [*pictures])
    if exchange.answer is not None:
        _add(turns, "assistant", [ContentText(text=_inert(exchange.answer))])
    return [
        ChatMessageUser(content=_apart(content) or NO_TEXT)
        if role == "user"
        else ChatMessageAssistant(content=_apart(content))
        for role, content in turns
    ]


def text_turns(exchange: Exchange) -> list[ChatMessage]:
    """The turns as `plain_turns` gives them, without images, for a guard that reads text alone.

    Args:
        exchange: With a user turn.
    """
    return [
        turn.model_copy(update={"content": turn.text if turn.text.strip() else NO_TEXT})
        for turn in plain_turns(exchange)
    ]


def _add(turns: list[tuple[str, list[Content]]], role: str, content: list[Content]) -> None:
    if turns and turns[-1][0] == role:
        turns[-1][1].extend(content)
    elif content or role == "user":
        turns.append((role, content))


def _apart(content: list[Content]) -> list[Content]:
    """Parts of a turn, with a space before a text that would end a control token of the last one.

    Servers' templates write the texts of a turn one behind the other.
    """
    kept: list[Content] = []
    before = ""
    for part in content:
        if isinstance(part, ContentText):
            joined = before + part.text
            apart = "" if break_controls(joined) == joined else " "
            kept.append(ContentText(text=apart + part.text))
            before = (before + apart + part.text)[-_LONGEST_TOKEN:]
        else:
            kept.append(part)
    return kept


def _said(text: str) -> str:
    return _inert(strip_thinking(text))


def _inert(text: str) -> str:
    return marked(break_controls(as_read(text), "begin", "end"), _TURN)
