"""Checks the options of a defense that a user typed, wherever they come from."""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.defense.base import Defense
from vlmguard.guard.errors import UserError, check_type

__all__ = ["check_options"]


def check_options(
    defense: Callable[..., Defense],
    name: str,
    options: Mapping[str, Any],
    flag: str = "-S",
    beside: Sequence[str] = (),
    more: str = "",
) -> None:
    """Refuse options that a defense does not have, and values of another type than its own.

    So no defense has to check a boolean or a number itself: only ranges are left to it.

    Args:
        defense: The class.
        name: Its name.
        options: Values by name.
        flag: How the user typed them: `-S`, `-M`.
        beside: Further names that may have been meant.
        more: A sentence at the end of the error about a name.

    Raises:
        UserError: The message names the option, and what is accepted.
    """
    known = signature(defense, eval_str=True).parameters
    # A defense may pass options on, as those of a format, whose own check names what is wrong.
    own = [each.name for each in known.values() if each.kind is not Parameter.VAR_KEYWORD]
    for option, value in options.items():
        if option in own:
            check_type(f"{flag} {option}", value, known[option].annotation)
        elif len(own) == len(known):
            meant = did_you_mean(option, [*own, *beside])
            raise UserError(
                f"{flag} {option}: {name} has no such option.{meant} It has: "
                f"{', '.join(own) or 'none'}.{more}"
            )
