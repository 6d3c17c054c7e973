"""The best row of a benchmark against each other row of the same target.

The best is chosen by the same answers that it is compared on. So p-values and intervals
hold for all pairs of rows together, whichever pair is looked at: p by maxT over all pairs,
intervals by Bonferroni.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from vlmguard.results.leaderboard.marks import ALPHA, verdict
from vlmguard.results.leaderboard.model import Duel, Entry, is_control
from vlmguard.results.logs.measures import Measure, applicable, category_weights, values_of
from vlmguard.results.stats.differences import Pairs, difference_of, pair_up
from vlmguard.results.stats.max_t import Sums, westfall_young


def duels(
    entries: Sequence[Entry],
    frames: Mapping[int, pd.DataFrame],
    measure: Measure,
    controls: tuple[str, ...],
) -> list[Duel]:
    """Compare the best row of each target with the others.

    Args:
        entries: Rows of one group.
        frames: Samples of each run.
        measure: The primary endpoint, by which the best is chosen.
        controls: Names of the controls, which are never best.

    Returns:
        A comparison for each other row that holds the same samples and has any value.
    """
    found = []
    for target in dict.fromkeys(entry.target for entry in entries):
        rows = [
            entry
            for entry in entries
            if entry.target == target and not math.isnan(entry.cells[measure.name].mean)
        ]
        rivals = [entry for entry in rows if not is_control(entry.defense, controls)]
        if rivals:
            best = max(rivals, key=lambda entry: measure.better * entry.cells[measure.name].mean)
            index = set(frames[best.run].index)
            others = [
                entry
                for entry in rows
                if entry is not best and set(frames[entry.run].index) == index
            ]
            found += _against(best, others, frames, measure)
    return found


def _against(
    best: Entry, others: list[Entry], frames: Mapping[int, pd.DataFrame], measure: Measure
) -> list[Duel]:
    samples = applicable(frames[best.run], measure)
    pairs: list[tuple[Entry, Entry, Pairs]] = []
    for one, other in combinations([best, *others], 2):
        new, old = (
            values_of(frames[each.run].loc[samples.index], measure) for each in (one, other)
        )
        weights = category_weights(new - old, samples["category"].to_list(), measure)
        paired = pair_up(old, new, samples["cluster"].to_numpy(), weights)
        if paired is not None:
            pairs.append((one, other, paired))
    adjusted = westfall_young([Sums("", paired.names, paired.sums) for _, _, paired in pairs])
    found = []
    for (one, other, paired), adjusted_p in zip(pairs, adjusted, strict=True):
        if one is best:
            gain = difference_of(paired, measure.range, 1 - ALPHA / len(pairs))
            p = max(adjusted_p, gain.p)
            found.append(
                Duel(
                    group=best.group,
                    target=best.target,
                    best=best.defense,
                    other=other.defense,
                    measure=measure.name,
                    difference=gain,
                    p=p,
                    verdict=verdict(measure, gain.mean, gain.low, gain.high, p),
                )
            )
    return found
