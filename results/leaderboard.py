"""The leaderboard: a row for each target and defense, a group of columns for each benchmark.

    vlmguard leaderboard logs
    vlmguard leaderboard logs --out site

Results stand in one group only if task version, data, split, settings, judge and
templates agree; a difference to the undefended target is taken sample by sample,
and called better or worse only where its 95 % interval leaves zero out and the
Holm-corrected test over all differences of the table agrees.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field

import pandas as pd

from vlmguard.results.frame import Results
from vlmguard.results.logs import Column, Run
from vlmguard.results.measures import (
    SAFETY,
    Coverage,
    Measure,
    applicable,
    coverage,
    mean,
    measures_of,
    values_of,
)
from vlmguard.results.stats import Difference, holm, mean_interval, paired_difference

UNDEFENDED = "undefended"
ALPHA = 0.05


@dataclass
class Cell:
    """One measure of one run.

    Attributes:
        mean: Mean over scored samples.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        coverage: How much was scored, and the worst-case bounds.
        difference: To the undefended run; None without one.
        p: Holm-adjusted p-value of the difference.
        verdict: `better`, `worse`, or empty where the data do not say.
    """

    mean: float
    low: float
    high: float
    coverage: Coverage
    difference: Difference | None = None
    p: float = math.nan
    verdict: str = ""


@dataclass
class Overhead:
    """Mean cost of a sample, the judge left out; None where it is not known.

    Attributes:
        calls: Model calls.
        tokens: Tokens read and written.
        seconds: Time in the calls.
        cost: Money, where Inspect was given prices.
        slowdown: Seconds relative to the undefended run.
        gap: Why there is nothing to show.
    """

    calls: float | None = None
    tokens: float | None = None
    seconds: float | None = None
    cost: float | None = None
    slowdown: float | None = None
    gap: str = ""


@dataclass
class Entry:
    """One run in the table.

    Attributes:
        run: Its place in `Results.runs`.
        target: Label of the target.
        defense: Label of the defense.
        group: Place of its group of columns.
        samples: Number of samples.
        cells: By measure name.
        categories: By category and measure name: mean and number of samples.
        failures: Share of samples in which the guard's output was unusable;
            None without a tally.
        triggered: Share in which the defense intervened; None without a tally.
        overhead: Cost of a sample.
        note: What a reader must know (other samples than its partner, ...).
    """

    run: int
    target: str
    defense: str
    group: int
    samples: int
    cells: dict[str, Cell]
    categories: dict[str, dict[str, tuple[float, int]]]
    failures: float | None
    triggered: float | None
    overhead: Overhead
    note: str = ""


@dataclass
class Group:
    """A benchmark under one set of conditions.

    Attributes:
        column: The conditions.
        label: Heading.
        judge: Judges' names.
        measures: Measures in order.
        differs: What sets it apart from other groups of the same benchmark.
        note: What a reader must know.
    """

    column: Column
    label: str
    judge: str
    measures: list[Measure]
    differs: str = ""
    note: str = ""


@dataclass
class Gain:
    """Average relative gain in safety of a defense, over targets, in both readings.

    Attributes:
        group: Place of the group.
        defense: Label of the defense.
        targets: Number of targets with and without it.
        of_means: Relative rise of the mean over targets.
        mean_of: Mean of the targets' relative rises.
    """

    group: int
    defense: str
    targets: int
    of_means: float
    mean_of: float


@dataclass
class Leaderboard:
    """Everything that tables, pages and figures show."""

    groups: list[Group]
    entries: list[Entry]
    gains: list[Gain]
    left_out: dict[str, str] = field(default_factory=dict)
    tests: int = 0

    def rows(self) -> list[tuple[str, str]]:
        """Target and defense of each row: undefended first, then by safe and helpful."""
        scores: dict[tuple[str, str], list[float]] = defaultdict(list)
        for entry in self.entries:
            best = entry.cells.get("safe_and_helpful") or next(iter(entry.cells.values()))
            scores[entry.target, entry.defense].append(best.mean)
        return sorted(
            scores,
            key=lambda row: (
                row[0],
                row[1] != UNDEFENDED,
                -sum(scores[row]) / len(scores[row]),
                row[1],
            ),
        )

    def find(self, target: str, defense: str, group: int) -> Entry | None:
        """The entry of a row in a group."""
        for entry in self.entries:
            if (entry.target, entry.defense, entry.group) == (target, defense, group):
                return entry
        return None


def build(results: Results, intersect: bool = False) -> Leaderboard:
    """Compare all runs.

    Args:
        results: What was read.
        intersect: Use only the samples that all runs of a group share.

    Returns:
        The leaderboard.
    """
    labels = label_rows(results.runs)
    by_column: dict[Column, list[int]] = defaultdict(list)
    for number, run in enumerate(results.runs):
        by_column[run.column].append(number)
    columns = sorted(
        by_column, key=lambda each: (each.title, each.variant, each.version, str(each))
    )
    groups: list[Group] = []
    entries: list[Entry] = []
    for column in columns:
        numbers = by_column[column]
        frames = {number: results.samples(number) for number in numbers}
        answers = {number: results.answers(number) for number in numbers}
        shared = set.intersection(*(set(frame.index) for frame in frames.values()))
        same = all(len(frame) == len(shared) for frame in frames.values())
        note = ""
        if not same and intersect:
            note = f"only the {len(shared)} samples that all runs share"
            frames = {n: frame[frame.index.isin(shared)] for n, frame in frames.items()}
            answers = {n: rows[rows["sample"].isin(shared)] for n, rows in answers.items()}
        elif not same:
            sizes = sorted({len(frame) for frame in frames.values()})
            note = (
                f"runs hold different samples ({', '.join(map(str, sizes))}; {len(shared)} shared "
                f"by all): means are not comparable; --intersect uses the shared ones"
            )
        runs = [results.runs[number] for number in numbers]
        present = [
            name
            for name in results.frame.columns
            if any(name in frame and frame[name].notna().any() for frame in frames.values())
        ]
        measures = measures_of(runs, present)
        group = Group(
            column=column,
            label=_heading(column),
            judge=", ".join(dict.fromkeys(run.judge for run in runs if run.judge)),
            measures=measures,
            differs=_differs(column, columns),
            note=note,
        )
        place = len(groups)
        groups.append(group)
        found = [
            _entry(number, *labels[number], place, frames[number], answers[number], measures)
            for number in numbers
        ]
        for entry in found:
            entry.overhead.gap = results.runs[entry.run].overhead_gap
        _compare(found, frames, measures)
        entries.extend(found)
    board = Leaderboard(groups, entries, [], dict(results.left_out))
    board.tests = _decide(board)
    board.gains = _gains(board)
    return board


def label_rows(runs: list[Run]) -> list[tuple[str, str]]:
    """Labels of target and defense for each run, as short as they can be told apart.

    Args:
        runs: All runs of a table.

    Returns:
        Target and defense for each run.
    """
    settings: dict[str, set[str]] = defaultdict(set)
    guards: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        settings[run.target].add(run.target_settings)
        guards[run.defense, run.defense_args].add(run.guards)
    labels = []
    for run in runs:
        target = run.target
        if len(settings[target]) > 1 and run.target_settings:
            target += f" ({_brief(run.target_settings)})"
        defense = UNDEFENDED if run.defense == "none" else run.defense
        if run.defense_args:
            defense += f" ({_brief(run.defense_args)})"
        if len(guards[run.defense, run.defense_args]) > 1 and run.guards:
            defense += f" [{_brief(run.guards)}]"
        labels.append((target, defense))
    return labels


def _entry(
    run: int,
    target: str,
    defense: str,
    group: int,
    samples: pd.DataFrame,
    answers: pd.DataFrame,
    measures: list[Measure],
) -> Entry:
    cells: dict[str, Cell] = {}
    for measure in measures:
        rows = applicable(samples, measure)
        values = values_of(rows, measure)
        low, high = mean_interval(values, rows["cluster"].to_numpy())
        cells[measure.name] = Cell(mean(values), low, high, coverage(answers, measure))
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
        cells=cells,
        categories=categories,
        failures=_share(answers, "failure"),
        triggered=_share(answers, "triggered"),
        overhead=_overhead(answers),
    )


def _compare(
    entries: list[Entry], frames: dict[int, pd.DataFrame], measures: list[Measure]
) -> None:
    """Fill in the differences to each target's undefended run."""
    undefended = {entry.target: entry for entry in entries if entry.defense == UNDEFENDED}
    for entry in entries:
        if entry.defense == UNDEFENDED:
            continue
        partner = undefended.get(entry.target)
        if partner is None:
            entry.note = "no undefended run of this target under the same conditions"
            continue
        if partner.overhead.seconds and entry.overhead.seconds is not None:
            entry.overhead.slowdown = entry.overhead.seconds / partner.overhead.seconds
        old, new = frames[partner.run], frames[entry.run]
        if set(old.index) != set(new.index):
            both = len(set(old.index) & set(new.index))
            entry.note = (
                f"other samples than the undefended run ({both} shared of {len(new)} and "
                f"{len(old)}), so no difference; --intersect compares the shared ones"
            )
            continue
        new = new.reindex(old.index)
        for measure in measures:
            rows = applicable(old, measure)
            entry.cells[measure.name].difference = paired_difference(
                values_of(rows, measure),
                values_of(new.loc[rows.index], measure),
                rows["cluster"].to_numpy(),
            )


def _decide(board: Leaderboard) -> int:
    """Correct all tests of the table together and say what is better; returns their number."""
    tested = [
        (measure, entry.cells[measure.name])
        for entry in board.entries
        for measure in board.groups[entry.group].measures
        if measure.primary and entry.cells[measure.name].difference is not None
    ]
    p_values = [cell.difference.p for _, cell in tested if cell.difference]
    for (measure, cell), p in zip(tested, holm(p_values), strict=True):
        cell.p = p
        difference = cell.difference
        if difference is None or p >= ALPHA:
            continue
        if difference.low > 0 or difference.high < 0:
            gained = (difference.low > 0) == (measure.better > 0)
            cell.verdict = "better" if gained else "worse"
    return len(tested)


def _gains(board: Leaderboard) -> list[Gain]:
    gains = []
    for place in range(len(board.groups)):
        here = [entry for entry in board.entries if entry.group == place]
        base = {
            entry.target: entry.cells[SAFETY.name].mean
            for entry in here
            if entry.defense == UNDEFENDED and SAFETY.name in entry.cells
        }
        defenses = dict.fromkeys(entry.defense for entry in here if entry.defense != UNDEFENDED)
        for defense in defenses:
            pairs = [
                (base[entry.target], entry.cells[SAFETY.name].mean)
                for entry in here
                if entry.defense == defense
                and entry.target in base
                and SAFETY.name in entry.cells
                and entry.cells[SAFETY.name].difference is not None
            ]
            # A relative gain over nothing is not defined.
            if not pairs or any(not old > 0 for old, _ in pairs):
                continue
            before, after = (sum(each) for each in zip(*pairs, strict=True))
            each = [(new - old) / old for old, new in pairs]
            gains.append(
                Gain(place, defense, len(pairs), after / before - 1, sum(each) / len(each))
            )
    return gains


def _overhead(answers: pd.DataFrame) -> Overhead:
    def average(*names: str) -> float | None:
        if any(name not in answers or answers[name].isna().any() for name in names):
            return None
        return float(sum(answers[name].astype(float).mean() for name in names))

    return Overhead(
        calls=average("calls"),
        tokens=average("input_tokens", "output_tokens"),
        seconds=average("seconds"),
        cost=average("cost"),
    )


def _share(answers: pd.DataFrame, name: str) -> float | None:
    if name not in answers or answers[name].isna().all():
        return None
    return float(answers[name].dropna().astype(bool).mean())


def _heading(column: Column) -> str:
    return f"{column.title} {column.variant}".strip()


def _differs(column: Column, columns: list[Column]) -> str:
    """What sets a group apart from its namesakes; empty where there are none."""
    rivals = [each for each in columns if _heading(each) == _heading(column) and each != column]
    names = ("version", "data", "settings", "judging", "benchmark")
    return "; ".join(
        f"{name} {_brief(getattr(column, name)) or 'none'}"
        for name in names
        if any(getattr(each, name) != getattr(column, name) for each in rivals)
    )


def _brief(text: str) -> str:
    """JSON settings as `name=value`, readable."""
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, dict):
        return text
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(_plain, value))
    if isinstance(value, dict):
        return " ".join(f"{name}:{_plain(each)}" for name, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
