"""Runs one cell in a process on a node, as a run without Ray does."""

from typing import Final

from inspect_ai.log import (
    EvalLog,
    list_eval_logs,
    read_eval_log_sample,
    read_eval_log_sample_summaries,
)

from vlmguard.guard.errors import UserError, reason_of
from vlmguard.guard.redaction import redact_text
from vlmguard.results.logs.causes import cause_in, cause_of_sample
from vlmguard.results.run.cluster.cells import CELL, Cell
from vlmguard.results.run.cluster.held import Held
from vlmguard.results.run.cluster.outcome import State
from vlmguard.results.run.costs import know_priced_models
from vlmguard.results.run.headers import read_header
from vlmguard.results.run.rounds import NoSpace, finish_set
from vlmguard.results.sanitize import one_line

__all__ = ["run_cell"]

_LONGEST: Final = 400
_KEYS: Final = (
    " A node takes keys from its own environment (there, before ray start), never from the machine "
    "that starts the run"
)
_UNSAID: Final = "its log does not say why. Run the same command again"


def run_cell(cell: Cell, held: Held) -> tuple[State, str]:
    """Run or resume a cell.

    Args:
        cell: The cell.
        held: The local models of this process.

    Returns:
        How it ended, and why it is not finished.

    Raises:
        KeyboardInterrupt: It was stopped; finished samples are kept.
    """
    try:
        know_priced_models(cell.matrix.options)
        held.hold(cell.local)
        # Tables of a run go nowhere here.
        options = {**cell.matrix.options, "display": "none"}
        matrix = cell.matrix.model_copy(update={"options": options})
        noted = {CELL: cell.identity}
        if finish_set(matrix, cell.defense, cell.place, [], noted, cell.shard):
            return "finished", ""
        return "unfinished", _why(cell.place)
    except NoSpace as error:
        return "full", str(error)
    except UserError as error:
        way = _KEYS if "_KEY" in str(error) else ""
        return "error", f"{_short(str(error))}{way}"
    except Exception as error:
        # One cell's fault must not end the others; it is shown, and the run fails.
        return "error", _short(f"{type(error).__name__}: {reason_of(error)}")


def _why(place: str) -> str:
    """Why the newest log of a folder is unfinished."""
    logs = [read_header(info) for info in list_eval_logs(place)]
    if not logs:
        return _UNSAID
    newest = max(logs, key=lambda log: log.eval.created)
    return _short(_error_in(newest) or _UNSAID)


def _error_in(log: EvalLog) -> str:
    failed = [each for each in read_eval_log_sample_summaries(log.location) if each.error]
    said = cause_in(log.error.message) if log.error else ""
    if failed:
        samples = "1 sample" if len(failed) == 1 else f"{len(failed)} samples"
        first = read_eval_log_sample(log.location, failed[0].id, failed[0].epoch)
        return f"{samples} failed, the first ({first.id}): {cause_of_sample(first) or said}"
    return said


def _short(text: str) -> str:
    line = one_line(redact_text(text))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
