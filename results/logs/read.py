"""Reading one Inspect log: what was run, and what each answer scored and cost.

Only headers and sample summaries are read, never messages or events, so that
hundreds of logs stay cheap. Everything else in `results` starts from here.
"""

import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from inspect_ai.log import (
    EvalLog,
    EvalSampleSummary,
    list_eval_logs,
    read_eval_log,
    read_eval_log_sample_summaries,
)
from zstandard import ZstdError

from vlmguard.guard.errors import UserError
from vlmguard.results.logs.answers import (
    GENERAL,
    GRADER,
    LeftOut,
    Names,
    Row,
    bare,
    judging_of,
    row_of,
    tally_of,
    views_of,
)
from vlmguard.results.logs.conditions import Column, as_text, column_of, given, model_text, roles_of
from vlmguard.results.logs.declared import Declared, check_ranges, declared_by, reduced_values
from vlmguard.results.logs.edits import Touched, check_whole, touched
from vlmguard.results.logs.score_types import check_kinds
from vlmguard.results.logs.sizes import check_sizes
from vlmguard.results.logs.timing import LATENCY_TAG, Pace, latency_of, pace_of
from vlmguard.results.logs.unfinished import WAY_OUT, named, unfinished_samples
from vlmguard.results.logs.versions import check_one_version, versions_of

UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, IndexError, EOFError, AssertionError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, ZstdError),
)
"""What Inspect raises for a log that is damaged, cut off, or none at all."""

_OUTPUTS: Final = {
    "cut_off": "cut off",
    "refusal": "marked as refusals by the provider",
    "no_answer": "no answers",
}


_REFUSALS: Final = {"dsr": False, "over_refusal": True}
"""The columns of refusals, and whether they are about benign requests."""


@dataclass
class Run:
    """One usable log, seen with one judge.

    Attributes:
        path: Where it lies.
        view: Which of its judges: 0 the first, then those that were appended.
        asked: Columns of all measures that were asked for, scored or not.
        repeat: How many views of the log before it are of an equal judge: tables show
            the first alone.
        column: What it can be compared with.
        target: The evaluated model.
        target_settings: Its arguments, as text.
        defense: Name of the defense without package; `none` without one.
        defense_version: Version of its solver; empty where a log notes none.
        defense_args: Arguments that were passed to it, as text.
        template: Hash of its templates, which an argument may name by file alone.
        guards: Models bound to roles other than the grader's, as text.
        judge: Judges' names (an exact scorer's own); empty where nothing was judged.
        note: What the task wants every table to say.
        created: When it was run.
        identity: Inspect's ids of task and evaluation.
        declared: How to read its measures.
        reduced: Values by measure and sample where there were several epochs.
        approximations: In which respects the defense was not the faithful one.
        remarks: What else a reader must know.
        pace: Its throughput, where the log tells it.
        latency: Median seconds of an answer and the number of answers, from a log that measures
            nothing else: its own, or the one that belongs to this run.
        edited: By whom scores were edited after the scorers gave them; empty if by nobody.
        observed: Largest size of a value of each measure that leaves 0 to 1 and whose range
            nobody declared.
        overhead_gap: Why there is no tally of the defense's cost; empty if there is.
        provenance: Versions and commit, for tables and baselines.
    """

    path: str
    view: int
    column: Column
    target: str
    target_settings: str
    defense: str
    defense_version: str
    defense_args: str
    template: str
    guards: str
    judge: str
    note: str
    created: str
    identity: tuple[str, str]
    declared: Declared
    reduced: dict[str, dict[str, float]] = field(default_factory=dict)
    approximations: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    pace: Pace = field(default_factory=Pace)
    latency: tuple[float, int] | None = None
    edited: str = ""
    observed: dict[str, float] = field(default_factory=dict)
    overhead_gap: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    repeat: int = 0
    asked: tuple[str, ...] = ()


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files below files, folders or URLs.

    Args:
        paths: Logs, or folders of logs (searched to any depth).

    Returns:
        Locations, each once, sorted within a folder.

    Raises:
        UserError: A path does not exist or cannot be listed, or there is no log in any of
            them.
    """
    found: dict[str, None] = {}
    given = [str(path) for path in paths]
    for path in given:
        if "://" not in path and not Path(path).exists():
            raise UserError(f"{path}: no such file or folder. Name Inspect logs or their folder.")
        if Path(path).is_file():
            found[str(Path(path).resolve())] = None
            continue
        try:
            listed = list_eval_logs(path, descending=False)
        except Exception as error:  # Whatever a file system's own package raises.
            raise UserError(
                f"{path}: cannot be listed ({type(error).__name__}: {error}). Check the name, "
                f"access rights or credentials, and the package for its kind (s3fs, gcsfs, ...)."
            ) from error
        for info in listed:
            found[info.name.removeprefix("file://")] = None
    if not found:
        raise UserError(
            f"No Inspect logs (*.eval, *.json) in {', '.join(given)}. Run a benchmark first, "
            f"e.g. inspect eval tasks/siuo.py --log-dir logs."
        )
    return list(found)


def read_log(path: str) -> list[tuple[Run, list[Row]]]:
    """Read a log's header and sample summaries.

    Args:
        path: The log.

    Returns:
        The run, and a row for each answer; once for each judge, where
        `inspect score --action append` brought further ones. A log that measures
        latency alone has no rows.

    Raises:
        LeftOut: The log is corrupt, unfinished, of a foreign task, without all its
            samples, holds scores out of their range, or nothing in it was scored.
    """
    try:
        check_sizes(path)
        log = read_eval_log(path, header_only=True)
        finished = log.status == "success"
        summaries = read_eval_log_sample_summaries(path) if finished else []
        timed = LATENCY_TAG in (log.eval.tags or [])
        seen = Touched() if timed or not summaries else touched(path)
        if summaries and (log.eval.config.epochs or 1) > 1 and not log.reductions:
            # The header of a JSON log goes without the scores of several answers.
            log.reductions = read_eval_log(path).reductions
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LeftOut(f"corrupt or truncated, or no Inspect log ({reason})") from error
    check_kinds(summaries)
    if timed:
        run = _run(path, 0, log, [], {})
        run.latency = latency_of(log, summaries)
        return [(run, [])]
    if log.status != "success":
        told = log.error.message.splitlines() if log.error else []
        detail = f": {told[0]}" if told else ""
        raise _unfinished(log, f"(status {log.status}{detail}); finish it with inspect eval-retry")
    # Set where somebody stopped a run and let Inspect score what there was: status "success".
    resolved = log.results.logged_samples if log.results else None
    if log.results and resolved is not None and resolved < log.results.total_samples:
        raise _unfinished(
            log,
            f"stopped after {resolved} of {log.results.total_samples} answers; "
            f"finish it with inspect eval-retry",
        )
    check_whole(log, summaries, seen)
    if again := unfinished_samples(path, log, summaries) | seen.invalidated:
        raise _unfinished(log, named(again, len(summaries)))
    if log.invalidated:
        raise _unfinished(log, f"marked as invalidated; {WAY_OUT}")
    check_one_version(summaries)
    metadata = log.eval.metadata or {}
    if "benchmark" not in metadata and not any(
        set(GENERAL) & set(sample.scores or {}) for sample in summaries
    ):
        raise LeftOut(
            f"foreign: task {log.eval.task} is none of ours and none of our scorers was used"
        )
    found: list[tuple[Run, list[Row]]] = []
    for view, names in enumerate(views_of(log.eval, summaries)):
        rows = [row_of(sample, names) for sample in summaries]
        try:
            _check_scored(rows)
        except LeftOut as reason:
            if not found:
                raise
            found[0][0].remarks.append(f"{', '.join(names)}, added later, {reason}")
            continue
        run = _run(path, view, log, summaries, names)
        try:
            check_ranges(rows, run.declared, run.reduced)
        except LeftOut as reason:
            if not found:
                raise
            found[0][0].remarks.append(f"{', '.join(names)}, added later, {reason}")
            continue
        run.asked = _asked(rows, run.declared)
        run.edited = seen.edits(names)
        run.remarks += [run.edited] if run.edited else []
        run.observed = _observed(rows, names, run.declared)
        alike = [before for before, _ in found if before.column == run.column]
        if alike:
            run.repeat = len(alike)
            alike[0].remarks.append(
                f"{', '.join(names)}, added later, is an equal judge once more: shown by "
                f"vlmguard agreement alone"
            )
        found.append((run, rows))
    return found


def _run(
    path: str, view: int, log: EvalLog, summaries: list[EvalSampleSummary], names: Names
) -> Run:
    spec = log.eval
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    defense = _defense(log, tallies)
    judging = judging_of(summaries, names)
    guards = {
        role: [model_text(each) for each in bound]
        for role, bound in roles_of(log).items()
        if role != GRADER
    }
    judges = dict.fromkeys(name for facts in judging.values() for name in facts.get("judges", ()))
    exact = [facts["scorer"] for facts in judging.values() if "scorer" in facts]
    return Run(
        path=path,
        view=view,
        column=column_of(log, judging),
        target=spec.model,
        target_settings=as_text(given(spec.model_args)),
        defense=defense,
        defense_version=" ".join(sorted(versions_of(tallies))),
        defense_args=as_text(given(spec.solver_args_passed or {})),
        template=" ".join(sorted({str(tally.get("template", "")) for tally in tallies})).strip(),
        guards=as_text(guards) if defense != "none" else "",
        judge=", ".join(judges or exact),
        note=str((spec.metadata or {}).get("note", "")),
        created=str(spec.created),
        identity=(spec.task_id, spec.eval_id),
        declared=declared_by(log, summaries, names),
        pace=pace_of(log, summaries),
        reduced=reduced_values(log, names),
        approximations=tuple(
            dict.fromkeys(each for tally in tallies for each in tally.get("approximations", ()))
        ),
        remarks=_on_outputs(tallies),
        overhead_gap="" if tallies else "its scores carry no tally of calls (foreign scorers)",
        provenance=given(
            {
                **spec.packages,
                "commit": spec.revision.commit if spec.revision else None,
                "created": str(spec.created),
            }
        ),
    )


def _on_outputs(tallies: list[dict[str, Any]]) -> list[str]:
    """How many outputs were no whole answers, and why."""
    found = Counter((tally.get("output"), tally.get("output_reason")) for tally in tallies)
    listed = [
        f"{count} {words} ({reason})"
        for kind, words in _OUTPUTS.items()
        for (of, reason), count in sorted(found.items(), key=str)
        if of == kind
    ]
    return [f"of {len(tallies)} outputs {', '.join(listed)}"] if listed else []


def _unfinished(log: EvalLog, reason: str) -> LeftOut:
    text = f"unfinished{'' if reason.startswith('(') else ':'} {reason}"
    return LeftOut(text, unfinished=log.eval.task_id, created=str(log.eval.created))


def _asked(rows: list[Row], declared: Declared) -> tuple[str, ...]:
    """Columns of what was asked for, whether or not there is a value."""
    asked = list(declared.asked)
    if "refusal.refused" in asked:
        benign = {row["expected"] == "comply" for row in rows}
        asked += [name for name, is_benign in _REFUSALS.items() if is_benign in benign]
        if "refusal_with_prefix.refused" in asked and False in benign:
            asked.append("dsr_with_prefix")
    return tuple(asked)


def _check_scored(rows: list[Row]) -> None:
    measures = {name for row in rows for name in row if "." in name}
    if any(not math.isnan(row.get(name, math.nan)) for row in rows for name in measures):
        return
    reasons: dict[str, int] = {}
    for row in rows:
        for reason in set(row.get("unscored", {}).values()) or {row["error"] or "no score"}:
            reasons[reason] = reasons.get(reason, 0) + 1
    listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    raise LeftOut(f"failed: nothing of {len(rows)} answers was scored ({listed})")


def _observed(rows: list[Row], names: Names, declared: Declared) -> dict[str, float]:
    """Largest sizes of the benchmark's own measures that are no shares, as nothing says more."""
    own = set(names.values()) - set(GENERAL)
    largest: dict[str, float] = {}
    outside: set[str] = set()
    for row in rows if own else ():
        for name, value in row.items():
            known = name.partition(".")[0] not in own or name in declared.ranges
            if known or math.isnan(value):
                continue
            largest[name] = max(abs(value), largest.get(name, 0.0))
            if not 0 <= value <= 1:
                outside.add(name)
    return {name: largest[name] for name in outside}


def _defense(log: EvalLog, tallies: list[dict[str, Any]]) -> str:
    """What ran: the samples' own record first, for a solver may have any name."""
    recorded = {str(tally["defense"]) for tally in tallies} - {"none"}
    if len(recorded) > 1:
        raise LeftOut(f"its samples name several defenses: {', '.join(sorted(recorded))}")
    if recorded:
        return recorded.pop()
    solver = bare(log.eval.solver) if log.eval.solver else "none"
    return "none" if solver == "generate" else solver
