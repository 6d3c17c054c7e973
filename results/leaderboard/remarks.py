"""What a reader must be told: unlike samples, guessed directions, approximations."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import DSR_WITH_PREFIX, Measure
from vlmguard.results.logs.read import Run
from vlmguard.results.sanitize import clean

_BETTER: Final = {1: "more", -1: "less", 0: "neither more nor less"}


def on_samples(frames: dict[int, pd.DataFrame], shared: set[str], intersect: bool) -> str:
    """What to say of a group whose runs hold different samples."""
    if not shared:
        return "runs share no sample: means are not comparable"
    if intersect:
        return f"only the {len(shared)} samples that all runs share"
    sizes = sorted({len(frame) for frame in frames.values()})
    return (
        f"runs hold different samples ({', '.join(map(str, sizes))}; {len(shared)} shared "
        f"by all): means are not comparable; --intersect uses the shared ones"
    )


def on_measures(measures: list[Measure]) -> list[str]:
    """What to say of how measures are read."""
    notes = []
    if any(measure.macro for measure in measures):
        notes.append("macro: the mean over categories, each counting alike")
    unbounded = [measure.column for measure in measures if measure.unbounded]
    if unbounded:
        notes.append(
            f"range not declared: {', '.join(unbounded)} (no percentages, no worst case); to "
            f'declare it: Task(metadata={{"measures": {{"NAME": {{"max": ...}}}}}})'
        )
    if any(measure == DSR_WITH_PREFIX for measure in measures):
        notes.append(
            "DSR with prefix: words that a defense put before the answer (ETA's) count, as upstream"
        )
    guessed = [measure for measure in measures if measure.guessed]
    if guessed:
        listed = ", ".join(
            f"{measure.column} ({_BETTER[measure.better]} is better)" for measure in guessed
        )
        notes.append(
            f"guessed from the name: {listed}; to declare it: "
            f'Task(metadata={{"measures": {{"NAME": {{"lower_is_better": ...}}}}}})'
        )
    return notes


def on_run(run: Run) -> list[str]:
    """What to say of a run by itself."""
    said = [*run.declared.remarks, *run.remarks]
    return [_approximate(run), *said] if run.approximations else said


def on_approximations(results: Results, labels: Sequence[tuple[str, str]]) -> list[str]:
    """What stands above every table of the runs that were not the faithful defense.

    Args:
        results: The runs.
        labels: Target and defense of each, as tables show them.

    Returns:
        A line for each defense and each of the ways in which it was approximate.
    """
    said = [
        clean(f"{defense}: {_approximate(run)}")
        for run, (_, defense) in zip(results.runs, labels, strict=True)
        if run.approximations
    ]
    return list(dict.fromkeys(said))


def _approximate(run: Run) -> str:
    return f"an approximation of the defense: {', '.join(run.approximations)}"
