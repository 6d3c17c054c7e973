"""The leaderboard: a row for each target and defense, a group of columns for each benchmark.

    vlmguard leaderboard logs
    vlmguard leaderboard logs --out site

Results stand in one group only if task version, data, split, settings, judge and
templates agree; a difference to the undefended target is taken sample by sample,
and called better or worse where the test over all differences of the table says so
(`marks`) and the 95 % interval does not deny it.
"""

import json
import math
from collections import defaultdict
from dataclasses import asdict

import numpy as np
import pandas as pd

from vlmguard.results.leaderboard.best import duels
from vlmguard.results.leaderboard.marks import Tested, mark
from vlmguard.results.leaderboard.model import (
    CONTROLS,
    UNDEFENDED_LABEL,
    Cell,
    Duel,
    Entry,
    Gain,
    Group,
    Leaderboard,
    Overhead,
    is_control,
)
from vlmguard.results.leaderboard.names import brief, label_rows, unlike
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import (
    BOTH,
    SAFETY,
    Measure,
    applicable,
    category_weights,
    coverage,
    endpoint,
    headline_of,
    mean,
    measures_of,
    values_of,
    weighted,
)
from vlmguard.results.logs.read import Run
from vlmguard.results.sanitize import clean
from vlmguard.results.stats.differences import difference_of, mean_interval, pair_up
from vlmguard.results.stats.max_t import Sums

_BETTER = {1: "more", -1: "less", 0: "neither more nor less"}


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
        notes = [] if same else [_other_samples(frames, shared, intersect)]
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
        notes += _on_measures(measures)
        group = Group(
            column=column,
            label=_heading(column),
            judge=", ".join(dict.fromkeys(run.judge for run in runs if run.judge)),
            templates=_templates(column),
            measures=measures,
            headline=headline,
            endpoint=first.name if first else "",
            differs=_set_apart(column, columns),
            note="; ".join(notes),
        )
        place = len(groups)
        groups.append(group)
        found = [
            _entry(number, *labels[number], place, frames[number], answers[number], measures)
            for number in numbers
        ]
        for entry in found:
            run = results.runs[entry.run]
            entry.overhead.gap = run.overhead_gap or entry.overhead.gap
            _add_pace(entry, results)
            entry.note = "; ".join(_on_run(run))
        tested += _compare(found, frames, group, controls)
        if first is not None:
            compared += duels(found, frames, first, controls)
        entries.extend(found)
    board = Leaderboard(
        groups, entries, [], dict(results.left_out), duels=compared, controls=controls
    )
    noted = dict.fromkeys(clean(run.note) for run in results.runs)
    board.notes = [note for note in noted if note]
    board.endpoint_tests, rest = mark(tested)
    board.tests = board.endpoint_tests + rest
    board.gains = _gains(board)
    return board


def _other_samples(frames: dict[int, pd.DataFrame], shared: set[str], intersect: bool) -> str:
    """What to say of a group whose runs hold different samples."""
    if not shared:
        return "runs share no sample: means are not comparable"
    if intersect:
        return f"only the {len(shared)} samples that all runs share"
    sizes = sorted({len(frame) for frame in frames.values()})
    return (
        f"runs hold different samples ({', '.join(map(str, sizes))}; {len(shared)} shared "
        f"by all): means are not comparable; --intersect uses the shared ones"
    )


def _on_measures(measures: list[Measure]) -> list[str]:
    """What to say of how measures are read."""
    notes = []
    if any(measure.macro for measure in measures):
        notes.append("macro: the mean over categories, each counting alike")
    unbounded = [measure.column for measure in measures if measure.unbounded]
    if unbounded:
        notes.append(
            f"range not declared: {', '.join(unbounded)} (no percentages, no worst case); to "
            f'declare it: Task(metadata={{"measures": {{"NAME": {{"max": ...}}}}}})'
        )
    guessed = [measure for measure in measures if measure.guessed]
    if guessed:
        listed = ", ".join(
            f"{measure.column} ({_BETTER[measure.better]} is better)" for measure in guessed
        )
        notes.append(
            f"guessed from the name: {listed}; to declare it: "
            f'Task(metadata={{"measures": {{"NAME": {{"lower_is_better": ...}}}}}})'
        )
    return notes


def _on_run(run: Run) -> list[str]:
    """What to say of a run by itself."""
    approximate = f"an approximation of the defense: {', '.join(run.approximations)}"
    said = [*run.declared.remarks, *run.remarks]
    return [approximate, *said] if run.approximations else said


def _entry(
    run: int,
    target: str,
    defense: str,
    group: int,
    samples: pd.DataFrame,
    answers: pd.DataFrame,
    measures: list[Measure],
) -> Entry:
    slices: dict[str, dict[str, Cell]] = {}
    if samples["slice"].nunique() > 1:
        slices = {
            str(name): _cells(rows, answers[answers["slice"] == name], measures)
            for name, rows in samples.groupby("slice")
        }
    categories: dict[str, dict[str, tuple[float, int]]] = {}
    for category, rows in samples.groupby("category"):
        numbers = {measure.name: values_of(rows, measure) for measure in measures}
        categories[str(category)] = {
            name: (mean(values), int((~pd.isna(values)).sum())) for name, values in numbers.items()
        }
    return Entry(
        run=run,
        target=target,
        defense=defense,
        group=group,
        samples=len(samples),
        cells=_cells(samples, answers, measures),
        categories=categories,
        slices=slices,
        failures=_share(answers, "failure"),
        triggered=_share(answers, "triggered"),
        overhead=_overhead(answers),
    )


def _cells(
    samples: pd.DataFrame, answers: pd.DataFrame, measures: list[Measure]
) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for measure in measures:
        rows = applicable(samples, measure)
        values, clusters = values_of(rows, measure), rows["cluster"].to_numpy()
        categories = rows["category"].to_list()
        weights = category_weights(values, categories, measure)
        low, high = mean_interval(values, clusters, weights, measure.range)
        cells[measure.name] = Cell(
            mean=mean(weighted(values, categories, measure)),
            low=low,
            high=high,
            clusters=len(set(clusters[~np.isnan(values)])),
            coverage=coverage(answers, measure),
        )
    return cells


def _compare(
    entries: list[Entry],
    frames: dict[int, pd.DataFrame],
    group: Group,
    controls: tuple[str, ...],
) -> list[Tested]:
    """Fill in the differences to each target's undefended run; returns those to be tested."""
    tested: list[Tested] = []
    undefended = {entry.target: entry for entry in entries if entry.defense == UNDEFENDED_LABEL}
    for entry in entries:
        if entry.defense == UNDEFENDED_LABEL:
            continue
        partner = undefended.get(entry.target)
        if partner is None:
            _add_note(entry, "no undefended run of this target under the same conditions")
            continue
        old, new = frames[partner.run], frames[entry.run]
        if set(old.index) != set(new.index):
            both = len(set(old.index) & set(new.index))
            way_out = "; --intersect compares the shared ones" if both else ""
            _add_note(
                entry,
                f"other samples than the undefended run ({both} shared of {len(new)} and "
                f"{len(old)}), so no difference{way_out}",
            )
            continue
        new = new.reindex(old.index)
        found = _fill_differences(entry.cells, old, new, group)
        tested += [] if is_control(entry.defense, controls) else found
        for name, cells in entry.slices.items():
            here = old["slice"] == name
            _fill_differences(cells, old[here], new[here], group)
    return tested


def _add_note(entry: Entry, note: str) -> None:
    entry.note = f"{entry.note}; {note}" if entry.note else note


def _fill_differences(
    cells: dict[str, Cell], old: pd.DataFrame, new: pd.DataFrame, group: Group
) -> list[Tested]:
    tested = []
    for measure in group.measures:
        rows = applicable(old, measure)
        before, after = values_of(rows, measure), values_of(new.loc[rows.index], measure)
        # Weights are those of the pairs: a category counts alike in both runs.
        weights = category_weights(after - before, rows["category"].to_list(), measure)
        pairs = pair_up(before, after, rows["cluster"].to_numpy(), weights)
        if pairs is None:
            continue
        cell = cells[measure.name]
        cell.difference = difference_of(pairs, measure.range)
        if measure.primary and measure.better:
            # Images of one benchmark are flipped together, whatever target they were shown to.
            pool = f"{group.column.benchmark} {group.column.data}"
            sums = Sums(pool, pairs.names, pairs.sums)
            tested.append(Tested(cell, measure, measure.name == group.endpoint, sums))
    return tested


def _gains(board: Leaderboard) -> list[Gain]:
    gains = []
    for place in range(len(board.groups)):
        here = [entry for entry in board.entries if entry.group == place]
        base = {
            entry.target: entry.cells[SAFETY.name].mean
            for entry in here
            if entry.defense == UNDEFENDED_LABEL and SAFETY.name in entry.cells
        }
        defenses = dict.fromkeys(
            entry.defense for entry in here if entry.defense != UNDEFENDED_LABEL
        )
        for defense in defenses:
            paired = [
                entry
                for entry in here
                if entry.defense == defense
                and entry.target in base
                and SAFETY.name in entry.cells
                and entry.cells[SAFETY.name].difference is not None
            ]
            pairs = [(base[entry.target], entry.cells[SAFETY.name].mean) for entry in paired]
            both = [
                cell.difference.mean
                for entry in paired
                if (cell := entry.cells.get(BOTH.name)) and cell.difference
            ]
            # A relative gain over nothing is not defined.
            if not pairs or any(not old > 0 for old, _ in pairs):
                continue
            before, after = (sum(each) for each in zip(*pairs, strict=True))
            each = [(new - old) / old for old, new in pairs]
            gains.append(
                Gain(
                    place,
                    defense,
                    len(pairs),
                    after / before - 1,
                    sum(each) / len(each),
                    sum(both) / len(both) if both else math.nan,
                )
            )
    return gains


def _add_pace(entry: Entry, results: Results) -> None:
    """Throughput of a run, and latency where a log of its own tells it."""
    run, overhead = results.runs[entry.run], entry.overhead
    overhead.throughput = run.pace.rate
    others = [each.pace for each in results.runs if each.path != run.path]
    overhead.shared = run.pace.rate is not None and run.pace.beside(others)
    overhead.gap = "; ".join(filter(None, [overhead.gap, run.pace.gap]))
    if run.latency is not None:
        overhead.latency, overhead.latency_of = run.latency


def _overhead(answers: pd.DataFrame) -> Overhead:
    # An answer that failed has no tally: the others' mean is shown, and how many it is of.
    tallied = answers[answers["calls"].notna()] if "calls" in answers else answers[:0]
    rows = tallied if len(tallied) else answers
    missing = len(answers) - len(tallied)

    def average(*names: str) -> float | None:
        if any(name not in rows or rows[name].isna().any() for name in names):
            return None
        return float(sum(rows[name].astype(float).mean() for name in names))

    gaps = [f"{missing} of {len(answers)} answers without a tally"] if missing else []
    counted = ["input_tokens", "output_tokens"]
    unknown = int(tallied[counted].isna().any(axis=1).sum()) if len(tallied) else 0
    if unknown:
        gaps.append(f"no tokens reported for {unknown} of {len(answers)} answers")
    return Overhead(
        gap="; ".join(gaps),
        calls=average("calls"),
        tokens=average(*counted),
        cost=average("cost"),
    )


def _share(answers: pd.DataFrame, name: str) -> float | None:
    if name not in answers or answers[name].isna().all():
        return None
    return float(answers[name].dropna().astype(bool).mean())


def _heading(column: Column) -> str:
    return f"{column.title} {column.variant}".strip()


def _templates(column: Column) -> str:
    """E.g. `judge 1a2b3c`: two tables under one judge may still differ in these."""
    facts = json.loads(column.judging) if column.judging else {}
    named = {
        scorer: found.get("judge_template") or found.get("keywords_hash")
        for scorer, found in facts.items()
    }
    return ", ".join(f"{scorer} {digest}" for scorer, digest in named.items() if digest)


def _set_apart(column: Column, columns: list[Column]) -> str:
    """What sets a group apart from its namesakes; empty where there are none."""
    rivals = [
        asdict(each) for each in columns if _heading(each) == _heading(column) and each != column
    ]
    own = asdict(column)
    return "; ".join(
        f"{name} {brief(unlike(own[name], [each[name] for each in rivals])) or 'none'}"
        for name in ("version", "data", "settings", "judging", "benchmark")
        if any(each[name] != own[name] for each in rivals)
    )
