"""Lets Python look for circles of objects less often than it does by default."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rarely_collected"]


@contextmanager
def rarely_collected(objects: int = 50_000) -> Iterator[None]:
    """Let Python look for circles less often, and only among what is made from now on.

    Args:
        objects: How many more than before there are when it looks among the newest; the default is
            for work that leaves few circles behind. Whoever has set a higher number, or none, keeps
            it; and what somebody has left out stays so.
    """
    usual, left_out = gc.get_threshold(), gc.get_freeze_count()
    if 0 < usual[0] < objects:
        gc.set_threshold(objects, *usual[1:])
    if not left_out:
        gc.freeze()
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        if not left_out:
            gc.unfreeze()
