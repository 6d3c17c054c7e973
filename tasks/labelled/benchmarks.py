"""Benchmarks as labelled sets: requests that are to be declined are unsafe, others safe."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from vlmguard.guard.data_source import Source
from vlmguard.guard.task_options import TaskOptions
from vlmguard.tasks import holisafe, vlguard
from vlmguard.tasks.benchmark import locate_data
from vlmguard.tasks.labelled import LabelledSet

__all__ = ["BENCHMARKS", "labelled_requests"]

BENCHMARKS: Final = {"vlguard": vlguard.CARD, "holisafe": holisafe.CARD}
_FILES: Final[dict[str, Callable[[Source], list[Path]]]] = {
    "vlguard": lambda source: [vlguard.annotation(source, "test.json")],
    "holisafe": holisafe.annotations,
}


def labelled_requests(name: str, options: TaskOptions) -> LabelledSet:
    """All requests of a benchmark, each with its label.

    Args:
        name: A name in `BENCHMARKS`.
        options: Where its data come from.

    Raises:
        UserError: Its data are missing or wrong.
    """
    card = BENCHMARKS[name]
    source = locate_data(card, options)
    samples = [sample for variant in card.variants for sample in card.load(source, variant)]
    for sample in samples:
        expected = (sample.metadata or {})["expected"]
        sample.target = "safe" if expected == "comply" else "unsafe"
    return LabelledSet(name, source, samples, _FILES[name](source))
