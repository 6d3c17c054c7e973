"""The errors that tell users of the suite what to correct."""

import math
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

# Inspect prints this class as a plain message, without a traceback, and has no public name for it.
# All our errors that a user can correct derive from it.
from inspect_ai._util.error import PrerequisiteError
from pydantic import BaseModel, ValidationError
from rich.markup import escape
from tenacity import RetryError

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.redaction import redact_text

__all__ = [
    "MissingData",
    "MissingFile",
    "UserError",
    "cause_of",
    "check_choice",
    "check_count",
    "check_number",
    "check_type",
    "first_fault",
    "reason_of",
    "short",
]


class UserError(PrerequisiteError):
    """An error that the user can correct; the message says what and how.

    Args:
        message: What is wrong (with record and file) and how to correct it; secrets in it are
            hidden.
    """

    def __init__(self, message: str) -> None:
        message = redact_text(message)
        # Inspect prints the message as rich markup: "[0]" would vanish.
        super().__init__(escape(message))
        self.text = message

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        # What `Exception` keeps is the escaped text, which would be escaped again.
        return type(self), (self.text,), vars(self)


class MissingData(UserError):
    """A benchmark's data are not on this machine, or are incomplete.

    Args:
        message: What is missing, and how to get it.
        on_hub: Whether a run fetches them from the hub.
    """

    def __init__(self, message: str, on_hub: bool = False) -> None:
        super().__init__(message)
        self.on_hub = on_hub


class MissingFile(UserError):
    """A file or folder that the user names is not there."""


def check_choice(option: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse an option that is not one of its choices.

    Args:
        option: Name of the option as the user typed it, e.g. `-S on_failure`.
        value: The value given.
        choices: The values accepted.

    Raises:
        UserError: `value` is not in `choices`.
    """
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        meant = did_you_mean(value, choices)
        raise UserError(f"{option}={value} is not known.{meant} Choose one of: {listed}.")


def check_number(option: str, value: object, low: float, high: float = math.inf) -> None:
    """Refuse an option that is not a number, or is out of range.

    The command line reads `1e9` (without a point) as text.

    Args:
        option: Name of the option as the user typed it, e.g. `-S threshold`.
        value: The value given.
        low: The smallest number accepted.
        high: The largest number accepted.

    Raises:
        UserError: `value` is not a number from `low` to `high`.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not number:
        bounds = "" if low == -math.inf else f" of at least {low:g}"
        if high < math.inf:
            bounds = f" from {low:g} to {high:g}"
        raise UserError(f"{option}={value}: a number{bounds} is needed.")


def check_count(option: str, value: object, low: int) -> None:
    """Refuse an option that is not a whole number, or is too small.

    Args:
        option: Name of the option as the user typed it, e.g. `-T samples`.
        value: The value given.
        low: The smallest number accepted.

    Raises:
        UserError: `value` is not a whole number of at least `low`.
    """
    check_number(option, value, low)
    if not isinstance(value, int):
        raise UserError(f"{option}={value}: a whole number is needed.")


def check_type(option: str, value: object, annotation: Any) -> None:
    """Refuse a value that is not of its option's type: text is no boolean, whatever it says.

    A number may be whole where a fraction is taken, and a path is text. Types other than these,
    `Literal` and unions of them are not checked.

    Args:
        option: Name of the option as the user typed it, e.g. `-S split`.
        value: The value given.
        annotation: The type that the option is annotated with.

    Raises:
        UserError: The value is of another type.
    """
    union = get_origin(annotation) in (Union, UnionType)
    members = get_args(annotation) if union else (annotation,)
    if any(_is_of(value, each) for each in members):
        return
    choices = tuple(each for part in members for each in _choices_of(part))
    kinds = [_KINDS[each] for each in members if each in _KINDS]
    if not kinds:
        check_choice(option, value, choices)
    said = ", ".join([*map(str, choices), *kinds])
    quoted = " without quotes" if isinstance(value, str) and str not in members else ""
    raise UserError(f"{option}={value!r}: {' or '.join(said.rsplit(', ', 1))} is needed{quoted}.")


_KINDS: Final[dict[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


def _choices_of(annotation: Any) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _is_of(value: object, annotation: Any) -> bool:
    """Whether a value is of a type that is no union; types that are not checked have every one."""
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if annotation in (bool, NoneType):
        return isinstance(value, annotation)
    if annotation in (int, float):
        return isinstance(value, int | annotation) and not isinstance(value, bool)
    return annotation is not str or isinstance(value, str | PathLike)


def short(name: object) -> str:
    """A path or name for a message: about 200 characters at most, NUL characters escaped."""
    text = str(name).replace("\0", "\\x00")
    return text if len(text) <= 200 else f"{text[:200]}..."


def cause_of(error: BaseException) -> BaseException:
    """The error of the last try, in the place of Inspect's that all tries of a call failed."""
    return error.__cause__ or error if isinstance(error, RetryError) else error


def reason_of(error: BaseException) -> str:
    """The reason of an error, on one line and without the path (which may be of any length)."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def first_fault(error: ValidationError, model: type[BaseModel] | None = None) -> tuple[str, str]:
    """Where the first fault lies that pydantic found (`prices.0.input`), and what is wrong there.

    Args:
        error: Its error; the value itself, which may be of any length, is left out.
        model: What the content must be. Then an unknown key comes first, since it may be why
            another one is missing, and the reason names the keys that there are.

    Returns:
        The field, empty for the whole, and the reason.
    """
    faults = error.errors(include_url=False, include_input=False)
    unknown = [each for each in faults if each["type"] == "extra_forbidden"]
    first = unknown[0] if model and unknown else faults[0]
    where = ".".join(map(str, first["loc"]))
    if model and unknown:
        known = _keys_at(first["loc"], model)
        meant = did_you_mean(first["loc"][-1], known)
        return where, f"no such key.{meant} Choose from {', '.join(known)}"
    return where, first["msg"].removeprefix("Value error, ")


def _keys_at(place: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys of the model at a place that pydantic names."""
    models = [model]
    for part in place[:-1]:
        # Other parts are numbers, keys of a mapping, or name a member of a union.
        fields = [each.model_fields[str(part)] for each in models if part in each.model_fields]
        models = [inner for field in fields for inner in _models_in(field.annotation)] or models
    return list(dict.fromkeys(name for each in models for name in each.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
