"""The leaderboard: a row for each target and defense, a group of columns for each benchmark.

    vlmguard leaderboard logs
    vlmguard leaderboard logs --out site

Results stand in one group only if task version, data, split, settings, judge and
templates agree; a difference to the undefended target is taken sample by sample,
and called better or worse where the test over all differences of the table says so
(`marks`) and the 95 % interval does not deny it.
"""

from collections import defaultdict

from vlmguard.results.leaderboard.against_undefended import compare, gains
from vlmguard.results.leaderboard.best import duels
from vlmguard.results.leaderboard.entries import add_pace, entry_of
from vlmguard.results.leaderboard.marks import Tested, mark
from vlmguard.results.leaderboard.model import CONTROLS, Duel, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.names import heading, label_rows, set_apart, templates
from vlmguard.results.leaderboard.remarks import (
    on_approximations,
    on_measures,
    on_run,
    on_samples,
)
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import endpoint, headline_of, measures_of
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

    Returns:
        The leaderboard.
    """
    labels = label_rows(results.runs)
    by_column: dict[Column, list[int]] = defaultdict(list)
    for number, run in enumerate(results.runs):
        if not run.repeat:
            by_column[run.column].append(number)
    columns = sorted(
        by_column, key=lambda each: (each.title, each.variant, each.version, str(each))
    )
    groups: list[Group] = []
    entries: list[Entry] = []
    tested: list[Tested] = []
    compared: list[Duel] = []
    for column in columns:
        numbers = by_column[column]
        frames = {number: results.samples(number) for number in numbers}
        answers = {number: results.answers(number) for number in numbers}
        shared = set.intersection(*(set(frame.index) for frame in frames.values()))
        same = all(len(frame) == len(shared) for frame in frames.values())
        notes = [] if same else [on_samples(frames, shared, intersect)]
        if not same and intersect and shared:
            frames = {n: frame[frame.index.isin(shared)] for n, frame in frames.items()}
            answers = {n: rows[rows["sample"].isin(shared)] for n, rows in answers.items()}
        runs = [results.runs[number] for number in numbers]
        present = [
            name
            for name in results.frame.columns
            if any(name in frame and frame[name].notna().any() for frame in frames.values())
        ]
        asked = [name for run in runs for name in run.asked]
        measures = measures_of(runs, dict.fromkeys([*present, *asked]))
        headline = headline_of(runs, measures)
        first = endpoint(measures, headline)
        notes += on_measures(measures)
        group = Group(
            column=column,
            label=heading(column),
            judge=", ".join(dict.fromkeys(run.judge for run in runs if run.judge)),
            templates=templates(column),
            measures=measures,
            headline=headline,
            endpoint=first.name if first else "",
            differs=set_apart(column, columns),
            note="; ".join(notes),
        )
        place = len(groups)
        groups.append(group)
        found = [
            entry_of(number, *labels[number], place, frames[number], answers[number], measures)
            for number in numbers
        ]
        for entry in found:
            run = results.runs[entry.run]
            entry.overhead.gap = run.overhead_gap or entry.overhead.gap
            add_pace(entry, results)
            entry.note = "; ".join(on_run(run))
        tested += compare(found, frames, group, controls)
        if first is not None:
            compared += duels(found, frames, first, controls)
        entries.extend(found)
    board = Leaderboard(
        groups, entries, [], dict(results.left_out), duels=compared, controls=controls
    )
    noted = dict.fromkeys(clean(run.note) for run in results.runs)
    board.notes = [note for note in noted if note] + on_approximations(results, labels)
    board.endpoint_tests, rest = mark(tested)
    board.tests = board.endpoint_tests + rest
    board.gains = gains(board)
    return board
