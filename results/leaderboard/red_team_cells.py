"""Texts of single cells of the tables of attacked runs.

The first line of a cell is its number. More lines say what a reader must know of this cell alone:
its interval, and samples other than those that a note of the table tells of all its cells.
"""

import math
from collections import Counter
from collections.abc import Iterable
from textwrap import fill
from typing import Final

from vlmguard.results.leaderboard.red_team_rates import Share
from vlmguard.results.leaderboard.red_team_twins import NOT_RUN, Compared

__all__ = [
    "TWIN_NOT_RUN",
    "brief",
    "change_text",
    "or_why",
    "percent",
    "samples_text",
    "share_text",
    "short_defenses",
    "told",
    "usual",
]

TWIN_NOT_RUN: Final = f"twin: {NOT_RUN}"
_GROUP: Final = "adaptive:"
_NARROW: Final = 11
"""Columns of a reason in the place of a number."""


def share_text(share: Share, usually: int | None = None) -> str:
    """A rate with its interval, and what the unscored could change.

    Args:
        share: The rate.
        usually: The number of samples of which the table says that all were scored; other numbers
            stand in the cell.
    """
    if not share.of:
        return "-"
    lines = [percent(share.mean)]
    if not math.isnan(share.low):
        lines.append(f"[{percent(share.low)}, {percent(share.high)}]")
    if share.scored < share.of:
        lines.append(f"{share.scored} of {share.of}")
        lines.append(f"{percent(share.least)}–{percent(share.most)}")
    elif share.samples != usually:
        lines.append(samples_text(share))
    return "\n".join(lines)


def samples_text(share: Share) -> str:
    """The samples of a rate, e.g. `n 240`, or `scored 238 of 240`."""
    return (
        f"n {share.samples}" if share.scored == share.of else f"scored {share.scored} of {share.of}"
    )


def or_why(other: Compared, usually: int | None = None) -> str:
    """The rate of another run, or why there is none."""
    return _why(other) if other.share is None else share_text(other.share, usually)


def change_text(other: Compared, usually: int | None = None) -> str:
    """A paired change in points with its interval and pairs, or why there is none."""
    found = other.change
    if found is None:
        return _why(other) if other.why else "-"
    lines = [_points(found.mean)]
    if not math.isnan(found.low):
        lines.append(f"[{_points(found.low)}, {_points(found.high)}]")
    if found.pairs != usually:
        lines.append(f"{found.pairs} pair{'' if found.pairs == 1 else 's'}")
    return "\n".join(lines)


def usual(shares: Iterable[Share | None]) -> int | None:
    """The number of samples that most rates have; the larger of two. None without any rate."""
    counts = Counter(share.samples for share in shares if share is not None and share.of)
    return max(counts, key=lambda of: (counts[of], of), default=None)


def told(of: int | None, of_twin: int | None, twins: set[str]) -> list[str]:
    """What holds for all cells of a table that say nothing else: requests, and the twin's name.

    Args:
        of: The requests of most attacks.
        of_twin: The harmless requests of most twins.
        twins: Names of the twins.
    """
    said = [] if of is None else [f"scored {of} of {of} risky requests"]
    if twins:
        name = f" of {', '.join(twins)}" if len(twins) == 1 else ""
        said.append(f"twin: scored {of_twin} of {of_twin} harmless requests{name}")
    return [f"Where a cell does not say otherwise: {'; '.join(said)}."] if said else []


def brief(attack: str) -> str:
    """An attack without the name of its group: `adaptive:R1` is R1."""
    return attack.removeprefix(_GROUP)


def short_defenses(labels: Iterable[str]) -> dict[str, str]:
    """Labels of defenses without their options where that leaves them distinct."""
    unique = dict.fromkeys(labels)
    heads = Counter(label.split(" (", 1)[0] for label in unique)
    return {
        label: head if heads[head] == 1 else label
        for label in unique
        for head in [label.split(" (", 1)[0]]
    }


def percent(share: float) -> str:
    """A share as text; `-` if it is not known."""
    return "-" if math.isnan(share) else f"{share * 100 + 1e-9:.1f}"


def _why(other: Compared) -> str:
    return fill(other.why, _NARROW)


def _points(change: float) -> str:
    return f"{change * 100:+.1f}".replace("+0.0", "0.0").replace("-0.0", "0.0")
