"""The server's log: one JSON object a line, with nothing of a request's content.

Messages of errors are left out: a provider's may quote the request. Their kind and place are kept.
"""

import json
import logging
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import cause_of

__all__ = ["LOGGER", "logged", "raised", "shadowed"]

LOGGER: Final = logging.getLogger("vlmguard.serve")

_FRAMES: Final = 4


def logged(line: Mapping[str, Any], level: int = logging.INFO) -> None:
    """Write a line.

    Args:
        line: Its values by name.
        level: A level of `logging`.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    LOGGER.log(level, json.dumps({"time": now, **line}))


def raised(name: str, error: BaseException) -> None:
    """Note an error: its kind, and where it was raised.

    Args:
        name: What the request is called.
        error: The error.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{Path(each.filename).name}:{each.lineno}" for each in frames]
    line = {"request": name, "raised": type(cause_of(error)).__name__, "at": places}
    logged(line, logging.ERROR)


def shadowed(name: str, would: str) -> None:
    """Note what would have happened to a request in shadow mode.

    Args:
        name: What the request is called.
        would: The action, or why there is none.
    """
    logged({"request": name, "shadow": would})
