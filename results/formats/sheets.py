"""A table of text, which every output format shows in its own way."""

from dataclasses import dataclass, field

__all__ = ["Sheet"]


@dataclass
class Sheet:
    """A table of text.

    Attributes:
        title: Heading.
        spans: Headings above the columns with the number of columns each spans;
            empty for a single line of headings.
        header: Column headings.
        rows: Cells; a cell of several lines holds newlines.
        notes: Remarks below.
        labels: Number of leading columns that hold text.
        starts: Rows that begin a new block.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    spans: list[tuple[str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: int = 2
    starts: set[int] = field(default_factory=set)
