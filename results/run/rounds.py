"""Runs one eval set, round by round, until it is finished: the core of every run of a matrix."""

import errno
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from inspect_ai import Task, eval_set

# Inspect has no public name for the error that it raises if it cannot start.
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import (
    EvalLog,
    ProvenanceData,
    invalidate_samples,
    list_eval_logs,
    read_eval_log,
    write_eval_log,
)
from rich.text import Text

from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import PROVIDER
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.run_tags import defense_tags
from vlmguard.guard.shards import SHARD, Shard, only
from vlmguard.results.logs.unfinished import set_aside
from vlmguard.results.run.changed_files import NAMED_FILES, holds_logs
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, Step, roles
from vlmguard.results.run.headers import read_header
from vlmguard.results.run.log_writing import log_options
from vlmguard.results.run.making import make_role, make_solver, make_target, make_task
from vlmguard.results.run.preflight import files_named_in
from vlmguard.results.run.sharding import only_shard

__all__ = ["NoSpace", "finish_set"]

# Rounds after the first; Inspect's own default.
_RETRIES: Final = 10
_FAILED: Final = "it failed"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class NoSpace(UserError):
    """The disk is full: every further answer would be paid for and lost."""


def finish_set(
    matrix: Matrix,
    defense: Defense,
    place: str,
    tasks: list[Task],
    metadata: Mapping[str, Any] | None = None,
    shard: Shard | None = None,
) -> bool:
    """Run rounds of one eval set until it is finished.

    Inspect could repeat rounds itself, but on a full disk it would pay again and again. Samples
    that failed in a log of an earlier run, which Inspect calls finished (`fail_on_error: false`),
    are tried once more, in a round of their own.

    Args:
        matrix: Benchmarks, targets, roles and options.
        defense: The defense.
        place: Folder of the logs.
        tasks: The tasks of the benchmarks, for the first round; empty: make them here.
        metadata: What logs note beside the configuration's own.
        shard: Only its samples, of the one benchmark.

    Returns:
        Whether it is finished.

    Raises:
        UserError: Inspect refuses to start, data are missing, or a log cannot be read.
        NoSpace: The disk is full.
        KeyboardInterrupt: Ctrl-C.
    """
    noted = {**(metadata or {}), **({} if shard is None else {SHARD: shard.noted()})}
    rounds: int = matrix.options.get("retry_attempts", _RETRIES) + 1
    earlier = _logs_in(place)
    number = 0
    while number < rounds:
        if number:
            time.sleep(matrix.options.get("retry_wait", 0))
        # Make the tasks again: Inspect may have changed those that it ran.
        if number or not tasks:
            tasks = [_made(step, matrix, shard) for step in matrix.benchmarks]
        began = datetime.now(UTC).replace(microsecond=0)
        done, logs = _round(matrix, defense, place, tasks, noted)
        _check_disk(place, logs)
        short = len(logs) < len(tasks) * len(matrix.targets)
        if (short or not done) and _was_cancelled(place, began):
            raise KeyboardInterrupt
        number += 1
        if done and not short:
            again = [log.location for log in logs if set_aside(log.location)]
            failed = [log for log in logs if _bare(log.location) in earlier and _failed_aside(log)]
            if not again and not failed:
                return True
            rounds += bool(failed)
    return False


def _logs_in(place: str) -> set[str]:
    return {_bare(info.name) for info in list_eval_logs(place)} if holds_logs(place) else set()


def _bare(place: str) -> str:
    return place.removeprefix("file://")


def _failed_aside(log: EvalLog) -> bool:
    """Mark the samples of a log that failed, so that Inspect does them again; whether there are."""
    results = log.results
    if results is None or results.completed_samples >= results.total_samples:
        return False
    whole = read_eval_log(log.location)
    failed = [each.uuid for each in whole.samples or [] if each.error and each.uuid]
    if failed:
        why = ProvenanceData(author=PACKAGE, reason=_FAILED)
        write_eval_log(invalidate_samples(whole, failed, why), log.location)
    return bool(failed)


def _made(step: Step, matrix: Matrix, shard: Shard | None) -> Task:
    with only(shard):
        task = make_task(step)
    return task if shard is None else only_shard(task, matrix, shard)


def _round(
    matrix: Matrix, defense: Defense, place: str, tasks: list[Task], noted: Mapping[str, Any]
) -> tuple[bool, list[EvalLog]]:
    """One round of an eval set: Inspect's result, and the headers of its logs."""
    options = {
        "display": "plain",
        # The folder may hold other parts of the matrix from earlier runs.
        "log_dir_allow_dirty": True,
        # The server of `inspect ctl` catches Ctrl-C, and may lose it.
        "ctl_server": False,
        **log_options(tasks, matrix),
        **matrix.options,
        "retry_attempts": 1,
        "retry_immediate": False,
        "tags": [*matrix.options.get("tags", []), *_tags(matrix, defense)],
        "metadata": {
            **matrix.options.get("metadata", {}),
            NAMED_FILES: files_named_in(matrix, defense, tasks),
            **noted,
        },
    }
    try:
        return eval_set(
            tasks=tasks,
            log_dir=place,
            model=[make_target(target) for target in matrix.targets],
            model_roles={name: make_role(bound) for name, bound in roles(matrix, defense).items()},
            solver=make_solver(defense),
            limit=matrix.limit,
            **options,
        )
    except UserError:
        raise
    except PrerequisiteError as error:
        raise UserError(Text.from_markup(str(error)).plain) from error
    except OSError as error:
        if error.errno in _FULL:
            raise _no_space(place) from error
        raise


def _tags(matrix: Matrix, defense: Defense) -> list[str]:
    """The tags of all logs of a set; those of guarded targets get their own after a run."""
    if any(target.model.startswith(f"{PROVIDER}/") for target in matrix.targets):
        return []
    return defense_tags("", {}, None if defense.name == UNDEFENDED else defense.name, defense.args)


def _check_disk(place: str, logs: list[EvalLog]) -> None:
    full = [os.strerror(number) for number in _FULL]
    for log in logs:
        if log.error and any(words in log.error.message for words in full):
            raise _no_space(place)


def _no_space(place: str) -> NoSpace:
    return NoSpace(
        f"{place}: no space is left for logs, so the run was stopped. What was written is kept: "
        f"make room (here, and where temporary files go) and run the same command again."
    )


def _was_cancelled(place: str, began: datetime) -> bool:
    """Whether Ctrl-C ended the round: Inspect then returns fewer logs, but no error."""
    headers = [read_header(info) for info in list_eval_logs(place)]
    return any(
        log.status == "cancelled" and datetime.fromisoformat(log.eval.created) >= began
        for log in headers
    )
