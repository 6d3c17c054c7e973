r"""Runs a matrix, benchmarks x defenses x targets (x attacks), as Inspect eval sets.

    vlmguard run --config paper_main --dry-run
    vlmguard run --config my_matrix.yaml
    vlmguard run --benchmark siuo --defense none --defense vlmguard --target M \
        --role grader=G --role rewriter=R
    vlmguard run --suite red_team --defense vlmguard --target M --role grader=G --role rewriter=R

A thin loop over `inspect_ai.eval_set`: one set, and one log folder, for each defense
(`LOG_DIR/DEFENSE`), and for each attack on it (`parts.py`). The same command again resumes
unfinished parts, and does nothing if all is finished. Ctrl-C stops the whole matrix. A full disk
stops it too, since every further answer would be paid for and lost.

Beyond one machine: targets on vLLM or SGLang (`model: vllm/NAME` with `model_args:
{tensor_parallel_size: 8}`, `data_parallel_size`, or a server on a Ray cluster through
`openai-api/`); judges through batch APIs (`generate: {batch: true}` of the role, half
the price, hours later); logs on S3 (`log_dir: s3://BUCKET/FOLDER`, which all commands
read); several runners, each with its own `--defense`, below one `log_dir`.
"""

import errno
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from inspect_ai import Task, eval_set

# Inspect has no public name for the error that it raises if it cannot start.
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from rich.text import Text

from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import PROVIDER
from vlmguard.guard.run_tags import defense_tags
from vlmguard.results.logs.unfinished import set_aside
from vlmguard.results.run.changed_files import NAMED_FILES
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, roles, unfilled
from vlmguard.results.run.costs import know_priced_models
from vlmguard.results.run.guard_cache import with_guard_cache
from vlmguard.results.run.locks import locked
from vlmguard.results.run.log_writing import log_options
from vlmguard.results.run.making import make_role, make_solver, make_target, make_task
from vlmguard.results.run.plan import Planned
from vlmguard.results.run.preflight import files_named_in
from vlmguard.results.run.ready import ready

# Rounds after the first; Inspect's own default.
_RETRIES: Final = 10
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def run(matrix: Matrix, announce: Callable[[list[Planned]], None] | None = None) -> bool:
    """Run or resume a matrix; returns whether everything finished.

    Args:
        matrix: The matrix.
        announce: Gets the plan before anything is paid for.

    Raises:
        UserError: A placeholder was not filled in, two defenses share a folder, a role that is
            needed has no model, there is no such attack, Inspect refuses to start, another run uses
            a folder, or the disk is full.
        KeyboardInterrupt: Ctrl-C; finished samples are kept.
    """
    if lacking := unfilled(matrix):
        raise UserError(f"{', '.join(lacking)}: fill that in first.")
    folders = [defense.label or defense.name for defense in matrix.defenses]
    if len(set(folders)) < len(folders):
        raise UserError("two defenses share a log folder: give each a label: of its own.")
    checked = ready(matrix)
    if announce is not None:
        announce(checked.lines)
    know_priced_models(matrix.options)
    tasks = checked.tasks
    finished = True
    for part in checked.parts:
        cached = with_guard_cache(part.matrix)
        for defense, place in zip(cached.defenses, part.folders, strict=True):
            with locked(place):
                finished = _finish(cached, defense, place, tasks) and finished
            tasks = []
    return finished


def _finish(matrix: Matrix, defense: Defense, place: str, tasks: list[Task]) -> bool:
    """Run rounds of one eval set until it is finished; returns whether it is.

    Inspect could repeat rounds itself, but on a full disk it would pay again and again.
    """
    retries: int = matrix.options.get("retry_attempts", _RETRIES)
    for number in range(retries + 1):
        if number:
            time.sleep(matrix.options.get("retry_wait", 0))
        # Make the tasks again: Inspect may have changed those that it ran.
        tasks = tasks if tasks and not number else [make_task(step) for step in matrix.benchmarks]
        began = datetime.now(UTC).replace(microsecond=0)
        done, logs = _round(matrix, defense, place, tasks)
        _check_disk(place, logs)
        short = len(logs) < len(tasks) * len(matrix.targets)
        if (short or not done) and _was_cancelled(place, began):
            raise KeyboardInterrupt
        if done and not short:
            again = [log.location for log in logs if set_aside(log.location)]
            if not again:
                return True
    return False


def _round(
    matrix: Matrix, defense: Defense, place: str, tasks: list[Task]
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


def _no_space(place: str) -> UserError:
    return UserError(
        f"{place}: no space is left for logs, so the run was stopped. What was written is kept: "
        f"make room (here, and where temporary files go) and run the same command again."
    )


def _was_cancelled(place: str, began: datetime) -> bool:
    """Whether Ctrl-C ended the round: Inspect then returns fewer logs, but no error."""
    headers = [read_eval_log(info, header_only=True) for info in list_eval_logs(place)]
    return any(
        log.status == "cancelled" and datetime.fromisoformat(log.eval.created) >= began
        for log in headers
    )
