"""Draws the rows to work on, by kind and source."""

import random

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError, check_count
from vlmguard.training.synthesis.record import Row

Quota = int | str | list[str] | None
"""Number of rows of a kind: None for all, a number, or `SOURCE:N` for each source."""


def draw_mix(rows: list[Row], safety: Quota, benign: Quota, seed: int) -> list[Row]:
    """Draw safety and benign rows; they keep the rows' own order.

    Args:
        rows: The rows to draw from.
        safety: Number of safety rows, at least 0; None for all. With `SOURCE:N`, or several as a
            list or separated by commas: N rows of each of these sources, and no rows of others.
        benign: Number of benign rows, likewise.
        seed: Seed of the drawing.

    Raises:
        UserError: Not a number, an unknown source, fewer rows than requested, or no rows at all.
    """
    chosen: set[str] = set()
    for option, wanted, kind in (("safety", safety, False), ("benign", benign, True)):
        of_kind = [row for row in rows if row.benign is kind]
        ids = [row.id for row in of_kind]
        if wanted is None:
            chosen.update(ids)
        elif isinstance(wanted, str | list):
            for source, count in _by_source(option, wanted, rows).items():
                ids = [row.id for row in of_kind if row.source == source]
                chosen.update(_draw(f"{option}={source}:{count}", ids, count, seed))
        else:
            check_count(f"-T {option}", wanted, 0)
            chosen.update(_draw(f"{option}={wanted}", ids, wanted, seed))
    if not chosen:
        raise UserError("No rows left to work on: -T data=, safety= and benign= leave none.")
    return [row for row in rows if row.id in chosen]


def _by_source(option: str, wanted: str | list[str], rows: list[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    sources = sorted({row.source for row in rows})
    for part in wanted.split(",") if isinstance(wanted, str) else wanted:
        # A file's name may hold a colon, so split at the last one.
        source, _, number = str(part).strip().rpartition(":")
        if source not in sources or source in counts or not number.isdecimal():
            meant = "" if source in sources else did_you_mean(source, sources)
            raise UserError(
                f"-T {option}={part}: give a number, or SOURCE:N once for each source.{meant} The "
                f"sources here are {', '.join(sources)}."
            )
        counts[source] = int(number)
    return counts


def _draw(given: str, ids: list[str], count: int, seed: int) -> list[str]:
    if count > len(ids):
        raise UserError(
            f"-T {given}: the sources hold {len(ids)} such rows. Ask for fewer, or add a source "
            f"with -T data=."
        )
    # Each draw has its own generator, so that its result does not depend on the size of another.
    return random.Random(f"{seed}/{given.partition('=')[0]}").sample(ids, count)
