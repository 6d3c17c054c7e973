"""The leaderboard: a row for each target and defense, a group of columns for each benchmark.

    vlmguard leaderboard logs
    vlmguard leaderboard logs --out site

Results stand in one group only if task version, data, split, settings, judge and
templates agree; a difference to the undefended target is taken sample by sample,
and called better or worse where the test over all differences of the table says so
(`comparisons`) and the 95 % interval does not deny it.
"""

from collections import defaultdict
from collections.abc import Collection

from vlmguard.results.leaderboard.comparisons import Tested, compare, duels, gains, mark
from vlmguard.results.leaderboard.entries import Used, entry_of
from vlmguard.results.leaderboard.model import CONTROLS, Group, Leaderboard
from vlmguard.results.leaderboard.wording import (
    heading,
    label_rows,
    on_approximations,
    on_measures,
    on_samples,
    set_apart,
    templates,
)
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import endpoint, headline_of, measures_of
from vlmguard.results.logs.read import Run
from vlmguard.results.sanitize import clean

__all__ = ["build"]


def build(
    results: Results, intersect: bool = False, controls: tuple[str, ...] = CONTROLS
) -> Leaderboard:
    """Compare all runs.

    Args:
        results: What was read.
        intersect: Use only the samples that all runs of a group share.
        controls: Names of defenses that are no more than a yardstick: they are
            compared like the others, and stand apart.
    """
    labels = label_rows(results.runs)
    noted = dict.fromkeys(clean(run.note) for run in results.runs)
    board = Leaderboard(
        left_out=dict(results.left_out),
        notes=[*filter(None, noted), *on_approximations(labels)],
        controls=controls,
        runs=results.runs,
    )
    tested: list[Tested] = []
    columns = _by_column(results.runs)
    for column, runs in columns.items():
        used, note = _used(runs, intersect)
        group = _group(column, columns, used, note)
        entries = {entry_of(each, group, labels[each.run], results.runs): each for each in used}
        board.groups.append(group)
        board.entries += entries
        samples = {entry: each.samples for entry, each in entries.items()}
        tested += compare(board, group, samples)
        board.duels += duels(board, group, samples)
    board.endpoint_tests, rest = mark(tested)
    board.tests = board.endpoint_tests + rest
    board.gains = gains(board)
    return board


def _by_column(runs: list[Run]) -> dict[Column, list[Run]]:
    """Runs that may be compared together; those of one judge that is there twice count once."""
    found: dict[Column, list[Run]] = defaultdict(list)
    for run in runs:
        if not run.repeat:
            found[run.column].append(run)
    columns = sorted(found, key=lambda each: (each.title, each.variant, each.version, str(each)))
    return {column: found[column] for column in columns}


def _used(runs: list[Run], intersect: bool) -> tuple[list[Used], str]:
    """What is used of each run, and what to say where they hold different samples."""
    used = [Used(run, run.samples(), run.answers) for run in runs]
    shared = set.intersection(*(set(each.samples.index) for each in used))
    sizes = [len(each.samples) for each in used]
    if all(size == len(shared) for size in sizes):
        return used, ""
    if intersect and shared:
        used = [each.only(shared) for each in used]
    return used, on_samples(sizes, len(shared), intersect)


def _group(column: Column, columns: Collection[Column], used: list[Used], note: str) -> Group:
    """The columns of a benchmark under one set of conditions."""
    runs = [each.run for each in used]
    scored = [
        str(name) for each in used for name in each.samples if each.samples[name].notna().any()
    ]
    asked = [name for run in runs for name in run.asked]
    measures = measures_of(runs, dict.fromkeys([*scored, *asked]))
    headline = headline_of(runs, measures)
    first = endpoint(measures, headline)
    return Group(
        column=column,
        label=heading(column),
        judge=", ".join(dict.fromkeys(run.judge for run in runs if run.judge)),
        templates=templates(column),
        measures=measures,
        headline=headline,
        endpoint=first.name if first else "",
        differs=set_apart(column, columns),
        note="; ".join([*([note] if note else []), *on_measures(measures)]),
    )
