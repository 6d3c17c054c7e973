"""Reads logs into runs with their answers, and lists the logs that are left out and why."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pandas as pd
from inspect_ai.log import list_eval_logs

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import existing, user_path
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.conditions import as_text
from vlmguard.results.logs.reading import Read, read_each
from vlmguard.results.logs.run import Run
from vlmguard.results.logs.shard_sets import replaced
from vlmguard.results.logs.shards import whole_runs

__all__ = [
    "Results",
    "find_logs",
    "gathered",
    "read_each",
    "read_results",
    "read_run",
    "read_views",
    "row_key",
]


_LOG: Final = re.compile(r"\.eval$|^\d{4}-\d\d-\d\dT.*\.json$")
"""The names of Inspect's logs."""


@dataclass
class Results:
    """All logs that were read.

    Attributes:
        runs: A run for each usable log and judge, with its answers.
        left_out: The reason for each log that is left out.
        repeats: The logs of each older run of a configuration in `runs`; copies are none.
        states: What each log was known by when it was read; None if that is not known.
    """

    runs: list[Run]
    left_out: dict[str, str] = field(default_factory=dict)
    repeats: list[tuple[str, ...]] = field(default_factory=list)
    states: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each answer of all runs.

        Columns: `run` (its place in `runs`), `sample`, `epoch`, `cluster`, `category`, `slice` (the
        sample's `subset`), `expected`, `error`, `failed` (whose error it is), one for each
        `scorer.key`, `dsr` and `over_refusal` (refusals of other and of benign requests),
        `dsr_with_prefix` (`dsr` that counts words that a defense put before the answer),
        `unscored` (reasons), and the defense's tally: `calls`, `target_calls`,
        `input_tokens`, `output_tokens`, `seconds`, `triggered`, `failure`, `skipped` (why the
        defense looked at nothing; None if that is not known), `outcome`, `action`, `cost`, `output`
        (kind of the final output: see `vlmguard.guard.text.outputs`, and `blocked` where the
        defense refused). Of a loop's attack also `tries` and `kept` (`attack.tries_of`).
        """
        parts = [run.answers.assign(run=number) for number, run in enumerate(self.runs)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"run": []})


def read_results(paths: Iterable[str]) -> Results:
    """Read logs.

    Args:
        paths: Logs or folders of logs.

    Returns:
        The usable runs and the reasons for the others. The logs of a run's shards are one run. Of
        several logs of one run (copies, retries, repeats) the newest counts, but not a trial with
        some of its samples.

    Raises:
        UserError: There is no log.
    """
    return gathered(read_each(find_logs(paths)))


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files below files, folders or URLs.

    Args:
        paths: Logs, or folders of logs (searched to any depth).

    Returns:
        Locations, each once, sorted within a folder.

    Raises:
        UserError: A path does not exist or cannot be listed, or no path has a log.
    """
    found: dict[str, None] = {}
    given = [str(path) for path in paths]
    for path in given:
        if "://" not in path:
            existing(path, "file or folder")
        if Path(path).is_file():
            found[str(Path(path).resolve())] = None
            continue
        try:
            listed = list_eval_logs(path, descending=False)
        except Exception as error:  # Each file system's package has its own errors.
            raise UserError(
                f"{path}: cannot be listed ({type(error).__name__}: {error}). Check the name, "
                f"access rights or credentials, and the package for its kind (s3fs, gcsfs, ...)."
            ) from error
        for info in listed:
            found[info.name.removeprefix("file://")] = None
        if "://" not in path:
            found |= dict.fromkeys(_linked(Path(path)))
    if not found:
        raise UserError(f"No Inspect logs (*.eval, *.json) in {', '.join(given)}. {_elsewhere()}")
    return list(found)


def _linked(folder: Path) -> list[str]:
    """Logs below a folder to which links lead, by their own places: Inspect lists none of them."""
    found: list[str] = []
    seen: set[Path] = set()
    rest = [(folder, False)]
    while rest:
        here, linked = rest.pop()
        if here.resolve() in seen:
            continue
        seen.add(here.resolve())
        for each in sorted(here.iterdir()):
            through = linked or each.is_symlink()
            if each.is_dir():
                rest.append((each, through))
            elif through and each.is_file() and _LOG.search(each.name):
                found.append(str(each.resolve()))
    return found


def _elsewhere() -> str:
    """Where logs are, or how to make some."""
    usual = os.environ.get("INSPECT_LOG_DIR") or "logs"
    if "://" not in usual and any(user_path(usual).rglob("*.eval")):
        return f"There are logs in {usual}: name that folder."
    return (
        f"Inspect writes them into {usual}, or where --log-dir says. Run a benchmark first: "
        f"inspect eval vlmguard/BENCHMARK."
    )


def read_run(path: str) -> Run:
    """The run of a single log or of all its shards, by its first judge; errors as `read_views`."""
    return read_views(path)[0]


def read_views(path: str) -> list[Run]:
    """The run of a single log or of all its shards, once for each judge.

    Args:
        path: The log, or a folder with a single one, or with the shards of a single run.

    Raises:
        UserError: It cannot be used, or there are several runs.
    """
    results = read_results([path])
    logs = {run.paths for run in results.runs}
    if len(logs) != 1:
        left_out = "" if logs else next(iter(results.left_out.values()), "")
        reason = left_out or f"it holds {len(logs)} logs"
        raise UserError(
            f"{path}: {reason}. Name a single usable log, or the folder with all shards of a run."
        )
    return results.runs


def gathered(logs: Iterable[Read]) -> Results:
    """The results of all logs together: the newest run of each, with latencies.

    Args:
        logs: The results of `read_each`; those of a run's shards are put together.
    """
    read: list[Run] = []
    unusable: dict[str, LeftOut] = {}
    states: dict[str, dict[str, Any] | None] = {}
    for log in logs:
        states[log.path] = log.state
        read += log.runs
        unusable |= {log.path: log.reason} if log.reason else {}
    timed = [run for run in read if run.latency]
    measured = [run for run in read if not run.latency]
    whole = whole_runs(measured)
    older = _older(whole.runs)
    runs = [run for run in whole.runs if run not in older]
    left_out = {path: str(reason) for path, reason in unusable.items()} | whole.left_out
    left_out |= _done_again(unusable, measured)
    left_out |= _give_latencies(timed, runs)
    copies = {run for run, newer in older.items() if newer.identity[1] == run.identity[1]}
    left_out |= {path: replaced(run, newer) for run, newer in older.items() for path in run.paths}
    repeats = dict.fromkeys(run.paths for run in older if run not in copies)
    return Results(runs, left_out, list(repeats), states)


def _done_again(unusable: dict[str, LeftOut], finished: list[Run]) -> dict[str, str]:
    """Interrupted logs that `inspect eval-retry` finished in another log."""
    # A retry keeps the task's id, and does not remove the old log.
    by_task = {run.identity[0]: run for run in finished}
    return {
        path: f"older run, done again as {again.path}"
        for path, reason in unusable.items()
        if reason.unfinished
        and (again := by_task.get(reason.unfinished[0]))
        # A copy of the same second is no retry of it.
        and (again.created, again.identity[1] != reason.unfinished[1]) > (reason.created, False)
    }


def _give_latencies(timed: list[Run], runs: list[Run]) -> dict[str, str]:
    """Give runs the latency from separate logs; returns logs of latencies without a run."""
    alone: dict[str, str] = {}
    # The newest counts.
    for log in sorted(timed, key=lambda each: each.created):
        about = [run for run in runs if _latency_key(run) == _latency_key(log)]
        for run in about:
            run.latency = log.latency
        if not about:
            alone[log.path] = "latency of a run whose log is not here"
    return alone


def _older(read: list[Run]) -> dict[Run, Run]:
    """Runs of which a newer, an equal or a larger one was read too, each with that one."""
    latest: dict[tuple[object, ...], Run] = {}
    older: dict[Run, Run] = {}
    for run in read:
        # Equal judges of one log do not replace each other: they are raters to compare.
        key = (run.column, run.repeat, *row_key(run))
        rival = latest.setdefault(key, run)
        if rival is not run:
            new, old = (run, rival) if run.rank > rival.rank else (rival, run)
            if new.is_part_of(old):
                new, old = old, new
            older[old] = latest[key] = new
    return older


def row_key(run: Run) -> tuple[str, ...]:
    """The identity of a table's row: target and defense with their settings, and the version."""
    defense = (run.defense, run.defense_version, run.defense_args, run.template, run.guards)
    return (run.target, run.target_settings, *defense)


def _latency_key(run: Run) -> tuple[str, ...]:
    """The facts that a log of latencies shares with the run that it is about.

    Templates are only in scores, which it lacks. The number of answers per question does not affect
    the time of one.
    """
    settings = json.loads(run.column.settings) if run.column.settings else {}
    kept = {name: each for name, each in settings.items() if name not in ("epochs", "reducer")}
    column = run.column
    return (
        *(column.benchmark, column.variant, column.version, column.data, as_text(kept)),
        column.under,
        *(run.target, run.target_settings, run.defense, run.defense_args, run.guards),
    )
