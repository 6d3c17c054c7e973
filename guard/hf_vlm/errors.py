"""Brings an error to another process of ours, with the same type and text."""

import builtins
import pickle
import traceback
from contextlib import suppress
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError
from vlmguard.guard.package import PACKAGE

_PLAIN: Final = (type(None), bool, bytes, float, int, str)
"""Types of arguments that every process can read."""


def portable(error: BaseException) -> Exception:
    """An error like this one that the other process can read without more imports.

    An error that is no message to the user takes along where it came from. One of a library's own
    types becomes the built-in type that it is a kind of.
    """
    if isinstance(error, UserError | ImageError) and _known(type(error)):
        return error
    where = "".join(traceback.format_exception(error)).rstrip()
    copy = _copy(error)
    copy.add_note(f"In another process of hf-vlm/:\n{where}")
    return copy


def _copy(error: BaseException) -> Exception:
    """A built-in error with the same text."""
    kind = next(each for each in type(error).__mro__ if each.__module__ == builtins.__name__)
    if isinstance(error, Exception) and issubclass(kind, Exception):
        own = kind.__reduce__(error)[1]  # for one of the system with its file
        plain = all(type(each) in _PLAIN for each in own)
        for arguments in [own] * plain + [(str(error),)]:
            with suppress(Exception):  # some need more than a text
                copy = kind(*arguments)
                if str(copy) == str(error) and pickle.loads(pickle.dumps(copy)):
                    return copy
    return RuntimeError(f"{type(error).__name__}: {error}")


def _known(kind: type) -> bool:
    return kind.__module__.split(".")[0] == PACKAGE
