"""Makes HTML pages from the templates beside this file; all values are escaped."""

import re
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from vlmguard.results.sanitize import clean, one_line

__all__ = ["breakable", "footnoted", "render"]

_DIGITS: Final = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_RAISED: Final = re.compile(f"([{_DIGITS}]+)")
_PLAIN: Final = str.maketrans(_DIGITS, "0123456789")


def render(name: str, **values: object) -> str:
    """Fill in a template.

    Args:
        name: Its file, e.g. `labels.html`.
        values: Its values. Texts are cleaned by `clean` and escaped.
    """
    return _environment().get_template(name).render(values)


def breakable(text: str) -> list[str]:
    """A name in the parts between which a narrow page may break it."""
    return re.split(r"(?<=[_=/])|(?<=,)(?=\D)", text)


def footnoted(text: str) -> list[tuple[str, int]]:
    """A text in parts: the raised numbers of footnotes with their values, all else with 0."""
    parts = [part for part in _RAISED.split(text) if part]
    return [(part, int(part.translate(_PLAIN)) if _RAISED.fullmatch(part) else 0) for part in parts]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vlmguard.results.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "one_line": one_line,
        "breakable": breakable,
        "footnoted": footnoted,
    }
    # JSON has no NaN, and pages keep the order of their values.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False}
    return environment


def _cleaned(value: Any) -> Any:
    """A cleaned text; HTML that a macro or filter made is of another class."""
    return clean(value) if type(value) is str else value
