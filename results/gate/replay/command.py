"""The work of `vlmguard gate --replay`: try a guard on recorded traffic, and report.

vlmguard gate --replay records --defense vlmguard --rewriter MODEL    # against what was recorded
vlmguard gate --replay records --baseline guard.json.gz ... --update  # keep this guard's decisions
vlmguard gate --replay records --baseline guard.json.gz ...           # another guard against them
"""

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from rich.console import Console

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.progress import counted
from vlmguard.guard.recordings import RecordedRequest, Recordings, read_recordings
from vlmguard.results.formats.console import print_sheets
from vlmguard.results.formats.writing import write_file
from vlmguard.results.gate.command import reported
from vlmguard.results.gate.comparable import Limits
from vlmguard.results.gate.replay.asking import NewGuard, chosen, replayed
from vlmguard.results.gate.replay.compare import MEASURES, Replay, findings_of, unfit
from vlmguard.results.gate.replay.decisions import (
    GuardRun,
    read_baseline,
    recorded_run,
    write_baseline,
)
from vlmguard.results.gate.replay.sheets import changed_csv, changed_lines, rates, transitions
from vlmguard.results.sanitize import clean

__all__ = ["Asked", "check", "update"]


@dataclass(frozen=True)
class Asked:
    """What is to be replayed, and how.

    Attributes:
        folder: The recordings.
        guard: The guard to try.
        limits: Tolerances.
        limit: The most requests; None for all.
    """

    folder: Path
    guard: NewGuard
    limits: Limits
    limit: int | None = None


def check(
    asked: Asked,
    baseline: Path | None,
    changes: Path | None,
    strict: bool,
    junit: Path | None,
    summary: Path | None,
    console: Console,
) -> int:
    """Compare a guard with the recorded decisions, or with a baseline; print what was found.

    Args:
        asked: What is to be replayed.
        baseline: The decisions of an earlier guard; those that were recorded if None.
        changes: Where to write a CSV of the requests that are decided otherwise.
        strict: Whether a loss that may be chance is an error.
        junit: Where to write JUnit XML.
        summary: GitHub's step summary, to which the findings are appended.
        console: Where tables are printed.

    Returns:
        Exit status: 0 as good or better, 1 worse, 2 not comparable.

    Raises:
        UserError: Recordings, baseline or guard cannot be used.
    """
    _check_names(asked.limits)
    old = read_baseline(baseline) if baseline else None
    recordings, requests = _requests(asked)
    new = _ask(asked, requests)
    replay = Replay(
        asked.folder.name,
        old or recorded_run(requests),
        new,
        {each.id: each.cluster for each in requests},
        {each.id: each.benign for each in requests if each.benign is not None},
    )
    for line in _notes(recordings, requests):
        console.print(line)
    print_sheets([transitions(replay), rates(replay)], console)
    for line in changed_lines(replay):
        print(clean(line))
    if changes is not None:
        write_file(changes, changed_csv(replay))
    return reported(findings_of(replay, asked.limits), strict, junit, summary)


def update(asked: Asked, baseline: Path) -> list[str]:
    """Write the decisions of a guard as a baseline.

    Args:
        asked: What is to be replayed.
        baseline: The file; what it held is replaced.

    Returns:
        Lines that say what was written.

    Raises:
        UserError: The gate would refuse these decisions; nothing was written.
    """
    recordings, requests = _requests(asked)
    run = _ask(asked, requests)
    if reasons := unfit(run, asked.limits):
        raise UserError(f"no baseline is written from unusable decisions: {'; '.join(reasons)}")
    write_baseline(baseline, run)
    return [
        *_notes(recordings, requests),
        f"Wrote {baseline}: {run.label} on {len(run.decisions)} requests.",
    ]


def _requests(asked: Asked) -> tuple[Recordings, list[RecordedRequest]]:
    recordings = read_recordings(asked.folder)
    return recordings, chosen(recordings.requests, asked.limit)


def _ask(asked: Asked, requests: list[RecordedRequest]) -> GuardRun:
    report = counted("replaying", len(requests))
    done = count(1)
    return replayed(asked.folder, requests, asked.guard, lambda: report(next(done)))


def _notes(recordings: Recordings, requests: list[RecordedRequest]) -> list[str]:
    """What of the recordings is not replayed."""
    notes = [clean(f"{torn}; left out.") for torn in recordings.torn]
    if len(requests) < len(recordings.requests):
        notes.append(f"--limit: {len(requests)} of {len(recordings.requests)} requests, by chance.")
    return notes


def _check_names(limits: Limits) -> None:
    for name in limits.tolerance:
        if name not in MEASURES:
            raise UserError(
                f"--tolerance {name}: a replay does not measure it.{did_you_mean(name, MEASURES)} "
                f"Known: {', '.join(MEASURES)}."
            )
