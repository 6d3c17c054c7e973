"""How fast a run was, as far as its log shows: throughput of a run, latency of single answers.

The duration of a call says little about a run in which calls wait for each other: a slow server
with many connections would look slower than a slow defense. So there are only two measures:

- throughput: answers per second of wall time, judging included, of a run without interruption;
- latency: seconds of one answer at a time (`vlmguard run --latency N`), without judging.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig

from vlmguard.results.logs.answers import GRADER, LeftOut
from vlmguard.results.logs.conditions import roles_of
from vlmguard.results.logs.summaries import Summary

LATENCY_TAG: Final = "vlmguard-latency"
"""Tag of a log that measures latency, and nothing else."""
# Logs note the time of their start in whole seconds.
_LEEWAY: Final = timedelta(seconds=2)


@dataclass(frozen=True)
class Pace:
    """Throughput of a run.

    Attributes:
        rate: Answers per second of wall time; None if not known.
        gap: Why it is not known, or what else took a part of the time.
        began: Start of the first answer, in seconds since 1970; NaN if not known.
        ended: End of the last one.
    """

    rate: float | None = None
    gap: str = ""
    began: float = math.nan
    ended: float = math.nan

    def beside(self, others: Iterable["Pace"]) -> bool:
        """Whether any of some other runs ran at the same time."""
        # Comparisons with NaN are false: a run without times overlaps none.
        return any(self.began < other.ended and other.began < self.ended for other in others)


def pace_of(log: EvalLog, summaries: list[Summary]) -> Pace:
    """The throughput of a finished log.

    There is no rate if some answers are from an earlier run (the time in between was not work), or
    may come from Inspect's cache.
    """
    starts = [_moment(sample.started_at) for sample in summaries if sample.started_at]
    ends = [_moment(sample.completed_at) for sample in summaries if sample.completed_at]
    known = min(len(starts), len(ends))
    if not known or known < len(summaries) or not log.stats.started_at:
        return Pace(gap="the log does not say when its answers were made")
    run_began = _moment(log.stats.started_at) - _LEEWAY
    earlier = sum(start < run_began for start in starts)
    if earlier:
        return Pace(
            gap=f"resumed: {earlier} of {len(summaries)} answers are from an earlier run, so no "
            f"throughput"
        )
    began, ended = min(starts).timestamp(), max(ends).timestamp()
    if any(config.cache for config in configs_of(log)):
        gap = "run with a cache, which may have answered calls, so no throughput"
        return Pace(None, gap, began, ended)
    retried = sum(bool(sample.retries) for sample in summaries)
    gap = f"{retried} of {len(summaries)} answers after an error and a retry" if retried else ""
    return Pace(len(summaries) / (ended - began) if ended > began else None, gap, began, ended)


def latency_of(log: EvalLog, summaries: list[Summary]) -> tuple[float, ...]:
    """Seconds of each answer in a log of `vlmguard run --latency`.

    Raises:
        LeftOut: It is unfinished, or calls were not made one at a time and uncached.
    """
    if log.status != "success":
        raise LeftOut(f"latency, unfinished (status {log.status}); run it again")
    elsewhere = any(config.batch or config.cache for config in configs_of(log, judging=False))
    if log.eval.config.max_samples != 1 or elsewhere:
        raise LeftOut("latency, not of single uncached answers at one connection")
    times = tuple(each.total_time for each in summaries if each.total_time and not each.error)
    if not times:
        raise LeftOut("latency, without any answer")
    return times


def p50_and_p95(seconds: Sequence[float]) -> tuple[float, float]:
    """Seconds within which half of the answers came, and 95 % of them (numpy's percentiles).

    Args:
        seconds: Those of each answer, at least one.
    """
    half, most = np.percentile(seconds, (50, 95))
    return float(half), float(most)


def configs_of(log: EvalLog, judging: bool = True) -> list[GenerateConfig]:
    """Generation settings of the target, the defense's models and (if `judging`) the judges."""
    roles = roles_of(log).items()
    others = [model.config for role, b in roles if judging or role != GRADER for model in b]
    return [log.eval.model_generate_config, log.plan.config, *others]


def _moment(stated: str) -> datetime:
    return datetime.fromisoformat(stated)
