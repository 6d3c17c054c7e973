"""What the logs say of the cells before a run: which are finished, and which cannot go on."""

from collections.abc import Sequence
from typing import Final

from inspect_ai.log import EvalLog, list_eval_logs

from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import Shard
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.changed_files import holds_logs
from vlmguard.results.run.cluster.cells import CELL, Cell
from vlmguard.results.run.cluster.folders import shards_in
from vlmguard.results.run.headers import read_header
from vlmguard.results.run.making import as_logged

__all__ = ["Headers", "finished_cells", "headers_below", "refuse_other_runs"]

Headers = dict[str, list[EvalLog]]
"""The headers of logs by their folder."""

_NAMED: Final = 3


def headers_below(folders: Sequence[str]) -> Headers:
    """The headers of all logs below folders.

    Args:
        folders: Folders or addresses; they need not exist.

    Raises:
        UserError: A log cannot be read; names it.
    """
    found: Headers = {}
    for folder in folders:
        for info in list_eval_logs(folder) if holds_logs(folder) else ():
            place, _, _ = info.name.removeprefix("file://").rpartition("/")
            found.setdefault(place, []).append(read_header(info))
    return found


def finished_cells(cells: Sequence[Cell], headers: Headers) -> list[Cell]:
    """The cells that have nothing left to do.

    A run with a live buffer (`log_realtime`) may have left a log that is finished but holds wrong
    answers, which only `rounds.py` finds; so its cells count as unfinished.
    """
    return [
        cell
        for cell in cells
        if not cell.matrix.options.get("log_realtime")
        and any(_is_done(log, cell) for log in headers.get(_bare(cell.place), ()))
    ]


def refuse_other_runs(cells: Sequence[Cell], headers: Headers) -> None:
    """Stop if samples of these cells are in logs that this run would not continue.

    Args:
        cells: All cells.
        headers: The logs in the folders of all defenses.

    Raises:
        UserError: A run with another number of shards, or without Ray, has written there; or shards
            were made of other samples.
    """
    wrong = dict.fromkeys(line for cell in cells for line in _other_runs(cell, headers))
    if wrong:
        more = f"\n  ... and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        listed = "\n".join(f"  {line}" for line in list(wrong)[:_NAMED])
        raise UserError(
            "these logs are of runs that this one cannot continue, so their samples would be paid "
            f"for again:\n{listed}{more}\nRun as before, or name another log_dir."
        )


def _other_runs(cell: Cell, headers: Headers) -> list[str]:
    shards = 1 if cell.shard is None else len(cell.shard.sizes)
    whole = _bare(cell.whole)
    found = []
    for place, logs in headers.items():
        ran = shards_in(f"{place.removeprefix(whole)}/")
        if (place == whole or place.startswith(f"{whole}/")) and ran != shards:
            found.append(f"{place}: {_said(ran)}, and now {_said(shards)}")
        elif place == _bare(cell.place) and cell.shard is not None:
            found += [
                f"{place}: shards of {' + '.join(map(str, then.sizes))} samples, and now of "
                f"{' + '.join(map(str, cell.shard.sizes))} (limit, sample_id or data have changed)"
                for log in logs
                if (then := Shard.noted_in(log.eval.metadata)) and then.sizes != cell.shard.sizes
            ]
        elif place == whole.rsplit("/", 2)[0] and any(_is_of(log, cell) for log in logs):
            found.append(f"{place}: {cell.name}, without --ray")
    return found


def _said(shards: int) -> str:
    return "without shards" if shards == 1 else f"with shards: {shards}"


def _is_of(log: EvalLog, cell: Cell) -> bool:
    """Whether a log in the folder of a defense is of a cell's benchmark and target."""
    ran = as_logged(cell.step)
    same_args = log.eval.task_args_passed == ran.args
    return (
        bare(log.eval.task) == bare(ran.name) and same_args and log.eval.model == cell.target.model
    )


def _is_done(log: EvalLog, cell: Cell) -> bool:
    epochs = log.eval.config.epochs or 1
    return (
        (log.eval.metadata or {}).get(CELL) == cell.identity
        and log.status == "success"
        and not log.invalidated
        and log.results is not None
        and log.results.total_samples >= cell.samples * epochs
        and log.results.completed_samples >= log.results.total_samples
    )


def _bare(place: str) -> str:
    return place.removeprefix("file://")
