"""Holds the rows that wait to be generated, and chooses the next batch."""

from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

MAX_PASSED_OVER: Final = 2
"""A row that was skipped this often goes into the next batch."""


@dataclass(eq=False)
class Row:
    """One answer to generate.

    Attributes:
        key: Rows with equal keys may share a batch; they take equally many sequences.
        length: Length of its longest prompt in tokens, images included.
        limit: The most new tokens.
        work: What the runner needs to generate it.
        sequences: How many sequences of the batch it takes.
        future: Gets the result, as soon as the row has finished.
        abandoned: The result is no longer needed.
        passed_over: How many batches took younger rows instead.
    """

    key: Hashable
    length: int
    limit: int
    work: Any
    sequences: int = 1
    future: "Future[Any]" = field(default_factory=Future)
    abandoned: bool = False
    passed_over: int = 0

    @property
    def open(self) -> bool:
        """Whether the result is still needed and not there yet."""
        return not (self.abandoned or self.future.done())

    def fail(self, error: BaseException) -> None:
        """Set the error, if there is no result yet."""
        if not self.future.done():
            self.future.set_exception(error)


def choose(pending: list[Row], max_rows: int, max_tokens: int | None) -> list[Row]:
    """Take the next batch out of the queue.

    Args:
        pending: Waiting rows, oldest first. The chosen and the abandoned ones are removed.
        max_rows: The most sequences in a batch.
        max_tokens: The most `padded_tokens`; None for no limit. A single row may exceed both.

    Returns:
        The largest batch of rows with one key and similar lengths; of equal ones, that with the
        oldest row. Rows that were skipped too often come first. Empty if all rows were abandoned.
    """
    pending[:] = [row for row in pending if row.open]
    if not pending:
        return []
    overdue = [row for row in pending if row.passed_over >= MAX_PASSED_OVER]
    candidates = [_company(row, pending, max_rows, max_tokens) for row in overdue[:1]]
    if not candidates:
        # To try every row as leader would be quadratic. One for each key and power of two of the
        # length, the oldest, is enough, since a batch spans lengths up to a factor of two.
        leaders: dict[tuple[Hashable, int], Row] = {}
        for row in pending:
            leaders.setdefault((row.key, row.length.bit_length()), row)
        candidates = [_company(row, pending, max_rows, max_tokens) for row in leaders.values()]
    batch = max(candidates, key=len)
    chosen = set(map(id, batch))
    # Only rows older than the youngest chosen one were skipped.
    last = max(index for index, row in enumerate(pending) if id(row) in chosen)
    for row in pending[:last]:
        if id(row) not in chosen:
            row.passed_over += 1
    pending[:] = [row for row in pending if id(row) not in chosen]
    return batch


def padded_tokens(rows: list[Row]) -> int:
    """The most tokens that a batch may hold: sequences times the longest prompt plus answer."""
    return sum(row.sequences for row in rows) * max(row.length + row.limit for row in rows)


def _company(leader: Row, pending: list[Row], max_rows: int, max_tokens: int | None) -> list[Row]:
    """The batch around this row: the oldest rows of similar length that fit."""
    batch = [leader]
    for row in pending:
        if (len(batch) + 1) * leader.sequences > max_rows:
            break
        if row is leader or row.key != leader.key or not _similar(row.length, leader.length):
            continue
        if max_tokens is None or padded_tokens([*batch, row]) <= max_tokens:
            batch.append(row)
    return batch


def _similar(one: int, other: int) -> bool:
    """Whether padding at most doubles the work; short prompts (64 tokens) always fit together."""
    return max(one, other) <= 2 * min(one, other) + 64
