"""What ended a sample: the error of a call that failed at each try, which Inspect's message hides.

Inspect raises `RetryError(<Future at 0x7f... state=finished raised APIConnectionError>)` then. What
the server said stands in the last call of the sample alone.
"""

import re
from typing import Final

from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalSample

__all__ = ["cause_in", "cause_of_sample"]

_HIDDEN: Final = re.compile(
    r"(?:tenacity\.)?RetryError[(\[]<Future at \w+ state=finished raised (\w+)>[)\]]"
)


def cause_in(message: str) -> str:
    """An error's message, with the class of the last try's error in the place of `RetryError`."""
    return _HIDDEN.sub(lambda found: f"{found[1]} (after all tries)", message)


def cause_of_sample(sample: EvalSample) -> str:
    """Why a sample ended, with what the server said; empty if it has no error.

    Args:
        sample: The sample, with its events.
    """
    if sample.error is None:
        return ""
    said = cause_in(sample.error.message)
    if said == sample.error.message:
        return said
    failed = [each for each in sample.events if isinstance(each, ModelEvent) and each.error]
    return f"{said}: {failed[-1].model}: {failed[-1].error}" if failed else said
