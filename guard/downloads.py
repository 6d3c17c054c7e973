"""Whether data may be fetched: not by a plan, which only looks at what is here."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["downloads_allowed", "without_downloads"]

_ALLOWED: ContextVar[bool] = ContextVar("downloads_allowed", default=True)


def downloads_allowed() -> bool:
    """Whether data may be fetched here and now."""
    return _ALLOWED.get()


@contextmanager
def without_downloads() -> Iterator[None]:
    """Fetch nothing within: benchmarks find what is on this machine, or raise `MissingData`."""
    before = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(before)
