"""Values as arguments of `inspect eval`.

It reads each as YAML, and splits what is then a text at its commas. So a value is written in the
first form that is read back as itself; some have none.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

__all__ = ["argument", "joined"]


def argument(value: Any) -> str | None:
    """A value as `-T NAME=VALUE` takes it; None if no form is read back as the same value."""
    for text in _forms(value):
        try:
            read = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if isinstance(read, str) and "," in read:
            read = read.split(",")
        if type(read) is type(value) and read == value:
            return text
    return None


def _forms(value: Any) -> Iterator[str]:
    """Ways to write a value, the plainest first."""
    if isinstance(value, str):
        yield value
    try:
        yield json.dumps(value, ensure_ascii=False)
        yield (
            yaml.safe_dump(value, default_flow_style=True, width=10**9)
            .removesuffix("...\n")
            .strip()
        )
    except (TypeError, ValueError, yaml.YAMLError):
        return


def joined(parts: Iterable[str]) -> str | None:
    """Parts in one text with commas; None if a part would be taken for two, or trimmed."""
    listed = list(parts)
    fits = all(part and "," not in part and part == part.strip() for part in listed)
    return ",".join(listed) if fits else None
