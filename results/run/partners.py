"""Which benchmarks of a matrix lack the harmless requests that show what a guard costs."""

from collections.abc import Sequence

from inspect_ai import Task

from vlmguard.guard.cards import cards
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.config import Step
from vlmguard.results.run.making import with_defaults


def partner_missing(step: Step, task: Task | None, steps: Sequence[Step]) -> str:
    """The harmless partner that a benchmark lacks, as in `mossbench split=...`.

    Args:
        step: The benchmark.
        task: Its task, if its data are there: samples of both kinds need no partner.
        steps: All benchmarks of the matrix.

    Returns:
        Empty if nothing is missing, or if the benchmark has no risky requests.
    """
    card = cards().benchmark(bare(step.name), step.args)
    if card is None or card.partner is None or (task is not None and _has_harmless(task)):
        return ""
    wanted = card.partner
    for other in steps:
        args = with_defaults(other)
        found = cards().benchmark(bare(other.name), args)
        if found and found.name == wanted.benchmark and wanted.args.items() <= args.items():
            return ""
    named = [f"{name}={value}" for name, value in wanted.args.items()]
    return " ".join([wanted.benchmark, *named])


def _has_harmless(task: Task) -> bool:
    return any((sample.metadata or {}).get("expected") == "comply" for sample in task.dataset)
