"""Logs to one tidy frame: a row for each answer, and a list of what is left out and why."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pandas as pd

from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.conditions import as_text
from vlmguard.results.logs.read import Run, find_logs, read_log

__all__ = ["Results", "read_results"]

Progress = Callable[[int, int], None]
"""Told how many of how many logs have been read."""


@dataclass
class Results:
    """Everything that was read.

    Attributes:
        runs: One for each usable log; the frame's `run` is the place in here.
        frame: A row for each answer: `run`, `sample`, `epoch`, `cluster`,
            `category`, `slice` (the sample's `subset`), `expected`, `error`, a column for each
            `scorer.key`,
            `dsr` and `over_refusal` (refusals of requests that are not and
            that are benign), `dsr_with_prefix` (`dsr` where words that a defense put before the
            answer count), `unscored` (reasons), and the defense's tally:
            `calls`, `target_calls`, `input_tokens`, `output_tokens`,
            `seconds`, `triggered`, `failure`, `outcome`, `cost`, `output` (what the final output
            is, as `vlmguard.guard.text.outputs` tells it).
        left_out: Reason for each log that is not in the frame.
        repeats: Of these, the older runs of what is in the frame; copies are none.
    """

    runs: list[Run]
    frame: pd.DataFrame
    left_out: dict[str, str] = field(default_factory=dict)
    repeats: list[str] = field(default_factory=list)

    def answers(self, run: int) -> pd.DataFrame:
        """Rows of a run, one for each answer."""
        start, stop = self._spans[run]
        return self.frame.iloc[start:stop]

    def samples(self, run: int) -> pd.DataFrame:
        """Rows of a run, one for each sample, several epochs reduced as Inspect did.

        Args:
            run: Place in `runs`.

        Returns:
            The frame indexed by sample.
        """
        rows = self.answers(run)
        reduced = self.runs[run].reduced
        if not reduced:
            return rows.set_index("sample")
        first = rows.drop_duplicates("sample").set_index("sample").copy()
        for measure, values in reduced.items():
            first[measure] = pd.Series(values, dtype=float).reindex(first.index)
        if "refusal.refused" in reduced:
            benign = first["expected"] == "comply"
            first["over_refusal"] = first["refusal.refused"].where(benign)
            first["dsr"] = first["refusal.refused"].where(~benign)
        if "refusal_with_prefix.refused" in reduced:
            kept = first["refusal_with_prefix.refused"]
            first["dsr_with_prefix"] = kept.where(first["expected"] != "comply")
        return first

    def __post_init__(self) -> None:
        counts = self.frame["run"].value_counts() if len(self.frame) else pd.Series(dtype=int)
        ends = [0]
        for run in range(len(self.runs)):
            ends.append(ends[-1] + int(counts.get(run, 0)))
        self._spans = list(pairwise(ends))


def read_results(paths: Iterable[str], progress: Progress | None = None) -> Results:
    """Read logs into one frame.

    Args:
        paths: Logs or folders of logs.
        progress: Called after each log.

    Returns:
        The usable runs and the reasons for the others. Of several logs of one
        run (copies, retries, repetitions) the newest counts.

    Raises:
        UserError: There is no log at all.
    """
    found = find_logs(paths)
    read: list[tuple[Run, pd.DataFrame]] = []
    left_out: dict[str, str] = {}
    unfinished: dict[str, LeftOut] = {}
    timed: list[Run] = []
    for number, path in enumerate(found, start=1):
        try:
            found_here = read_log(path)
            timed += [run for run, _ in found_here if run.latency]
            read += [(run, pd.DataFrame(rows)) for run, rows in found_here if not run.latency]
        except LeftOut as reason:
            left_out[path] = str(reason)
            unfinished |= {path: reason} if reason.unfinished else {}
        if progress is not None:
            progress(number, len(found))
    # What `inspect eval-retry` finished keeps the task's id, and leaves the old log where it is.
    finished = {run.identity[0]: run for run, _ in read}
    left_out |= {
        path: f"older run, done again as {again.path}"
        for path, reason in unfinished.items()
        if (again := finished.get(reason.unfinished)) and again.created > reason.created
    }
    kept, older, repeats = _newest(read)
    parts = [part.assign(run=number) for number, (_, part) in enumerate(kept)]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"run": []})
    runs = [run for run, _ in kept]
    # The youngest counts.
    for log in sorted(timed, key=lambda each: each.created):
        about = [run for run in runs if _latency_key(run) == _latency_key(log)]
        for run in about:
            run.latency = log.latency
        if not about:
            left_out[log.path] = "latency of a run whose log is not here"
    return Results(runs, frame, left_out | older, repeats)


def _newest(
    read: list[tuple[Run, pd.DataFrame]],
) -> tuple[list[tuple[Run, pd.DataFrame]], dict[str, str], list[str]]:
    latest: dict[tuple[object, ...], int] = {}
    older: dict[str, str] = {}
    repeats: dict[str, None] = {}
    for number, (run, _) in enumerate(read):
        # Equal judges of one log are no rivals: they are raters to compare.
        key = (run.column, run.repeat, *row_key(run))
        if key not in latest:
            latest[key] = number
            continue
        rival = read[latest[key]][0]
        new, old = (run, rival) if run.created >= rival.created else (rival, run)
        same = new.identity[1] == old.identity[1]
        older[old.path] = f"{'copy of' if same else 'older run of the same as'} {new.path}"
        repeats |= {} if same else {old.path: None}
        latest[key] = number if new is run else latest[key]
    chosen = set(latest.values())
    return [item for number, item in enumerate(read) if number in chosen], older, list(repeats)


def row_key(run: Run) -> tuple[str, ...]:
    """What makes a row of a table: target and defense, each with its settings, and its version."""
    defense = (run.defense, run.defense_version, run.defense_args, run.template, run.guards)
    return (run.target, run.target_settings, *defense)


def _latency_key(run: Run) -> tuple[str, ...]:
    """What a log of latencies has in common with the run that it is about.

    Templates show in scores alone, which it has none of; how many answers a question gets does
    not bear on the time of one.
    """
    settings = json.loads(run.column.settings) if run.column.settings else {}
    kept = {name: each for name, each in settings.items() if name not in ("epochs", "reducer")}
    column = run.column
    return (
        *(column.benchmark, column.variant, column.version, column.data, as_text(kept)),
        *(run.target, run.target_settings, run.defense, run.defense_args, run.guards),
    )
