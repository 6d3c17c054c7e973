"""The formats of guard models: one table, and how a name and options become a guard model."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.guard_models.base import GuardModel
from vlmguard.guard.guard_models.custom import Custom
from vlmguard.guard.guard_models.options import with_options

__all__ = ["FORMATS", "Format", "guard_format"]


@dataclass(frozen=True)
class Format:
    """A format of guard models.

    Attributes:
        guard: Its class, which knows its name, sides and images.
        title: What it is called.
        reply: The form of its verdict.
        models: Models that use it.
        terms: Their license or terms.
        confirmed: Where the format is confirmed.
        needs: What a run needs for it.
    """

    guard: type[GuardModel]
    title: str
    reply: str
    models: str
    terms: str
    confirmed: str
    needs: str = "a model in the role `guard`"


FORMATS: Final[Mapping[str, Format]] = {
    each.guard.name: each
    for each in (
        Format(
            Custom,
            "Any chat model with a written policy",
            "JSON: `violation`, `categories`, `rationale`",
            "any chat VLM; text-only ones such as gpt-oss-safeguard through `text_guard`",
            "the model's",
            "form of our own",
        ),
    )
}
"""Every format by its name (`adapter`)."""


def guard_format(adapter: str, options: Mapping[str, object] | None = None) -> GuardModel:
    """The guard model of a format.

    It asks the model in the role `guard`, which is looked up at each check: roles are known within
    a run only. `ready()` finds what is missing before anything is paid for.

    Args:
        adapter: Name of the format.
        options: Its options by name.

    Raises:
        UserError: There is no such format or option, an option is missing, or a value is refused.
    """
    if adapter not in FORMATS:
        close = get_close_matches(adapter, FORMATS, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        raise UserError(
            f"adapter={adapter}: no format of guard models has this name.{meant} "
            f"Choose one of: {', '.join(FORMATS)}."
        )
    return with_options(FORMATS[adapter].guard, options or {})
