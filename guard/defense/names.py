"""Finds a defense by its name."""

from importlib import import_module
from typing import Final, TypeVar

from vlmguard.guard.alike import did_you_mean
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
        raise UserError(
            f"no defense has the name {name}.{did_you_mean(name, _DEFENSES)} Choose one "
            f"of: {', '.join(sorted(_DEFENSES))}."
        )
    return _DEFENSES[name]
