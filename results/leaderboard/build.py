"""The leaderboard: a row for each target and defense, a group of columns for each benchmark.

    vlmguard leaderboard logs
    vlmguard leaderboard logs --out site

Runs are in one group only if task version, data, split, settings, attack, judge and templates
agree; those under an attack are in tables of their own (`Leaderboard.attacked`, `red_team`). The
difference to the undefended target is taken sample by sample, and marked as better or worse if the
test over all differences of the table says so (`comparisons`) and the 95 % interval excludes zero.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from vlmguard.guard.progress import tracked
from vlmguard.results.leaderboard.beside import benign_halves, in_order, kind_of, pair_up
from vlmguard.results.leaderboard.comparisons import Tested, compare, duels, gains, mark
from vlmguard.results.leaderboard.labels import Label, label_rows, name_columns
from vlmguard.results.leaderboard.model import CONTROLS, Cell, Entry, Group, Leaderboard, Overhead
from vlmguard.results.leaderboard.wording import (
    heading,
    on_approximations,
    on_measures,
    on_run,
    on_samples,
    templates,
)
from vlmguard.results.logs.answers import views
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.coverage import coverage
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import (
    Measure,
    applicable,
    category_weights,
    endpoint,
    headline_of,
    mean,
    measures_of,
    values_of,
    weighted,
)
from vlmguard.results.logs.run import Run
from vlmguard.results.logs.timing import p50_and_p95
from vlmguard.results.sanitize import clean
from vlmguard.results.stats.differences import mean_interval

__all__ = ["build"]


@dataclass(frozen=True)
class _Used:
    """The part of a run that its group uses.

    Attributes:
        run: The run.
        samples: A row for each of its samples.
        answers: A row for each answer; with several epochs, several for a sample.
        counted: The same, and a row for each answer that lacks its image.
    """

    run: Run
    samples: pd.DataFrame
    answers: pd.DataFrame
    counted: pd.DataFrame

    def only(self, names: Collection[str]) -> "_Used":
        """The same, restricted to some samples."""
        samples = self.samples[self.samples.index.isin(names)]
        answers = self.answers[self.answers["sample"].isin(names)]
        return _Used(self.run, samples, answers, answers)


_GENERAL: Final = "refusal.refused"
"""The refusals of the scorer that every benchmark may have."""


def build(
    results: Results, intersect: bool = False, controls: tuple[str, ...] = CONTROLS
) -> Leaderboard:
    """Compare all runs.

    Args:
        results: What was read.
        intersect: Use only the samples that all runs of a group share.
        controls: Names of defenses that serve as a yardstick only: they are compared like the
            others and listed after them.
    """
    footnotes: list[str] = []
    labels = label_rows(results.runs, footnotes)
    defenses = {run: label.defense for run, label in labels.items()}
    noted = dict.fromkeys(clean(run.note) for run in results.runs)
    board = Leaderboard(
        left_out=dict(results.left_out),
        notes=[*filter(None, noted), *on_approximations(defenses)],
        footnotes=footnotes,
        controls=controls,
        runs=results.runs,
    )
    under = [run for run in results.runs if run.column.attack]
    _fill(board, [run for run in results.runs if run not in under], labels, intersect)
    board.gains = gains(board)
    if under:
        board.attacked = Leaderboard(controls=controls, runs=results.runs, footnotes=footnotes)
        _fill(board.attacked, under, labels, intersect)
    return board


def _fill(
    board: Leaderboard, runs: list[Run], labels: Mapping[Run, Label], intersect: bool
) -> None:
    """Compare runs with each other: groups, rows, differences with their marks, partners."""
    tested: list[Tested] = []
    columns = _by_column(runs)
    differs = name_columns(columns, board.footnotes)
    found: dict[Group, list[_Used]] = {}
    for column, runs in columns.items():
        used, note = _used(runs, intersect)
        found[_group(column, differs[column], used, note)] = used
    for group in tracked(in_order(list(found)), "comparing runs: group"):
        entries = {_entry(each, group, labels[each.run], board.runs): each for each in found[group]}
        board.groups.append(group)
        board.entries += entries
        samples = {entry: each.samples for entry, each in entries.items()}
        tested += compare(board, group, samples)
        board.duels += duels(board, group, samples)
    board.endpoint_tests, rest = mark(tested)
    board.tests = board.endpoint_tests + rest
    pair_up(board)


def _by_column(runs: list[Run]) -> dict[Column, list[Run]]:
    """Groups of runs that may be compared. Of equal judges of a log only the first counts."""
    found: dict[Column, list[Run]] = defaultdict(list)
    for run in runs:
        if not run.repeat:
            found[run.column].append(run)
    columns = sorted(found, key=lambda each: (each.title, each.variant, each.version, str(each)))
    return {column: found[column] for column in columns}


def _used(runs: list[Run], intersect: bool) -> tuple[list[_Used], str]:
    """The used part of each run, and a note if the runs hold different samples."""
    used = [_Used(run, run.samples(), run.answers, run.counted) for run in runs]
    first, sizes = used[0].samples.index, [len(each.samples) for each in used]
    if first.is_unique and all(each.samples.index.equals(first) for each in used):
        return used, ""
    shared = set.intersection(*(set(each.samples.index) for each in used))
    if all(size == len(shared) for size in sizes):
        return used, ""
    if intersect and shared:
        used = [each.only(shared) for each in used]
    return used, on_samples(sizes, len(shared), intersect)


def _group(column: Column, differs: str, used: list[_Used], note: str) -> Group:
    """The columns of a benchmark under one set of conditions."""
    runs = [each.run for each in used]
    scored: dict[str, None] = {}
    for each in used:
        unknown = [name for name in each.samples if str(name) not in scored]
        scored |= {str(name): None for name in unknown if each.samples[name].notna().any()}
    asked = [name for run in runs for name in run.asked]
    measures = measures_of(runs, dict.fromkeys([*scored, *asked]))
    headline = headline_of(runs, measures)
    first = endpoint(measures, headline)
    kind = kind_of(name for each in used for name in each.samples["expected"].unique())
    return Group(
        column=column,
        label=heading(column),
        judge=", ".join(dict.fromkeys(run.judge for run in runs if run.judge)),
        templates=templates(column),
        measures=[*measures, *benign_halves(measures, headline, kind)],
        headline=headline,
        endpoint=first.name if first else "",
        differs=differs,
        note="; ".join([*([note] if note else []), *on_measures(measures)]),
        kind=kind,
    )


def _entry(used: _Used, group: Group, label: Label, runs: Iterable[Run]) -> Entry:
    """A row: means with their intervals, without any comparison.

    Args:
        used: The used part of the run.
        group: Its group of columns.
        label: Names of target and defense.
        runs: All runs of the table, to see which of them ran at the same time.
    """
    samples, answers, measures = used.samples, used.answers, group.measures
    counted = used.counted
    slices: dict[str, dict[str, Cell]] = {}
    if samples["slice"].nunique() > 1:
        slices = {
            str(name): _cells(rows, counted[counted["slice"] == name], measures)
            for name, rows in samples.groupby("slice")
        }
    whole = _whole(samples, counted, group)
    return Entry(
        run=used.run,
        target=label.target,
        defense=label.defense,
        group=group,
        samples=len(samples),
        cells=_cells(samples, counted, measures),
        categories={
            str(category): {measure.name: _counted(rows, measure) for measure in measures}
            for category, rows in samples.groupby("category")
        },
        slices=slices,
        failures=_share(answers, "failure"),
        failure_reasons=_kinds(answers, "failure"),
        skipped=_share(answers, "skipped"),
        skip_reasons=_kinds(answers, "skipped"),
        outcomes=_kinds(answers, "outcome"),
        outputs=_kinds(answers, "output"),
        refusals=_refusals(answers),
        triggered=_share(answers, "triggered"),
        overhead=_overhead(used.run, answers, runs),
        counts=whole.coverage.counts if whole else {},
        images=whole.clusters if whole else 0,
        note="; ".join(on_run(used.run)),
        facts=dict(used.run.facts),
        exact_target=label.exact_target,
        exact_defense=label.exact_defense,
    )


def _whole(samples: pd.DataFrame, answers: pd.DataFrame, group: Group) -> Cell | None:
    """What the headline scored; one about some samples alone stands for what it is a view of."""
    headline = group.by_name.get(group.headline)
    if headline is None:
        return None
    column, _ = views().get(headline.column, (headline.column, False))
    return _cells(samples, answers, [replace(headline, column=column)])[headline.name]


def _counted(rows: pd.DataFrame, measure: Measure) -> tuple[float, int]:
    """Mean of a measure, and its number of samples."""
    values = values_of(rows, measure)
    return mean(values), int((~np.isnan(values)).sum())


def _cells(
    samples: pd.DataFrame, answers: pd.DataFrame, measures: list[Measure]
) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for measure in measures:
        rows = applicable(samples, measure)
        values, clusters = values_of(rows, measure), rows["cluster"].to_numpy()
        categories = rows["category"]
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


def _overhead(run: Run, answers: pd.DataFrame, runs: Iterable[Run]) -> Overhead:
    # A failed answer has no tally: the mean is that of the others, and the gap says so.
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
    others = [each.pace for each in runs if each.path != run.path]
    overhead = Overhead(
        calls=average("calls"),
        tokens=average(*counted),
        cost=average("cost"),
        throughput=run.pace.rate,
        shared=run.pace.rate is not None and run.pace.beside(others),
        gap="; ".join(filter(None, [run.overhead_gap or "; ".join(gaps), run.pace.gap])),
    )
    if run.latency is not None:
        overhead.latency, overhead.latency_p95 = p50_and_p95(run.latency)
        overhead.latency_of = len(run.latency)
    return overhead


def _kinds(answers: pd.DataFrame, name: str) -> dict[str, int]:
    if name not in answers:
        return {}
    found = answers[name].dropna()
    return {str(name): int(count) for name, count in found[found != ""].value_counts().items()}


def _refusals(answers: pd.DataFrame) -> dict[str, int]:
    """Refusals by who refused; empty if no scorer says what is one."""
    columns = [name for name in answers if str(name).endswith(".refused")]
    if not columns or "output" not in answers:
        return {}
    # Of several scorers the general one, which reads refusals of every benchmark.
    of = _GENERAL if _GENERAL in columns else columns[0]
    refused = answers[answers[of] == 1.0]
    blocked = int((refused["output"] == "blocked").sum())
    return {"defense": blocked, "model": len(refused) - blocked}


def _share(answers: pd.DataFrame, name: str) -> float | None:
    if name not in answers or answers[name].isna().all():
        return None
    return float(answers[name].dropna().astype(bool).mean())
