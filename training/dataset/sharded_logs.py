"""The shards of a synthesis: puts their logs in an order, and names those that are not finished."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from inspect_ai.log import EvalLog

from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import Shard, missing_shards

_FINISHED: Final = "success"


class _Run(NamedTuple):
    """What the shards of one run have in common; a log without a shard is a run of its own."""

    name: str
    asked: str
    sizes: tuple[int, ...]


def in_order(headers: Iterable[EvalLog]) -> list[EvalLog]:
    """Logs, newest first; those of one run by the numbers of their shards.

    So the rows of an export depend on no shard's start or end.

    Raises:
        UserError: A log notes a shard that is none.
    """
    newest: dict[_Run, str] = defaultdict(str)
    told = []
    for header in headers:
        run, shard = _run_of(header)
        newest[run] = max(newest[run], header.eval.created)
        told.append((header, run, shard.number if shard else 0))
    told.sort(
        key=lambda each: (newest[each[1]], -each[2], each[0].eval.created, each[0].eval.eval_id),
        reverse=True,
    )
    return [header for header, _, _ in told]


def unfinished_shards(headers: Iterable[EvalLog]) -> list[str]:
    """The shards of which no log is finished, or there at all, each with the rows that it is of.

    Raises:
        UserError: A log notes a shard that is none.
    """
    finished: dict[_Run, list[Shard]] = {}
    for header in headers:
        run, shard = _run_of(header)
        if shard is not None:
            of_run = finished.setdefault(run, [])
            if header.status == _FINISHED and not header.invalidated:
                of_run.append(shard)
    return [
        f"{shard} of {run.name}"
        for run, there in finished.items()
        for shard in missing_shards(there, len(run.sizes))
        if run.sizes[int(shard.partition("-")[0]) - 1]
    ]


def way_on(headers: Iterable[EvalLog]) -> str:
    """What finishes the rows of these logs."""
    told = [header.eval.metadata or {} for header in headers]
    if all(map(Shard.noted_in, told)):
        # Inspect knows no shards: it would synthesize the rows of all of them.
        return "the command that made the shards"
    return "`inspect eval-retry LOG`"


def _run_of(header: EvalLog) -> tuple[_Run, Shard | None]:
    metadata: dict[str, Any] = header.eval.metadata or {}
    try:
        shard = Shard.noted_in(metadata)
    except ValueError as error:
        raise UserError(f"{header.location}: {error}. Leave it out.") from error
    if shard is None:
        return _Run(header.location, header.eval.created, ()), None
    name = f"{', '.join(metadata['sources'])} (rows {metadata['rows']})"
    told = header.eval
    asked = repr((sorted(told.task_args.items()), told.model, told.model_roles))
    return _Run(name, asked, shard.sizes), shard
