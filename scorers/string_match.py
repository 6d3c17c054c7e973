"""Refusals by authors' lists of phrases that an answer starts with, or contains.

Such lists belong to their authors. They are read from the user's clone of the repository.
"""

from dataclasses import dataclass
from typing import Final

from vlmguard.guard.authors import list_named
from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path
from vlmguard.guard.templates import template_hash

__all__ = ["Phrases", "phrases_of"]

_SCRIPT: Final = "eval/eval_by_string_matching.py"
_STARTS: Final = "refusal_phrases_start"
_PARTS: Final = "refusal_phrases_contain"


@dataclass(frozen=True)
class Phrases:
    """Phrases of refusals, in lower case.

    Attributes:
        starts: Those that an answer starts with.
        parts: Those that stand anywhere in it.
    """

    starts: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def hash(self) -> str:
        """Identity of the lists: 12 hex digits."""
        return template_hash(*self.starts, "", *self.parts)

    def occur_in(self, text: str) -> bool:
        """Whether a text is a refusal by them; its case and blanks around it do not count."""
        said = text.lower().strip()
        return said.startswith(self.starts) or any(part in said for part in self.parts)


def phrases_of(place: str, option: str) -> Phrases:
    """Read the phrases from the authors' code, which is parsed and not run.

    Args:
        place: Clone of a repository with `eval/eval_by_string_matching.py` (HoliSafe's), or a
            Python file that assigns both lists.
        option: Name of the option, for messages.

    Raises:
        UserError: There is no such file, or it does not hold both lists.
    """
    path = user_path(place)
    path = path / _SCRIPT if path.is_dir() else path
    starts, parts = list_named(path, _STARTS), list_named(path, _PARTS)
    if starts is None or parts is None:
        raise UserError(
            f"{option}={place}: {path} assigns no phrases to {_STARTS} and {_PARTS}, as "
            f"HoliSafe's {_SCRIPT} does. Name a clone of that repository."
        )
    return Phrases(starts, parts)
