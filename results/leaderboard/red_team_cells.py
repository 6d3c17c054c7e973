"""Texts of single cells of the tables of attacked runs."""

import math
from typing import Final

from vlmguard.results.leaderboard.red_team_model import Under
from vlmguard.results.leaderboard.red_team_rates import Share
from vlmguard.results.leaderboard.red_team_twins import NOT_RUN, Compared

__all__ = ["TWIN", "TWIN_NOT_RUN", "change_text", "or_why", "said", "share_text", "with_attack"]

TWIN: Final = "twin: "
TWIN_NOT_RUN: Final = f"{TWIN}{NOT_RUN}"


def with_attack(under: Under, share: Share) -> str:
    """A rate with the attack that it is under."""
    mean, *more = share_text(share).split("\n")
    return "\n".join([mean, under.attack, *more])


def share_text(share: Share) -> str:
    """A rate with its interval, its samples, and what the unscored could change."""
    if not share.of:
        return "-"
    lines = [_percent(share.mean)]
    if not math.isnan(share.low):
        lines.append(f"[{_percent(share.low)}, {_percent(share.high)}]")
    if share.scored == share.of:
        return "\n".join([*lines, f"n {share.samples}"])
    worst = f"{_percent(share.least)} to {_percent(share.most)}"
    return "\n".join([*lines, f"scored {share.scored} of {share.of}", f"else {worst}"])


def or_why(other: Compared, what: str) -> str:
    """The rate of another run, or why there is none."""
    return f"{what}{other.why}" if other.share is None else share_text(other.share)


def change_text(other: Compared, what: str) -> str:
    """A paired change in points with its interval and pairs, or why there is none."""
    found = other.change
    if found is None:
        return f"{what}{other.why}" if other.why else "-"
    lines = [_points(found.mean)]
    if not math.isnan(found.low):
        lines.append(f"[{_points(found.low)}, {_points(found.high)}]")
    return "\n".join([*lines, f"{found.pairs} pair{'' if found.pairs == 1 else 's'}"])


def said(cell: str) -> str:
    """A cell of several lines as part of a sentence."""
    first, *more = cell.split("\n")
    unit = f"{first} %" if first.replace(".", "").isdigit() else first
    told = [line for line in more if not line.startswith("[")]
    return f"{unit} ({', '.join(told)})" if told else unit


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share * 100 + 1e-9:.1f}"


def _points(change: float) -> str:
    return f"{change * 100:+.1f}".replace("+0.0", "0.0").replace("-0.0", "0.0")
