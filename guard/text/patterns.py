"""Regular expressions that users write: none can keep a run waiting.

They are the `regex` package's, whose searches can be stopped; those of `re` cannot.
"""

from typing import Any, Final

import regex

from vlmguard.guard.errors import UserError

__all__ = ["SECONDS", "user_pattern"]

SECONDS: Final = 1.0
"""The time of a search (`timeout=`): a pattern that takes longer (`(a+)+$`) finds nothing out."""


def user_pattern(option: str, pattern: str) -> Any:
    """Compile a user's regular expression: `^` and `$` match at each line, in any case.

    Args:
        option: Where it stands, for the error.
        pattern: The expression.

    Raises:
        UserError: It cannot be read, or matches an empty text, and so every text.
    """
    try:
        compiled = regex.compile(pattern, regex.IGNORECASE | regex.MULTILINE)
    except (regex.error, TypeError) as error:
        raise UserError(
            f"{option}={pattern}: cannot be read as a regular expression ({error}). Correct it."
        ) from error
    if compiled.search("") is not None:
        raise UserError(f"{option}={pattern}: matches an empty text. Make it tell texts apart.")
    return compiled
