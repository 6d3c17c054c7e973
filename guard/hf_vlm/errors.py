"""Brings an error to another process of ours, with the same type and text."""

import builtins
import pickle
import traceback

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError
from vlmguard.guard.package import PACKAGE


def portable(error: Exception) -> Exception:
    """An error like this one that the other process can read without more imports.

    An error that is no message to the user takes along where it came from. One of a library's own
    types becomes the built-in type that it is a kind of.
    """
    kind = next(each for each in type(error).__mro__ if _known(each))
    copy: Exception = error if kind is type(error) else kind(str(error))
    if not isinstance(error, UserError | ImageError):
        where = "".join(traceback.format_exception(error)).rstrip()
        copy.add_note(f"In another process of hf-vlm/:\n{where}")
    copy = copy.with_traceback(None)
    copy.__cause__ = copy.__context__ = None
    try:
        again = pickle.loads(pickle.dumps(copy))
    except Exception:  # whatever it holds
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy if str(again) == str(error) else RuntimeError(f"{type(error).__name__}: {error}")


def _known(kind: type) -> bool:
    return kind.__module__ == builtins.__name__ or kind.__module__.split(".")[0] == PACKAGE
