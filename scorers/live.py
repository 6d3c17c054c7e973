"""What is shown of a scorer while samples still run: its headline figures, and no table of parts.

Inspect computes all metrics anew about each second, in the loop that all samples share, and keeps
their list in one row of its live buffer. It writes that row again with *each event* of each sample
(a sample of three calls has about thirty). With the means of every category in it, and the
arguments of their metric beside each, the row alone takes more time than all else that we log.
"""

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any, Final

from inspect_ai.scorer import Metric, SampleScore
from inspect_ai.util import sample_limits

__all__ = ["at_the_end", "samples_run"]

_NOTHING: Final[Mapping[str, float]] = {}


def samples_run() -> bool:
    """Whether a sample that has just ended has metrics computed, for a display.

    Not of samples that a resumed run takes over: until its first new one ends, all is shown.
    """
    try:
        sample_limits()
    except RuntimeError:  # Inspect's word for "no sample runs here"
        return False
    return True


def at_the_end(metrics: Sequence[Metric]) -> list[Metric]:
    """The same metrics, which tell nothing as long as samples run.

    Args:
        metrics: Any; logs name them as before, with their arguments.
    """
    return [_quiet(each) for each in metrics]


def _quiet(metric: Any) -> Metric:
    # Inspect finds name and arguments of a metric in its attributes, which `wraps` copies.
    @wraps(metric)
    def compute(scores: list[SampleScore]) -> Any:
        return _NOTHING if samples_run() else metric(scores)

    return compute
