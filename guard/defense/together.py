"""Calls of a model at the same time, each of which is noted, also if another one fails."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from inspect_ai.model import ModelOutput
from inspect_ai.util import collect

from vlmguard.guard.record import DefenseRecord

__all__ = ["call_each"]

T = TypeVar("T")


async def call_each(
    call: Callable[[T], Awaitable[ModelOutput]],
    items: Sequence[T],
    record: DefenseRecord,
    name: str,
    role: str,
) -> list[ModelOutput]:
    """Make a call for each item, all at once.

    Args:
        call: Makes the call for an item. If one raises, the others are stopped, and the calls that
            came back are in the record.
        items: What the calls are about.
        record: Gets the calls, in the order of the items.
        name: What the calls are for.
        role: Role of the model that is called.

    Returns:
        Their outputs, in the order of the items.
    """
    outputs: dict[int, ModelOutput] = {}

    async def numbered(number: int, item: T) -> ModelOutput:
        outputs[number] = output = await call(item)
        return output

    try:
        return await collect(*[numbered(number, item) for number, item in enumerate(items)])
    finally:
        for number in sorted(outputs):
            record.add_call(name, outputs[number], role)
