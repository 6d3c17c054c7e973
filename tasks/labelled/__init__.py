"""Sets with a label for each request or answer, safe or unsafe, with which guards are measured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from inspect_ai.dataset import Sample

from vlmguard.guard.data_source import Source

__all__ = ["LABELS", "Label", "LabelledSet"]

Label = Literal["safe", "unsafe"]
LABELS: Final = ("safe", "unsafe")


@dataclass(frozen=True)
class LabelledSet:
    """A set with labels.

    Attributes:
        name: Its name, which tables show.
        source: Its data.
        samples: Its samples; the target is the label, and `expected` is `comply` for safe ones. The
            answer that a label is about is in the metadata (`answer`).
        files: The files that were read.
        form: What the columns of a user's file mean.
    """

    name: str
    source: Source
    samples: list[Sample]
    files: list[Path]
    form: dict[str, Any] = field(default_factory=dict)
