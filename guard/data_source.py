"""How many samples a benchmark has, known without its data: for plans, before these are here.

Tasks register their sizes on import; nothing else repeats them.
"""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["known_size", "register_size"]

Size = Callable[[Mapping[str, Any]], int | None]
"""From a task's arguments to its number of samples; None where that is not known."""

_SIZES: dict[str, Size] = {}


def register_size(benchmark: str, size: Size) -> None:
    """Say how many samples a task has.

    Args:
        benchmark: Its name, without a package.
        size: From its arguments to the number.
    """
    _SIZES[benchmark] = size


def known_size(benchmark: str, args: Mapping[str, Any]) -> int | None:
    """The number of samples of a task; None where nobody has said it.

    Args:
        benchmark: Its name, without a package.
        args: Its arguments.
    """
    size = _SIZES.get(benchmark)
    return None if size is None else size(args)
