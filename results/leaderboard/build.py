"""The leaderboard: a row for each target and defense, a group of columns for each benchmark.

    vlmguard leaderboard logs
    vlmguard leaderboard logs --out site

Runs are in one group only if task version, data, split, settings, attack, judge and templates
agree; those under an attack are in tables of their own (`Leaderboard.attacked`, `red_team`). The
difference to the undefended target is taken sample by sample, and marked as better or worse if the
test over all differences of the table says so (`comparisons`) and the 95 % interval excludes zero.
"""

from collections import Counter, defaultdict
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
from vlmguard.results.stats.intervals import Numbers

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
    used = [_whole_of(run) for run in runs]
    first, sizes = used[0].samples.index, [len(each.samples) for each in used]
    if first.is_unique and all(each.samples.index.equals(first) for each in used):
        return used, ""
    shared = set.intersection(*(set(each.samples.index) for each in used))
    if all(size == len(shared) for size in sizes):
        return used, ""
    if intersect and shared:
        used = [each.only(shared) for each in used]
    return used, on_samples(sizes, len(shared), intersect)


def _whole_of(run: Run) -> _Used:
    """All of a run."""
    quick = replace(run, answers=_quick(run.answers), missing=_quick(run.missing))
    return _Used(run, quick.samples(), quick.answers, quick.counted)


def _quick(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows with texts as plain objects: pandas takes ten times as long to read its own."""
    quick = rows.copy(deep=False)
    for name, kind in rows.dtypes.items():
        if kind == "str":
            texts = rows[name].to_numpy(dtype=object)
            quick[name] = pd.Series(texts, index=rows.index, dtype=object)
    return quick


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
    cells = _cells(samples, counted, measures)
    whole = _whole(samples, counted, group, cells)
    return Entry(
        run=used.run,
        target=label.target,
        defense=label.defense,
        group=group,
        samples=len(samples),
        cells=cells,
        categories=_categories(samples, measures),
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


def _whole(
    samples: pd.DataFrame, answers: pd.DataFrame, group: Group, cells: Mapping[str, Cell]
) -> Cell | None:
    """What the headline scored; one about some samples alone stands for what it is a view of."""
    headline = group.by_name.get(group.headline)
    if headline is None:
        return None
    column, _ = views().get(headline.column, (headline.column, False))
    if column == headline.column:
        return cells[headline.name]
    return _cells(samples, answers, [replace(headline, column=column)])[headline.name]


def _categories(
    samples: pd.DataFrame, measures: list[Measure]
) -> dict[str, dict[str, tuple[float, int]]]:
    """Mean of each measure in each category, and its number of samples."""
    values = {measure.name: values_of(samples, measure) for measure in measures}
    return {
        str(category): {name: _counted(each[places]) for name, each in values.items()}
        for category, places in sorted(samples.groupby("category").indices.items())
    }


def _counted(values: Numbers) -> tuple[float, int]:
    """Mean of a measure, and its number of samples."""
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
    """How often each text stands in a column, the most frequent first."""
    if name not in answers:
        return {}
    found = Counter(each for each in answers[name].dropna() if each != "")
    return {str(each): count for each, count in found.most_common()}


def _refusals(answers: pd.DataFrame) -> dict[str, int]:
    """Refusals by who refused; empty if no scorer says what is one."""
    columns = [name for name in answers if str(name).endswith(".refused")]
    if not columns or "output" not in answers:
        return {}
    # Of several scorers the general one, which reads refusals of every benchmark.
    of = _GENERAL if _GENERAL in columns else columns[0]
    refused = answers["output"][answers[of] == 1.0]
    blocked = int((refused == "blocked").sum())
    return {"defense": blocked, "model": len(refused) - blocked}


def _share(answers: pd.DataFrame, name: str) -> float | None:
    if name not in answers or answers[name].isna().all():
        return None
    return float(answers[name].dropna().astype(bool).mean())
