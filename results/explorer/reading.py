"""Reads the samples of logs for pages, a few at a time: no log is ever in memory whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from inspect_ai.log import (
    EvalSample,
    read_eval_log_samples_by_id,
)

from vlmguard.results.logs.answers import Names, views_of
from vlmguard.results.logs.archive import opened_log
from vlmguard.results.logs.run import Run

__all__ = ["Log", "opened"]

_AT_ONCE = 25
_UNREAD = {"events", "store", "events_data", "timelines"}


@dataclass(frozen=True)
class Log:
    """A run whose samples can be read.

    Attributes:
        run: The run.
        names: The scorers of the run's view.
        keys: The log's own id and the epochs of each sample, by its id as text.
    """

    run: Run
    names: Names
    keys: dict[str, list[tuple[str | int, int]]]

    def samples(self, wanted: list[str]) -> Iterator[tuple[str, list[EvalSample]]]:
        """All answers of samples, by id, in this order; samples that it lacks are left out.

        Args:
            wanted: Their ids.
        """
        held = [name for name in wanted if name in self.keys]
        for start in range(0, len(held), _AT_ONCE):
            part = held[start : start + _AT_ONCE]
            by_log: dict[str, list[tuple[str | int, int]]] = {}
            for name in part:
                by_log.setdefault(self.run.log_of(name), []).extend(self.keys[name])
            found = {
                (str(sample.id), sample.epoch): sample
                for path, keys in by_log.items()
                for sample in read_eval_log_samples_by_id(
                    path, keys, resolve_attachments=True, exclude_fields=_UNREAD
                )
            }
            for name in part:
                yield name, [found[name, epoch] for _, epoch in self.keys[name]]


def opened(run: Run) -> Log:
    """The samples of a run, by the headers and summaries of its logs."""
    names: Names = {}
    keys: dict[str, list[tuple[str | int, int]]] = {}
    for path in run.paths:
        with opened_log(path) as file:
            spec, summaries = file.header().eval, file.summaries()
        views = views_of(spec, summaries)
        # A shard in which nothing was scored shows no judge that was added later.
        names |= views[run.view] if run.view < len(views) else {}
        for summary in sorted(summaries, key=lambda each: each.epoch):
            keys.setdefault(str(summary.id), []).append((summary.id, summary.epoch))
    return Log(run, names, keys)
