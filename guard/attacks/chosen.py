"""Reads the name of an attack as users type it: `NAME[:VALUE][:OPTION=VALUE]...`.

    mml:mirror              the first option of mml
    adaptive:R2:place=footer:seed=3

Colons and not commas, which Inspect's command line would split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Final, cast, get_args

import yaml

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.attacks.base import (
    Attack,
    AttackCard,
    Dialogue,
    attack_cards,
    factory_of,
)
from vlmguard.guard.attacks.drawing import font_hash
from vlmguard.guard.data_source import file_hash
from vlmguard.guard.errors import UserError, check_type
from vlmguard.guard.paths import user_path

__all__ = ["ChosenAttack", "chosen_attack", "default_options"]

_SEED: Final = "seed"
_FONT: Final = "font"
_TEMPLATE: Final = "template"

_R9: Final = "best_of_n"
"""The attack R9: a search, which stands under its usual name."""


@dataclass(frozen=True)
class ChosenAttack:
    """An attack with its options.

    Attributes:
        card: Its card.
        options: The options that the user gave, by name, without the seed.
        seed: Seed of all that is random.
    """

    card: AttackCard
    options: Mapping[str, Any]
    seed: int = 0

    @property
    def text(self) -> str:
        """As a user types it, whatever the order of the options; the seed if it is not 0."""
        said = {**dict(sorted(self.options.items())), **({_SEED: self.seed} if self.seed else {})}
        return ":".join([self.card.name, *(f"{name}={value}" for name, value in said.items())])

    @property
    def identity(self) -> dict[str, Any]:
        """What its results depend on beside the request, for logs and for the cache.

        Options that were left out stand with their defaults: what is the same has one name.
        """
        options = dict(sorted({**default_options(self.card.name), **self.options}.items()))
        font = options.pop(_FONT, None)
        drawn = (
            {"font": file_hash(user_path(font)) if font else font_hash()} if self.card.draws else {}
        )
        template = options.pop(_TEMPLATE, None)
        return {
            "name": self.card.name,
            "version": self.card.version,
            "options": options,
            "seed": self.seed,
            **drawn,
            **({_TEMPLATE: file_hash(user_path(template))} if template else {}),
        }

    def static(self) -> Attack:
        """The function of a static attack or a search.

        Raises:
            UserError: An option is out of range.
        """
        return cast(Attack, factory_of(self.card.name)(**self.options))

    def dialogue(self) -> Dialogue:
        """The function of a dialogue, likewise."""
        return cast(Dialogue, factory_of(self.card.name)(**self.options))


def default_options(name: str) -> dict[str, Any]:
    """The values of an attack's options that are left out; those without one are not among them.

    Args:
        name: An attack that there is.
    """
    known = signature(factory_of(name)).parameters
    return {name: each.default for name, each in known.items() if each.default is not None}


def chosen_attack(text: str, flag: str = "-T attack") -> ChosenAttack:
    """Read an attack that a user typed.

    Args:
        text: `NAME[:VALUE][:OPTION=VALUE]...`; a value alone is that of the first option.
        flag: How the user typed it, for messages.

    Raises:
        UserError: There is no such attack or option, or a value is of another type.
    """
    known = attack_cards()
    parts = text.split(":")
    # Names may hold a colon, so the longest one that fits comes first.
    for length in range(len(parts), 0, -1):
        if (name := ":".join(parts[:length])) in known:
            return _with_options(known[name], parts[length:], f"{flag}={text}")
    raise UserError(
        f"{flag}={text}: there is no such attack.{_like(text, known)} `vlmguard attack list` shows "
        f"all: {', '.join(known)}."
    )


def _like(text: str, known: Mapping[str, AttackCard]) -> str:
    """The attack that a user probably meant: R2 is adaptive:R2, and R9 has a name of its own."""
    first, _, second = text.casefold().partition(":")
    if "r9" in (first, second.partition(":")[0]):
        return f" R9 is {_R9}."
    if any(name.startswith(f"{first}:") for name in known) and not second:
        return f" {first} is a group: name one of its attacks."
    for name in known:
        if name.casefold().rpartition(":")[2] == first:
            return f" Did you mean {name}?"
    return did_you_mean(text, known) or did_you_mean(text.partition(":")[0], known)


def _with_options(card: AttackCard, parts: list[str], said: str) -> ChosenAttack:
    factory = factory_of(card.name)
    known = {
        **signature(factory, eval_str=True).parameters,
        _SEED: Parameter(_SEED, Parameter.KEYWORD_ONLY, default=0, annotation=int),
    }
    options: dict[str, Any] = {}
    for number, part in enumerate(parts):
        name, is_named, value = part.partition("=")
        if not is_named:
            name, value = next(iter(known)), part
        if name not in known or (not is_named and (number or name == _SEED)):
            raise UserError(
                f"{said}: {card.name} has no option {part!r}.{did_you_mean(name, known)} It has: "
                f"{', '.join(known)}."
            )
        if name in options:
            raise UserError(f"{said}: {name} is given twice.")
        options[name] = _typed(value, known[name], f"{said}: {name}")
    seed = options.pop(_SEED, 0)
    factory(**options)  # it checks ranges, and that a font can be read
    return ChosenAttack(card, options, seed)


def _typed(value: str, parameter: Parameter, said: str) -> Any:
    kinds = (parameter.annotation, *get_args(parameter.annotation))
    # A text stays as it is, though it may look like a number or have quotes.
    found = value if str in kinds else _read(value, float in kinds)
    check_type(said, found, parameter.annotation)
    return found


def _read(value: str, fraction: bool) -> Any:
    try:
        # YAML takes 1e-05 for a text, and nothing for null.
        found = yaml.safe_load(value)
        if fraction and isinstance(found, str):
            return float(value)
    except (yaml.YAMLError, ValueError):
        return value
    return value if found is None else found
