"""Reads one Inspect log: the run, and the scores and cost of each answer.

Only headers and sample summaries are read, never messages or events, so that hundreds of logs can
be read fast.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final

import pandas as pd
from inspect_ai.log import EvalLog, read_eval_log

from vlmguard.guard.cards import cards
from vlmguard.guard.log_errors import UNREADABLE
from vlmguard.results.logs.answers import (
    LeftOut,
    Names,
    Row,
    UnusableScores,
    rows_of,
    tally_of,
    views,
    views_of,
)
from vlmguard.results.logs.archive import LogFile, opened_log
from vlmguard.results.logs.around import defended_by
from vlmguard.results.logs.attack import Noted, noted_attacks, tries_of
from vlmguard.results.logs.causes import cause_in
from vlmguard.results.logs.checks import (
    Touched,
    check_kinds,
    check_one_version,
    check_scored,
    check_whole,
    touched,
    versions_of,
)
from vlmguard.results.logs.conditions import as_text, column_of, given, judging_of
from vlmguard.results.logs.declared import (
    Declared,
    check_ranges,
    check_reduced,
    declared_by,
    reduced_values,
)
from vlmguard.results.logs.described import ITS_OWN_JUDGE, guards_of, judge_of, on_outputs
from vlmguard.results.logs.failed_calls import broken_off
from vlmguard.results.logs.missing_images import answers_without_images
from vlmguard.results.logs.part import judges_itself, outputs_of, part_of, shard_of
from vlmguard.results.logs.run import Run, judges_as
from vlmguard.results.logs.run_facts import run_facts
from vlmguard.results.logs.summaries import Summary
from vlmguard.results.logs.timing import LATENCY_TAG, latency_of, pace_of
from vlmguard.results.logs.unfinished import RUN_AGAIN, WAY_OUT, Key, named, unfinished_samples

_FINISH: Final = "finish it with inspect eval-retry"


@dataclass(frozen=True)
class _Opened:
    """What was read of a log.

    Attributes:
        path: Its place.
        log: Its header.
        summaries: Summaries of its samples; empty if it is not finished.
        timed: Whether it measures only latency.
        seen: People's changes of it.
        failed: Whose error ended a sample, by id and epoch.
        noted: What an attack noted of each sample, likewise.
        again: Why samples must be done again, likewise.
    """

    path: str
    log: EvalLog
    summaries: list[Summary]
    timed: bool = False
    seen: Touched = field(default_factory=Touched)
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    noted: Noted = field(default_factory=dict)
    again: dict[Key, str] = field(default_factory=dict)


def read_log(path: str) -> list[Run]:
    """Read a log's header and sample summaries.

    Returns:
        The run, once for each judge, if `inspect score --action append` added judges. A log that
        measures only latency has no answers.

    Raises:
        LeftOut: The log is corrupt, unfinished, of a foreign task, lacks samples, has scores out of
            their range, or has no scored answer.
    """
    opened = _open(path)
    check_kinds(opened.summaries)
    if opened.timed:
        run = _run(replace(opened, summaries=[]), 0, {})
        run.latency = latency_of(opened.log, opened.summaries)
        return [run]
    _check_finished(opened)
    check_one_version(opened.summaries)
    _check_ours(opened)
    found: list[Run] = []
    for view, names in enumerate(views_of(opened.log.eval, opened.summaries)):
        try:
            run = _seen_with(opened, view, names)
        except UnusableScores as reason:
            if not found:
                raise
            found[0].remarks.append(f"{', '.join(names)}, added later, {reason}")
            continue
        alike = [before for before in found if judges_as(run, before)]
        if alike:
            run.repeat = len(alike)
            alike[0].remarks.append(
                f"{', '.join(names)}, added later, is an equal {'judge' if run.judge else 'rule'} "
                f"once more: shown by vlmguard agreement alone"
            )
        found.append(run)
    return found


def _open(path: str) -> _Opened:
    try:
        with opened_log(path) as file:
            return _opened(file)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LeftOut(f"corrupt or truncated, or no Inspect log ({reason})") from error


def _opened(file: LogFile) -> _Opened:
    log = file.header()
    summaries = _in_order(log, file.summaries()) if log.status == "success" else []
    if LATENCY_TAG in (log.eval.tags or []):
        return _Opened(file.path, log, summaries, timed=True)
    if not summaries:
        return _Opened(file.path, log, summaries)
    seen = touched(file)
    if (log.eval.config.epochs or 1) > 1 and not log.reductions:
        # The header of a JSON log lacks the scores of several answers.
        log.reductions = read_eval_log(file.path).reductions
    return _Opened(
        file.path,
        log,
        summaries,
        seen=seen,
        failed=broken_off(file, summaries),
        noted=noted_attacks(file, log.eval, summaries),
        # Where whole samples are missing, the log is refused for that.
        again=unfinished_samples(file, log, summaries) if seen.count >= len(summaries) else {},
    )


def _in_order(log: EvalLog, summaries: list[Summary]) -> list[Summary]:
    """The samples in the order of the data set: a log has those first that were done first.

    What takes the first samples of a run would else take the quick answers, which are refusals.
    """
    places = {str(name): place for place, name in enumerate(log.eval.dataset.sample_ids or [])}
    last = len(places)
    return sorted(summaries, key=lambda each: (places.get(str(each.id), last), each.epoch))


def _check_finished(opened: _Opened) -> None:
    """Refuse a log with answers that are missing or must be made again."""
    log, summaries, seen = opened.log, opened.summaries, opened.seen
    # Inspect would not know that a log is of a shard, and run the whole benchmark.
    finish = _FINISH if shard_of(log) is None else RUN_AGAIN
    if log.status != "success":
        told = cause_in(log.error.message).splitlines() if log.error else []
        detail = f": {told[0]}" if told else ""
        raise _unfinished(log, f"(status {log.status}{detail}); {finish}")
    # Set if a user stopped a run and let Inspect score the finished samples: its status is
    # "success".
    resolved = log.results.logged_samples if log.results else None
    if log.results and resolved is not None and resolved < log.results.total_samples:
        raise _unfinished(
            log,
            f"stopped after {resolved} of {log.results.total_samples} answers; {finish}",
        )
    check_whole(log, summaries, seen)
    if again := opened.again | seen.invalidated:
        raise _unfinished(log, named(again, len(summaries)))
    if log.invalidated:
        raise _unfinished(log, f"marked as invalidated; {WAY_OUT}")


def _check_ours(opened: _Opened) -> None:
    """Refuse a log that is neither of our tasks nor scored by our scorers."""
    spec = opened.log.eval
    scorers = {name for sample in opened.summaries for name in sample.scores or {}}
    if "benchmark" not in (spec.metadata or {}) and not scorers & cards().measures.keys():
        raise LeftOut(f"foreign: task {spec.task} is none of ours and none of our scorers was used")


def _seen_with(opened: _Opened, view: int, names: Names) -> Run:
    """A run with its answers, by the scorers of one view."""
    rows = rows_of(opened.summaries, names)
    for row in rows:
        key = (row["sample"], row["epoch"])
        row["failed"] = opened.failed.get(key, "")
        row.update(tries_of(opened.noted.get(key, {})))
    answers = pd.DataFrame(rows)
    if shard_of(opened.log) is None:  # Of a shard, its whole run is looked at.
        check_scored(answers)
    run = _run(opened, view, names)
    check_ranges(rows, run.declared, run.reduced)
    check_reduced(rows, run.declared, run.reduced)
    run.answers = answers
    missing, remarks = answers_without_images(opened.log)
    run.missing = pd.DataFrame(missing)
    run.remarks += remarks
    run.asked = _asked(rows, run.declared)
    run.edited = opened.seen.edits(names)
    run.edits = opened.seen.number(names)
    run.remarks += [run.edited] if run.edited else []
    run.observed = _observed(rows, names, run.declared)
    return run


def _run(opened: _Opened, view: int, names: Names) -> Run:
    """A run by its header and the scores of one view, without its answers."""
    log, summaries = opened.log, opened.summaries
    spec = log.eval
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    around = defended_by(spec, [str(tally["defense"]) for tally in tallies])
    judging = judging_of(summaries, names)
    version = " ".join(sorted(versions_of(tallies)))
    return Run(
        paths=(opened.path,),
        view=view,
        column=column_of(log, judging, opened.noted),
        target=around.target,
        target_settings=as_text(given(around.target_args)),
        defense=around.defense,
        defense_version=version,
        defense_args=as_text(given(around.options)),
        template=" ".join(sorted({str(tally.get("template", "")) for tally in tallies})).strip(),
        guards=as_text(guards_of(log)) if around.defense != "none" else "",
        judge=judge_of(judging),
        note=str((spec.metadata or {}).get("note", "")),
        created=str(spec.created),
        identity=(spec.task_id, spec.eval_id),
        declared=declared_by(log, summaries, names),
        pace=pace_of(log, summaries),
        reduced=reduced_values(log, names),
        approximations=tuple(
            dict.fromkeys(each for tally in tallies for each in tally.get("approximations", ()))
        ),
        remarks=[
            *on_outputs(outputs_of(tallies)),
            *([ITS_OWN_JUDGE] if judges_itself(summaries, names) else []),
        ],
        overhead_gap="" if tallies else "its scores carry no tally of calls (foreign scorers)",
        provenance=_provenance(log),
        facts=run_facts(log, around.defense, version),
        part=part_of(log, summaries, names, opened.noted, opened.seen),
    )


def _provenance(log: EvalLog) -> dict[str, str]:
    """Versions of packages, the commit and the date."""
    spec = log.eval
    commit = spec.revision.commit if spec.revision else None
    return given({**spec.packages, "commit": commit, "created": str(spec.created)})


def _unfinished(log: EvalLog, reason: str) -> LeftOut:
    text = f"unfinished{'' if reason.startswith('(') else ':'} {reason}"
    ids = (log.eval.task_id, log.eval.eval_id)
    return LeftOut(text, unfinished=ids, created=str(log.eval.created))


def _asked(rows: list[Row], declared: Declared) -> tuple[str, ...]:
    """Columns of requested measures, with or without values."""
    asked = declared.asked
    benign = {row["expected"] == "comply" for row in rows}
    seen = [name for name, (of, on) in views().items() if of in asked and on in benign]
    return (*asked, *seen)


def _observed(rows: list[Row], names: Names, declared: Declared) -> dict[str, float]:
    """Largest absolute values of the benchmark's own measures that are not shares."""
    own = set(names.values()) - cards().measures.keys()
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
