"""What happens after a run of Inspect: its log gets tags, and the user hears what comes next.

Inspect knows a run's solver when its tasks are made already, and its hooks may not change what it
is about to write. So the tags come afterwards, as an edit of the finished log by Inspect's own
means: into a copy that then takes its place, since an answer that was paid for must never be in
danger. A log that is not on this machine, or not in Inspect's own format, gets none so.

Inspect announces at each start what listens to all runs. This listens from the first task of ours
that is made, or the first guarded model, and so runs of others never hear of it.
"""

import atexit
import os
import shutil
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from anyio import to_thread
from inspect_ai.hooks import Hooks, RunEnd, TaskEnd, hooks
from inspect_ai.log import (
    EvalLog,
    EvalSpec,
    ProvenanceData,
    TagsEdit,
    edit_eval_log,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.util import display_type

from vlmguard.guard.guarded_names import PROVIDER
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.rare_collection import collect_rarely
from vlmguard.guard.run_tags import defense_tags
from vlmguard.guard.terminal import say_error, say_next, shown_path

__all__ = ["AfterRun", "listen"]


@cache
def listen() -> None:
    """Let Inspect tell of the runs of this process; once is enough."""
    hooks(name="after_run", description="Tags logs with their defense.")(AfterRun)
    collect_rarely()


class AfterRun(Hooks):
    """Tags logs, and shows errors that nobody would see."""

    async def on_task_end(self, data: TaskEnd) -> None:
        """Tag the log of one of our tasks, or of one that our defense took part in."""
        if tags := _missing_tags(data.log.eval):
            await to_thread.run_sync(_tag, data.log.location, tags)

    async def on_run_end(self, data: RunEnd) -> None:
        """Tag logs of failed tasks too; say what failed unseen, and what comes next."""
        for log in data.logs:
            if log.status != "success" and (tags := _missing_tags(log.eval)):
                await to_thread.run_sync(_tag, log.location, tags)
            # Where Inspect's display is off, the log would be all that tells.
            if display_type() == "none":
                _say_what_failed(log)
        if data.logs and data.eval_set_id is None and data.exception is None:
            _say_what_is_next(data.logs[0])


def _say_what_failed(log: EvalLog) -> None:
    """Say of a run of ours, or one that our code ended, that it or some of its samples failed."""
    ended = log.error is not None and PACKAGE in log.error.traceback
    if not (ended or _is_ours(log.eval)):
        return
    if log.error:
        say_error(f"{log.eval.task}: {log.error.message} (log: {log.location})")
    elif log.results and (lost := log.results.total_samples - log.results.completed_samples):
        total = log.results.total_samples
        say_error(f"{log.eval.task}: {lost} of {total} samples failed (log: {log.location})")


def _say_what_is_next(log: EvalLog) -> None:
    """Name the next command below Inspect's summary, to who sits before `inspect eval`."""
    path, shown = _local(log.location), display_type() not in ("none", "log")
    command = Path(sys.argv[0]).name == "inspect"
    if command and shown and sys.stdout.isatty() and path is not None and log.status == "success":
        # Inspect prints its summary behind its hooks.
        atexit.register(say_next, f"vlmguard leaderboard {shown_path(path.parent)}")


def _is_ours(spec: EvalSpec) -> bool:
    """Whether a run is of one of our tasks, or of a model that our defense guards."""
    return "benchmark" in (spec.metadata or {}) or spec.model.startswith(f"{PROVIDER}/")


def _missing_tags(spec: EvalSpec) -> list[str]:
    """The tags that a log lacks."""
    if not _is_ours(spec):
        return []
    args = spec.solver_args_passed or {}
    tags = defense_tags(spec.model, spec.model_args, spec.solver, args)
    return [tag for tag in tags if tag not in (spec.tags or [])]


def _tag(location: str, tags: list[str]) -> None:
    path = _local(location)
    if path is None or path.suffix != ".eval":
        return
    # Its name keeps it out of every list of logs.
    beside = path.with_name(f".{path.name}.tagged")
    try:
        shutil.copyfile(path, beside)
        log = read_eval_log(str(beside), header_only=True, format="eval")
        said = ProvenanceData(author=PACKAGE, reason="What defended this run.")
        edited = edit_eval_log(log, [TagsEdit(tags_add=tags)], said)
        write_eval_log(edited, str(beside), format="eval", header_only=True)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _local(location: str) -> Path | None:
    """The path of a file on this machine; None for one elsewhere."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return None
    path = Path(unquote(parts.path) if parts.scheme else location)
    return path if path.is_file() else None
