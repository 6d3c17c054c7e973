"""Whether data may be fetched. A plan fetches nothing: it only looks at local files."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["downloads_allowed", "without_downloads"]

_ALLOWED: ContextVar[bool] = ContextVar("downloads_allowed", default=True)


def downloads_allowed() -> bool:
    """Whether data may be fetched now."""
    return _ALLOWED.get()


@contextmanager
def without_downloads() -> Iterator[None]:
    """Fetch nothing in this block: benchmarks use local files, or raise `MissingData`."""
    before = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(before)
