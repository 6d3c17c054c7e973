"""A row of the leaderboard out of a run: its cells, categories and slices, and what it cost."""

import numpy as np
import pandas as pd

from vlmguard.results.leaderboard.model import Cell, Entry, Overhead
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import (
    Measure,
    applicable,
    category_weights,
    coverage,
    mean,
    values_of,
    weighted,
)
from vlmguard.results.stats.differences import mean_interval


def entry_of(
    run: int,
    target: str,
    defense: str,
    group: int,
    samples: pd.DataFrame,
    answers: pd.DataFrame,
    measures: list[Measure],
) -> Entry:
    """A row: means with their intervals, without any comparison.

    Args:
        run: Place of the run in `Results.runs`.
        target: Label of the target.
        defense: Label of the defense.
        group: Place of the group of columns.
        samples: The run's samples, a row for each.
        answers: Its answers: as many rows for a sample as it has epochs.
        measures: Those of the group.

    Returns:
        The row; throughput and latency are added by `add_pace`.
    """
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
        outcomes=_outcomes(answers),
        triggered=_share(answers, "triggered"),
        overhead=_overhead(answers),
    )


def add_pace(entry: Entry, results: Results) -> None:
    """Throughput of a run, and latency where a log of its own tells it."""
    run, overhead = results.runs[entry.run], entry.overhead
    overhead.throughput = run.pace.rate
    others = [each.pace for each in results.runs if each.path != run.path]
    overhead.shared = run.pace.rate is not None and run.pace.beside(others)
    overhead.gap = "; ".join(filter(None, [overhead.gap, run.pace.gap]))
    if run.latency is not None:
        overhead.latency, overhead.latency_of = run.latency


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


def _outcomes(answers: pd.DataFrame) -> dict[str, int]:
    if "outcome" not in answers:
        return {}
    found = answers["outcome"].dropna()
    return {str(name): int(count) for name, count in found[found != ""].value_counts().items()}


def _share(answers: pd.DataFrame, name: str) -> float | None:
    if name not in answers or answers[name].isna().all():
        return None
    return float(answers[name].dropna().astype(bool).mean())
