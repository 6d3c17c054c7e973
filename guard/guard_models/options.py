"""Makes a guard model from options that a user typed."""

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import Literal, TypeVar, get_args, get_origin

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.data_source import file_hash
from vlmguard.guard.errors import UserError, check_type
from vlmguard.guard.guard_models.base import GuardModel
from vlmguard.guard.option_content import file_named
from vlmguard.guard.templates import template_hash

__all__ = ["options_digest", "options_of", "options_text", "with_options"]

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
    own, passed_on = options_of(guard)
    known = f"Its options: {', '.join(own)}." if own else "It has no options."
    for name, value in options.items():
        if name in own:
            check_type(f"option {name}", value, own[name].annotation)
        elif not passed_on:
            meant = did_you_mean(name, [*own, *beside])
            raise UserError(f"The format {guard.name} has no option {name}.{meant} {known}")
    for name, each in own.items():
        if each.default is Parameter.empty and name not in options:
            raise UserError(f"The format {guard.name} needs the option {name}. {known}")
    return guard(**options)


def options_of(guard: type[GuardModel]) -> tuple[dict[str, Parameter], bool]:
    """The options of a format by name, and whether it passes others on to another format."""
    parameters = signature(guard.__init__).parameters.values()
    own = {each.name: each for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
    return own, any(each.kind is Parameter.VAR_KEYWORD for each in parameters)


def options_text(guard: type[GuardModel]) -> str:
    """The options of a format with their defaults, as Markdown; a dash if it has none."""
    own, passed_on = options_of(guard)
    said = [_shown(each) for each in own.values()]
    said += ["and those of the format that it asks in"] if passed_on else []
    return ", ".join(said) or "–"


def options_digest(options: Mapping[str, object] | None) -> str:
    """Identity of options, with the contents of the files that they name; empty without any.

    Two policies in one file, one after the other, are two guards.
    """
    said = []
    for name, value in sorted((options or {}).items()):
        file = file_named(value)
        said.append(f"{name}={file_hash(file) if file else value}")
    return template_hash(*said) if said else ""


def _shown(option: Parameter) -> str:
    """An option with its default: `caption=true`, `prompt` (needed), or `policy` for none."""
    if option.default is Parameter.empty:
        return f"`{option.name}` (needed)"
    if option.default is None:
        return f"`{option.name}`"
    value = option.default
    if isinstance(value, tuple):
        value = f"[{', '.join(map(str, value))}]"
    elif isinstance(value, bool):
        value = str(value).lower()
    choices = get_args(option.annotation) if get_origin(option.annotation) is Literal else ()
    others = [f"`{each}`" for each in choices if each != option.default]
    return f"`{option.name}={value}`" + (f" (or {', '.join(others)})" if others else "")
