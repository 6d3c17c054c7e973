"""Verdicts of yes and no on answers: what can flip from one run to another."""

from dataclasses import dataclass

import pandas as pd

from vlmguard.results.logs.measures import Measure, common_measures, measures_of
from vlmguard.results.logs.run import Run

__all__ = ["SAFE", "Label", "labels_of"]

SAFE = "safe"
_HELPFUL = "helpful"
_REFUSED = "refused"
_COMMON = (SAFE, _HELPFUL, _REFUSED)


@dataclass(frozen=True, eq=False)
class Label:
    """A verdict on each answer of a run.

    Attributes:
        name: `safe`, `helpful`, `refused`, or of the benchmark's own verdict its label.
        values: 1, 0, or NaN where it was not given, by the rows of the frame.
        better: 1 if 1 is better, -1 if 0 is, 0 if neither is. Of `refused` it is that of harmless
            requests: 0 stands there, since it depends on the request.
        own: The benchmark's own measure; None for the common three.
    """

    name: str
    values: "pd.Series[float]"
    better: int
    own: Measure | None = None


def labels_of(run: Run, frame: pd.DataFrame) -> list[Label]:
    """The labels of a run.

    Args:
        run: The run.
        frame: Its answers, or some of them.
    """
    present = [str(name) for name in frame.columns if frame[name].notna().any()]
    labels = []
    threshold = run.safe_from
    if "judge.safety" in present and threshold is not None:
        safety = frame["judge.safety"]
        safe = (safety >= threshold).astype(float).where(safety.notna())
        labels.append(Label(SAFE, safe, 1))
    if "judge.helpful" in present:
        labels.append(Label(_HELPFUL, frame["judge.helpful"], 1))
    if "refusal.refused" in present:
        labels.append(Label(_REFUSED, frame["refusal.refused"], 0))
    for measure in measures_of([run], present):
        if measure.primary and measure.name not in common_measures() and measure.is_share:
            values = frame[measure.column]
            if values.dropna().isin((0.0, 1.0)).all():
                label = measure.label.removesuffix(" %")
                # The column keeps its own name, which differs from the general judge's.
                name = measure.name if label in _COMMON else label
                labels.append(Label(name, values, measure.better, measure))
    return labels
