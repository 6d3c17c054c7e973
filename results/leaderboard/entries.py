"""A row of the leaderboard out of a run: its cells, categories and slices, and what it cost."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlmguard.results.leaderboard.model import Cell, Entry, Group, Overhead
from vlmguard.results.leaderboard.wording import Label, on_run
from vlmguard.results.logs.measures import (
    Measure,
    applicable,
    category_weights,
    coverage,
    mean,
    values_of,
    weighted,
)
from vlmguard.results.logs.read import Run
from vlmguard.results.stats.differences import mean_interval


@dataclass(frozen=True)
class Used:
    """What a group uses of a run.

    Attributes:
        run: The run.
        samples: A row for each of its samples.
        answers: A row for each answer: as many for a sample as it has epochs.
    """

    run: Run
    samples: pd.DataFrame
    answers: pd.DataFrame

    def only(self, names: Collection[str]) -> "Used":
        """The same with some of the samples."""
        samples = self.samples[self.samples.index.isin(names)]
        return Used(self.run, samples, self.answers[self.answers["sample"].isin(names)])


def entry_of(used: Used, group: Group, label: Label, runs: Iterable[Run]) -> Entry:
    """A row: means with their intervals, without any comparison.

    Args:
        used: The run, and what is used of it.
        group: Its group of columns.
        label: What the row is called.
        runs: All runs of the table, of which some may have shared the clock.
    """
    samples, answers, measures = used.samples, used.answers, group.measures
    slices: dict[str, dict[str, Cell]] = {}
    if samples["slice"].nunique() > 1:
        slices = {
            str(name): _cells(rows, answers[answers["slice"] == name], measures)
            for name, rows in samples.groupby("slice")
        }
    return Entry(
        run=used.run,
        target=label.target,
        defense=label.defense,
        group=group,
        samples=len(samples),
        cells=_cells(samples, answers, measures),
        categories={
            str(category): {measure.name: _counted(rows, measure) for measure in measures}
            for category, rows in samples.groupby("category")
        },
        slices=slices,
        failures=_share(answers, "failure"),
        outcomes=_outcomes(answers),
        triggered=_share(answers, "triggered"),
        overhead=_overhead(used.run, answers, runs),
        note="; ".join(on_run(used.run)),
    )


def _counted(rows: pd.DataFrame, measure: Measure) -> tuple[float, int]:
    """Mean of a measure, and the number of samples that it is of."""
    values = values_of(rows, measure)
    return mean(values), int((~np.isnan(values)).sum())


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


def _overhead(run: Run, answers: pd.DataFrame, runs: Iterable[Run]) -> Overhead:
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
        overhead.latency, overhead.latency_of = run.latency
    return overhead


def _outcomes(answers: pd.DataFrame) -> dict[str, int]:
    if "outcome" not in answers:
        return {}
    found = answers["outcome"].dropna()
    return {str(name): int(count) for name, count in found[found != ""].value_counts().items()}


def _share(answers: pd.DataFrame, name: str) -> float | None:
    if name not in answers or answers[name].isna().all():
        return None
    return float(answers[name].dropna().astype(bool).mean())
