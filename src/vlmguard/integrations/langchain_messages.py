"""LangChain's messages as a defense reads them, and what it decided for as LangChain's messages."""

import json
from collections.abc import Sequence
from typing import Any, Final

from inspect_ai.model import ChatMessage, ChatMessageUser
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages

from vlmguard.guard.messages import images_of
from vlmguard.guard.serving.dialects.chat import PARTS, chat_messages, rendered
from vlmguard.guard.serving.dialects.splicing import with_messages
from vlmguard.guard.serving.faults import Fault

__all__ = ["History"]

_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


class History:
    """A history of messages.

    Args:
        sent: The messages; what they are is left alone.

    Raises:
        Fault: One of them cannot be read.
    """

    def __init__(self, sent: Sequence[BaseMessage]) -> None:
        self.sent = list(sent)
        self._spelled = [_spelled(message, index) for index, message in enumerate(sent)]
        self.messages: list[ChatMessage] = chat_messages(self._spelled)
        """The same for a defense, one for each."""

    def written(self, messages: Sequence[ChatMessage]) -> list[BaseMessage]:
        """Messages that a defense decided for.

        Args:
            messages: Those of `messages`, themselves, or others. Of a new user turn, the blocks
                that did not change are those that were sent.
        """
        own = {id(one): sent for one, sent in zip(self.messages, self.sent, strict=True)}
        entries: list[dict[str, Any]] = []
        if any(id(each) not in own for each in messages):
            text = json.dumps({"messages": self._entries(messages)})
            changed = with_messages(text, "messages", self.messages, messages, PARTS, rendered)
            entries = json.loads(changed)["messages"]
        kept = {id(each) for each in messages}
        lost = [sent for one, sent in own.items() if one not in kept]
        last = next((each for each in reversed(lost) if isinstance(each, HumanMessage)), None)
        found: list[BaseMessage] = []
        for index, message in enumerate(messages):
            if id(message) in own:
                found.append(own[id(message)])
            elif isinstance(message, ChatMessageUser) and last is not None:
                found.append(last.model_copy(update={"content": entries[index]["content"]}))
                last = None
            else:
                found += convert_to_messages([entries[index]])
        return found

    def _entries(self, messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
        """The messages in the form in which they are changed: blocks as they were sent.

        Where images change, blocks are OpenAI's parts: others have no one place for an image.
        """
        if set(images_of(list(messages))) - set(images_of(self.messages)):
            return self._spelled
        return [
            {**spelled, "content": _listed(sent.content)}
            for spelled, sent in zip(self._spelled, self.sent, strict=True)
        ]


def _spelled(message: BaseMessage, index: int) -> dict[str, Any]:
    """A message as chat completions write it.

    Raises:
        Fault: It cannot be read.
    """
    role, where = _ROLES.get(message.type), f"messages.{index}"
    blocks = message.content_blocks
    whole = isinstance(message.content, str) or len(blocks) == len(message.content)
    if role is None or (role == "user" and not whole):
        said = f"{where}: a message of type {message.type} that cannot be read."
        raise Fault(400, "invalid_messages", said, where)
    if isinstance(message.content, str):
        content: Any = message.content
    else:
        content = [_part(dict(block)) for block in blocks]
    calls = [{"id": block.get("id")} for block in blocks if block["type"] == "tool_call"]
    return {"role": role, "content": content, **({"tool_calls": calls} if calls else {})}


def _part(block: dict[str, Any]) -> dict[str, Any]:
    """One of LangChain's standard blocks as a part of chat completions."""
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    if block["type"] == "image":
        address = block.get("url", "")
        if "base64" in block:
            address = f"data:{block.get('mime_type', '')};base64,{block['base64']}"
        # By the number of a file or by a path: no address, which is refused.
        return {"type": "image_url", "image_url": {"url": address}}
    value = block.get("value")
    # OpenAI's short form, which LangChain lets pass.
    if isinstance(value, dict) and isinstance(value.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": value["image_url"]}}
    told = {**block, **(value if isinstance(value, dict) else {})}
    text = {"text": told["text"]} if isinstance(told.get("text"), str) else {}
    return {"type": str(block["type"]), **text}


def _listed(content: str | list[Any]) -> str | list[Any]:
    """A content whose blocks are all dicts."""
    if isinstance(content, str):
        return content
    return [{"type": "text", "text": each} if isinstance(each, str) else each for each in content]
