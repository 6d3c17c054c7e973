"""Tables of two guards' decisions, and the list of the requests that they decide otherwise."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.formats.spreadsheet import csv_text
from vlmguard.results.gate.replay.compare import Pair, Replay, pairs_of
from vlmguard.results.gate.replay.decisions import KINDS, Decided
from vlmguard.results.sanitize import one_line
from vlmguard.results.stats.differences import Difference, paired_difference

__all__ = ["changed", "changed_csv", "changed_lines", "rates", "transitions"]

_LISTED: Final = 10
"""Requests of a kind of change that are listed; the CSV has all."""

_UNKNOWN: Final = (
    "Nobody labelled these requests: the table cannot tell protection from over-refusal, nor a "
    "better rewrite from a worse one. Look at the requests that changed."
)
_RATES: Final[tuple[tuple[str, Callable[[Decided], bool]], ...]] = (
    ("passed unchanged", lambda each: each.unchanged),
    ("rewritten", lambda each: each.kind == "rewrite"),
    ("blocked", lambda each: each.action == "block"),
    ("failed", lambda each: each.kind == "failed"),
)


def transitions(replay: Replay) -> Sheet:
    """How many requests went from which kind of decision to which."""
    pairs = pairs_of(replay)
    shown = [kind for kind in KINDS if any(kind in (p.old.kind, p.new.kind) for p in pairs)]
    rows = [
        [old, *(str(sum((p.old.kind, p.new.kind) == (old, new) for p in pairs)) for new in shown)]
        for old in shown
    ]
    reworded = sum(pair.reworded for pair in pairs)
    return Sheet(
        f"Decisions on {len(pairs)} requests",
        ["old \\ new", *shown],
        rows,
        notes=[
            f"Rows: {replay.old.label}. Columns: {replay.new.label}.",
            f"{reworded} of the same kind reach the target with other words.",
        ],
        labels=1,
    )


def rates(replay: Replay) -> Sheet:
    """The share of each kind of decision, and its paired change with a 95 % interval."""
    pairs = [pair for pair in pairs_of(replay) if pair.is_decided]
    clusters = np.array([replay.clusters[pair.id] for pair in pairs])
    rows = []
    for name, holds in _RATES:
        old, new = (
            np.array([float(holds(each)) for each in decided], dtype=np.float64)
            for decided in ([pair.old for pair in pairs], [pair.new for pair in pairs])
        )
        change = paired_difference(old, new, clusters, highest=1.0)
        if change is None:
            continue
        rows.append([name, _percent(float(old.mean())), _percent(float(new.mean())), _told(change)])
    labelled = sum(pair.id in replay.benign for pair in pairs)
    said = f"{labelled} of them have a label." if labelled else _UNKNOWN
    images = len(set(clusters.tolist()))
    return Sheet(
        f"Rates over {len(pairs)} requests about {images} pictures or texts, %",
        ["rate", "old", "new", "change [95 %]"],
        rows,
        notes=[said],
        labels=1,
    )


def changed(replay: Replay) -> list[Pair]:
    """The requests of which another kind of decision was made, and those sent in other words."""
    return [pair for pair in pairs_of(replay) if pair.old.kind != pair.new.kind or pair.reworded]


def changed_lines(replay: Replay) -> list[str]:
    """The requests that changed, by kind of change: what may be a loss first, by id."""
    groups: dict[tuple[str, str], list[str]] = {}
    for pair in changed(replay):
        groups.setdefault((pair.old.kind, pair.new.kind), []).append(pair.id)
    lines = []
    for (old, new), ids in sorted(groups.items(), key=lambda item: _order(*item[0])):
        what = "other words" if old == new else f"{old} -> {new}"
        more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
        lines.append(f"{what} ({len(ids)}): {', '.join(map(one_line, ids[:_LISTED]))}{more}")
    return lines


def changed_csv(replay: Replay) -> str:
    """All requests that changed, without anybody's words."""
    header = ("id", "old", "new", "old_reason", "new_reason", "benign")
    rows = [
        (p.id, p.old.kind, p.new.kind, p.old.reason, p.new.reason, str(replay.benign.get(p.id, "")))
        for p in changed(replay)
    ]
    return csv_text(header, rows)


def _order(old: str, new: str) -> tuple[int, str, str]:
    if new == "failed":
        return 0, old, new
    if new == "pass" and old in ("rewrite", "block"):
        return 1, old, new
    return 4 if old == new else 2 if new == "block" else 3, old, new


def _told(change: Difference) -> str:
    mean = f"{100 * change.mean:+.1f}"
    if math.isnan(change.low):
        return f"{mean} [too few pictures]"
    return f"{mean} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
