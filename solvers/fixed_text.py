"""What the defenses that always add the same text have in common: no trigger and no verdict."""

from typing import Any

from inspect_ai.model import ChatMessage

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.templates import template_hash

__all__ = ["warned"]


def warned(
    conversation: Conversation,
    messages: list[ChatMessage],
    record: DefenseRecord,
    *texts: str,
    **notes: Any,
) -> Decision:
    """The decision to send a conversation with a fixed text in it.

    Args:
        conversation: The conversation.
        messages: The same with the text.
        record: Where text and notes are noted; `rewritten` only if the user's turn has the text.
        *texts: The added texts, for their hash.
        **notes: The options that choose text or place.
    """
    record.template = template_hash(*texts)
    record.notes = notes
    request = Conversation(messages).text
    if request != conversation.text:
        record.rewritten = request
    return Decision("rewrite", request, "warned", messages=messages)
