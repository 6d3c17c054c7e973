"""The harmless requests that show what a guard costs: which benchmarks lack them, and twins."""

from collections.abc import Sequence
from typing import Final

from inspect_ai import Task
from inspect_ai.dataset import Sample

from vlmguard.guard.cards import Partner, cards
from vlmguard.guard.task_options import JUDGES
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.config import Step
from vlmguard.results.run.making import with_defaults

TWIN_LIMIT: Final = 100
"""Samples of a twin: enough for a rate, for little money."""


def partner_missing(step: Step, task: Task | None, steps: Sequence[Step]) -> str:
    """The harmless partner that a benchmark lacks, as in `mossbench split=...`.

    Args:
        step: The benchmark.
        task: Its task, if its data are there: samples of both kinds need no partner.
        steps: All benchmarks of the matrix.

    Returns:
        Empty if nothing is missing, or if the benchmark has no risky requests.
    """
    wanted = _lacking(step, task, steps)
    if wanted is None:
        return ""
    return " ".join([wanted.benchmark, *(f"{name}={value}" for name, value in wanted.args.items())])


def twins(steps: Sequence[Step], tasks: Sequence[Task | None]) -> list[Step]:
    """The harmless partners that stand beside the benchmarks of a matrix under attack.

    Whether they are refused is all that is asked of them, so they have no judge.

    Args:
        steps: The benchmarks.
        tasks: Their tasks; None without their data.

    Returns:
        A benchmark for each partner that the matrix lacks, each once.
    """
    found = []
    for step, task in zip(steps, tasks, strict=True):
        partner = _lacking(step, task, steps)
        if partner is None:
            continue
        own = step.args if bare(step.name) == partner.benchmark else {}
        twin = Step(name=partner.benchmark, args={**own, **partner.args})
        # Tasks of other choices (the microworld's oracle) need no grader by themselves.
        if with_defaults(twin).get("judge") in JUDGES:
            twin.args["judge"] = "none"
        twin.label = f"twin {partner.benchmark}"
        if twin not in found:
            found.append(twin)
    return found


def _lacking(step: Step, task: Task | None, steps: Sequence[Step]) -> Partner | None:
    card = cards().benchmark(bare(step.name), step.args)
    if (
        card is None
        or card.partner is None
        or (task is not None and any(map(is_harmless, task.dataset)))
    ):
        return None
    wanted = card.partner
    for other in steps:
        args = with_defaults(other)
        found = cards().benchmark(bare(other.name), args)
        if found and found.name == wanted.benchmark and wanted.args.items() <= args.items():
            return None
    return wanted


def is_harmless(sample: Sample) -> bool:
    """Whether a sample's request is harmless."""
    return (sample.metadata or {}).get("expected") == "comply"
