"""How many answers were scored, why the others were not, and how much these could change."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from vlmguard.results.logs.answers import views
from vlmguard.results.logs.failed_calls import JUDGE_ERROR, TARGET_ERROR
from vlmguard.results.logs.measures import Measure, applicable, mean, values_of, weighted
from vlmguard.results.logs.missing_images import MISSING_IMAGE
from vlmguard.results.stats.intervals import Numbers

OTHERWISE: Final = "otherwise"
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    MISSING_IMAGE: (MISSING_IMAGE,),
    TARGET_ERROR: (TARGET_ERROR,),
    "no answer": ("no_response",),
    "judge failed": ("grader_failed", "judge_refused", JUDGE_ERROR),
    "unparsed": ("invalid_format", "cut_off"),
    OTHERWISE: (),
}
"""Kinds of unscored answers, with the reasons of each; other reasons (a guard's error, those of
foreign scorers) are of the last one.
"""
TOTAL: Final = "total"
SCORED: Final = "scored"

# As the reducers of the same names; a tied vote on labels is 0.
_REDUCE: Final[dict[str, Callable[[Any], pd.Series]]] = {
    "vote": lambda grouped: (grouped.mean() > 0.5).astype(float),
    "mean": lambda grouped: grouped.mean(),
    "median": lambda grouped: grouped.median(),
    "max": lambda grouped: grouped.max(),
}


@dataclass(frozen=True)
class Coverage:
    """How many answers were scored, and how much the others could change.

    Attributes:
        scored: Answers with a value.
        of: Answers that should have one, those to samples whose images are missing included.
        low: Mean if all other answers had the lowest value.
        high: Mean if all others had the highest value.
        reasons: Reasons of the others, with the number of answers.
    """

    scored: int
    of: int
    low: float
    high: float
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """`total`, each of `KINDS`, and `scored`; the total is the sum of the others."""
        kind_of = {reason: kind for kind, reasons in KINDS.items() for reason in reasons}
        found = dict.fromkeys(KINDS, 0)
        for reason, count in self.reasons.items():
            found[kind_of.get(reason, OTHERWISE)] += count
        return {TOTAL: self.of, **found, SCORED: self.scored}


def coverage(answers: pd.DataFrame, measure: Measure) -> Coverage:
    """Count the scored answers and bound the mean, also for several answers per sample.

    Args:
        answers: A row for each answer of a run.
        measure: The measure.

    Returns:
        Counts over answers; bounds of the mean over samples (NaN if the reduction of several
        answers, or the range, is not known).
    """
    rows = applicable(answers, measure)
    values = values_of(rows, measure)
    missing = np.isnan(values)
    scored = int((~missing).sum())
    reasons = _reasons(rows[missing], measure) if missing.any() else {}
    if measure.unbounded and missing.any():
        return Coverage(scored, len(rows), math.nan, math.nan, reasons)
    low = _mean_over_samples(rows, np.where(missing, 0.0, values), measure)
    high = low
    if missing.any():
        high = _mean_over_samples(rows, np.where(missing, measure.highest, values), measure)
    return Coverage(scored, len(rows), low, high, reasons)


def _reasons(rows: pd.DataFrame, measure: Measure) -> dict[str, int]:
    """Why answers have no value; the most frequent reason first."""
    column, _ = views().get(measure.column, (measure.column, False))
    counts: Counter[str] = Counter()
    noted = rows["unscored"] if "unscored" in rows else [None] * len(rows)
    for reasons, failed in zip(noted, rows["failed"], strict=True):
        known = reasons if isinstance(reasons, dict) else {}
        # A score without any verdict has one reason for all its keys.
        whole = known.get(f"{column.partition('.')[0]}.value")
        counts[known.get(column) or whole or failed or "no score"] += 1
    return dict(counts.most_common())


def _mean_over_samples(rows: pd.DataFrame, values: Numbers, measure: Measure) -> float:
    samples = rows["sample"]
    if samples.is_unique:
        return mean(weighted(values, rows["category"], measure))
    if measure.reduce not in _REDUCE:
        return math.nan
    grouped = pd.Series(values).groupby(samples.to_numpy(), sort=False)
    categories = rows.drop_duplicates("sample")["category"].to_list()
    reduced = _REDUCE[measure.reduce](grouped).to_numpy(dtype=np.float64)
    return mean(weighted(reduced, categories, measure))
