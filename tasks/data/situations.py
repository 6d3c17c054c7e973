"""MSSBench's records: requests in pairs, each in a safe and in an unsafe situation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field

from vlmguard.guard.data_records import AGAIN, Text, parse_records
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json

__all__ = ["SITUATIONS", "TASKS", "Situation", "read_situations"]

TASKS: Final = ("chat", "embodied")
SITUATIONS: Final = ("safe", "unsafe")


class ChatItem(BaseModel):
    """A record of the list `chat`."""

    safe_image_path: Text
    unsafe_image_path: Text
    intent: Text
    unsafe_image: Text
    category: Text = Field(alias="Type")
    queries: list[Text] = Field(min_length=1)


class EmbodiedItem(BaseModel):
    """A record of the list `embodied`."""

    category: Text
    safe: Text
    unsafe: Text
    safe_instruction: Text
    unsafe_instruction: Text
    safe_instructions: list[Text] = Field(min_length=1)
    unsafe_instructions: list[Text] = Field(min_length=1)
    observation_safe: Text
    observation_unsafe: Text


@dataclass(frozen=True)
class Situation:
    """One half of a pair.

    Attributes:
        task: `chat` or `embodied`.
        row: Number of its record in that list, from 0.
        number: Number of the request in the record.
        half: `safe` or `unsafe`.
        category: The kind of harm.
        text: The request.
        caption: A description of the picture; empty for safe pictures of `chat`.
        image: Name of the picture in the task's folder.
    """

    task: str
    row: int
    number: int
    half: str
    category: str
    text: str
    caption: str
    image: str


def read_situations(path: Path, *, intents: bool = False) -> list[Situation]:
    """Read both halves of all pairs, those of `chat` first.

    Args:
        path: The authors' combined.json.
        intents: Whether each record's intent (for a robot, its short instruction) is wanted instead
            of all its requests.

    Raises:
        UserError: The file, or a field of a record, is missing or wrong.
    """
    content = read_json(path, AGAIN)
    lists: list[Any] = [content.get(name) if isinstance(content, dict) else None for name in TASKS]
    if not all(isinstance(each, list) and each for each in lists):
        raise UserError(f"{path}: not an object with the lists chat and embodied. {AGAIN}")
    chat, embodied = (
        [(f"{name} {row}", record) for row, record in enumerate(records)]
        for name, records in zip(TASKS, lists, strict=True)
    )
    found: list[Situation] = []
    for row, item in enumerate(parse_records(chat, ChatItem, path)):
        found += _of_chat(row, item, [item.intent] if intents else item.queries)
    for row, robot in enumerate(parse_records(embodied, EmbodiedItem, path)):
        if len(robot.safe_instructions) != len(robot.unsafe_instructions):
            raise UserError(
                f"{path}: embodied {row}: there are not as many safe_instructions as "
                "unsafe_instructions. Correct the record, or download the file again."
            )
        found += _of_robot(row, robot, intents)
    return found


def _of_chat(row: int, item: ChatItem, texts: list[str]) -> Iterator[Situation]:
    for number, text in enumerate(texts):
        safe = ("safe", item.category, text, "", item.safe_image_path)
        unsafe = ("unsafe", item.category, text, item.unsafe_image, item.unsafe_image_path)
        yield Situation("chat", row, number, *safe)
        yield Situation("chat", row, number, *unsafe)


def _of_robot(row: int, item: EmbodiedItem, intents: bool) -> Iterator[Situation]:
    pairs = list(zip(item.safe_instructions, item.unsafe_instructions, strict=True))
    alone = [(item.safe_instruction, item.unsafe_instruction)]
    for number, (text, risky) in enumerate(alone if intents else pairs):
        safe = ("safe", item.category, text, item.observation_safe, item.safe)
        unsafe = ("unsafe", item.category, risky, item.observation_unsafe, item.unsafe)
        yield Situation("embodied", row, number, *safe)
        yield Situation("embodied", row, number, *unsafe)
