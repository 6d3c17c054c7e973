"""Finds a defense by its name."""

from difflib import get_close_matches
from importlib import import_module
from typing import Final, TypeVar

from vlmguard.guard.cards import register
from vlmguard.guard.defense.base import Defense
from vlmguard.guard.errors import UserError

__all__ = ["defense_named", "register_defense"]

D = TypeVar("D", bound=type[Defense])

_DEFENSES: Final[dict[str, type[Defense]]] = {}


def register_defense(defense: D) -> D:
    """Register a defense and its card, as a decorator of the class."""
    register(defense.card)
    _DEFENSES[defense.card.name] = defense
    return defense


def defense_named(name: str) -> type[Defense]:
    """The class of a defense, by the name on its card.

    Raises:
        UserError: There is none; the message names those that are alike.
    """
    import_module("vlmguard._registry")
    if name not in _DEFENSES:
        close = get_close_matches(name, _DEFENSES, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        raise UserError(
            f"no defense has the name {name}.{meant} Choose one of: {', '.join(sorted(_DEFENSES))}."
        )
    return _DEFENSES[name]
