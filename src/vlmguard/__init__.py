"""vlmguard: an evaluation-first safety suite for vision-language models.

The names in `__all__` are imported when they are first used, so that the command line starts
without Inspect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vlmguard.guard.decision import Decision
    from vlmguard.guard.errors import UserError
    from vlmguard.guard.record import DefenseRecord, Stage, recorded
    from vlmguard.guard.rewriter import Rewriter
    from vlmguard.guard.rewriter.decision import Rewrite

__all__ = ["Decision", "DefenseRecord", "Rewrite", "Rewriter", "Stage", "UserError", "recorded"]

_HOMES: Final = {
    "Decision": "vlmguard.guard.decision",
    "DefenseRecord": "vlmguard.guard.record",
    "Rewrite": "vlmguard.guard.rewriter.decision",
    "Rewriter": "vlmguard.guard.rewriter",
    "Stage": "vlmguard.guard.record",
    "UserError": "vlmguard.guard.errors",
    "recorded": "vlmguard.guard.record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
