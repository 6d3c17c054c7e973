"""How a cell ended."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Outcome", "State"]

State = Literal["finished", "unfinished", "error", "full", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        state: `full` is a full disk, `stopped` a Ctrl-C.
        reason: Why it is not finished, with the way out.
        node: The name of the machine.
        seconds: How long it took.
    """

    state: State
    reason: str = ""
    node: str = ""
    seconds: float = 0.0
