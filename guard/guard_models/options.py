"""Makes a guard model from options that a user typed."""

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import TypeVar

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.data_source import file_hash
from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import GuardModel
from vlmguard.guard.paths import user_path
from vlmguard.guard.templates import template_hash

__all__ = ["options_digest", "with_options"]

G = TypeVar("G", bound=GuardModel)


def with_options(guard: type[G], options: Mapping[str, object], beside: Iterable[str] = ()) -> G:
    """A guard model with these options: the keyword-only arguments of its class.

    Args:
        guard: The class.
        options: Values by name.
        beside: Options of whoever passes these on, one of which may be meant.

    Raises:
        UserError: It has no option of that name, lacks one, or refuses a value.
    """
    parameters = signature(guard.__init__).parameters.values()
    own = {each.name: each for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
    passed_on = any(each.kind is Parameter.VAR_KEYWORD for each in parameters)
    known = f"Its options: {', '.join(own)}." if own else "It has no options."
    for name in options:
        if name not in own and not passed_on:
            meant = did_you_mean(name, [*own, *beside])
            raise UserError(f"The format {guard.name} has no option {name}.{meant} {known}")
    for name, each in own.items():
        if each.default is Parameter.empty and name not in options:
            raise UserError(f"The format {guard.name} needs the option {name}. {known}")
    return guard(**options)


def options_digest(options: Mapping[str, object] | None) -> str:
    """Identity of options, with the contents of the files that they name; empty without any.

    Two policies in one file, one after the other, are two guards.
    """
    said = []
    for name, value in sorted((options or {}).items()):
        file = user_path(value) if isinstance(value, str) else None
        said.append(f"{name}={file_hash(file) if file and file.is_file() else value}")
    return template_hash(*said) if said else ""
