"""The options of tasks and defenses, as signatures and docstrings tell them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import DocstringStyle, parse

# Inspect has no public name for the function of a registered task or solver.
from inspect_ai._util.registry import registry_lookup

from vlmguard.guard.cards import Card
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.task_options import TaskOptions

__all__ = [
    "Option",
    "common_options",
    "option_facts",
    "options_of",
    "options_taken",
    "own_options",
    "summary_of",
]


@dataclass(frozen=True)
class Option:
    """An argument of a task or solver.

    Attributes:
        name: Its name.
        choices: The values that it takes, if they are few.
        default: What it is when not given.
        note: What its card says about its values.
        about: What its docstring says.
        needed: Whether it has no default.
    """

    name: str
    choices: tuple[str, ...]
    default: Any
    note: str = ""
    about: str = ""
    needed: bool = False

    def __str__(self) -> str:
        value = "|".join(self.choices)
        if isinstance(self.default, bool):
            value = str(not self.default).lower()
        elif not value and isinstance(self.default, int):
            value = str(self.default)
        shown = f"`{self.name}={value}`" if value else f"`{self.name}`"
        return f"{shown} ({self.note})" if self.note else shown

    @property
    def told(self) -> str:
        """Name and choices, the default, and what it is for."""
        values = f"={'|'.join(self.choices)}" if self.choices else ""
        default = f"default: {_shown(self.default)}"
        if self.default is None:
            default = "needed" if self.needed else "not set"
        more = f"; {self.note}" if self.note else ""
        return f"{self.name}{values} ({default}{more}): {self.about}".rstrip(": ")


def own_options(card: Card) -> list[Option]:
    """The options of a benchmark that not every task has; none where its task runs others too."""
    if card.task:
        return []
    return options_of("task", card.name, card.notes, get_type_hints(TaskOptions))


def common_options() -> list[Option]:
    """The options of every task."""
    return _described(inspect.signature(TaskOptions), _abouts(TaskOptions), {}, {})


def options_of(
    kind: Literal["task", "solver"],
    name: str,
    notes: Mapping[str, str] | None = None,
    common: Mapping[str, Any] | None = None,
) -> list[Option]:
    """The options of a task or solver of ours.

    Args:
        kind: Which of the two.
        name: Its name.
        notes: What a card says of values, by option.
        common: Types of options that are left out, by name.
    """
    function: Any = registry_lookup(kind, f"{PACKAGE}/{name}")
    return options_taken(function, notes, common)


def options_taken(
    function: Callable[..., Any],
    notes: Mapping[str, str] | None = None,
    common: Mapping[str, Any] | None = None,
) -> list[Option]:
    """The options that a function takes, likewise.

    Args:
        function: The function, with a docstring.
        notes: What a card says of values, by option.
        common: Types of options that are left out, by name.
    """
    return _described(inspect.signature(function), _abouts(function), notes or {}, common or {})


def summary_of(kind: Literal["task", "solver"], name: str) -> str:
    """The first sentence of the docstring of a task or solver of ours."""
    function: Any = registry_lookup(kind, f"{PACKAGE}/{name}")
    return parse(function.__doc__ or "", DocstringStyle.GOOGLE).short_description or ""


def option_facts(option: Option) -> dict[str, Any]:
    """The same for programs."""
    return {
        "name": option.name,
        "choices": list(option.choices),
        "default": option.default,
        "needed": option.needed,
        "about": option.about,
    }


def _described(
    signature: inspect.Signature,
    abouts: Mapping[str, str],
    notes: Mapping[str, str],
    common: Mapping[str, Any],
) -> list[Option]:
    return [
        Option(
            each.name,
            _choices(each.annotation),
            None if each.default is each.empty else each.default,
            notes.get(each.name, ""),
            abouts.get(each.name, ""),
            each.default is each.empty,
        )
        for each in signature.parameters.values()
        if common.get(each.name) != each.annotation
        # Options that are passed on have no names here.
        and each.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def _abouts(documented: Any) -> dict[str, str]:
    """What a docstring says of each argument, on one line."""
    found = parse(documented.__doc__ or "", DocstringStyle.GOOGLE).params
    return {each.arg_name: " ".join((each.description or "").split()) for each in found}


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, or of one in a union."""
    if get_origin(annotation) is Literal:
        return tuple(str(each) for each in get_args(annotation))
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list | tuple):
        return ", ".join(map(str, default))
    return str(default)
