"""Reads one Inspect log: the run, and the scores and cost of each answer.

Only headers and sample summaries are read, never messages or events, so that hundreds of logs can
be read fast. All other modules of `results` start from here.
"""

import itertools
import json
import math
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

import pandas as pd
from inspect_ai.log import (
    EvalLog,
    read_eval_log,
)
from zstandard import ZstdError

from vlmguard.guard.cards import cards
from vlmguard.guard.shards import Shard
from vlmguard.results.logs.answers import (
    GRADER,
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
from vlmguard.results.logs.attack import ATTACKER, Noted, noted_attacks, tries_of
from vlmguard.results.logs.causes import cause_in
from vlmguard.results.logs.checks import (
    Touched,
    check_kinds,
    check_one_version,
    check_whole,
    touched,
    versions_of,
)
from vlmguard.results.logs.conditions import (
    Column,
    Judging,
    as_text,
    column_of,
    given,
    judging_of,
    model_text,
    roles_of,
)
from vlmguard.results.logs.declared import Declared, check_ranges, declared_by, reduced_values
from vlmguard.results.logs.failed_calls import broken_off
from vlmguard.results.logs.missing_images import answers_without_images
from vlmguard.results.logs.part import Part, judges_itself, outputs_of, part_of, shard_of
from vlmguard.results.logs.run_facts import run_facts
from vlmguard.results.logs.summaries import Summary
from vlmguard.results.logs.timing import LATENCY_TAG, Pace, latency_of, pace_of
from vlmguard.results.logs.unfinished import WAY_OUT, Key, named, unfinished_samples

UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, IndexError, EOFError, AssertionError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, ZstdError),
)
"""Inspect's errors for a log that is damaged or cut off, or for another kind of file."""

_OUTPUTS: Final = {
    "cut_off": "cut off",
    "blocked": "blocked by the defense",
    "refusal": "marked as refusals by the provider",
    "no_answer": "no answers",
}
_FINISH: Final = "finish it with inspect eval-retry"
RUN_AGAIN: Final = "run the same command again"
"""How an unfinished run in shards is finished."""

ITS_OWN_JUDGE: Final = "its judge is its own guard model, and may miss again what that let pass"
"""A remark on a run."""


# Two runs are never equal: tables use runs as keys.
@dataclass(eq=False)
class Run:
    """A usable log with the scores of one judge.

    Attributes:
        paths: Places of its logs: one, or those of all shards in their order.
        view: Number of its judge: 0 is the first, then the appended ones.
        asked: Columns of all requested measures, scored or not.
        repeat: Number of earlier views of the log with an equal judge; tables show only the first.
        column: The conditions under which it can be compared.
        target: The evaluated model.
        target_settings: Its arguments, as text.
        defense: Name of the defense without package; `none` without one.
        defense_version: Version of its solver; empty if the log notes none.
        defense_args: Arguments that were passed to it, as text.
        template: Hash of its templates, since an argument may name only their file.
        guards: Models bound to roles other than the grader's, as text.
        judge: Judges' names (for an exact scorer its own); empty without a judge.
        note: The task's note for every table.
        created: Time of the run.
        identity: Inspect's ids of task and evaluation.
        declared: How to read its measures.
        reduced: Values by measure and sample, if there were several epochs.
        approximations: Points in which the defense differed from the faithful one.
        remarks: Further remarks for readers.
        pace: Its throughput, if the log tells it.
        latency: Seconds of each answer of a log that measures only latency: this one, or the one
            for this run; None without one.
        edited: Who edited scores later; empty if they were not edited.
        observed: Largest absolute value of each measure beyond 0 to 1 without a declared range.
        overhead_gap: Why the tally of the defense's cost is missing; empty if it is there.
        provenance: Versions and commit, for tables and baselines.
        facts: Date, versions and command, for readers, by their headings.
        answers: A row for each answer (see `Results.frame`).
        missing: A row for each answer to a sample that was left out, since its images are missing.
        part: Of a log of one shard, what a run of all shards is made of; else None.
        held: Of several logs, the one that holds each sample.
    """

    paths: tuple[str, ...]
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
    latency: tuple[float, ...] | None = None
    edited: str = ""
    observed: dict[str, float] = field(default_factory=dict)
    overhead_gap: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    repeat: int = 0
    asked: tuple[str, ...] = ()
    answers: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    missing: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    part: Part | None = None
    held: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def shard(self) -> Shard | None:
        """The part of a benchmark that its log holds; None for all of it."""
        return self.part.shard if self.part else None

    @property
    def path(self) -> str:
        """The place of its log; of several, the first."""
        return self.paths[0]

    def log_of(self, sample: str) -> str:
        """The log that holds a sample."""
        return self.held.get(sample, self.path)

    @property
    def place(self) -> str:
        """Its log; of several, the innermost folder with all of them."""
        if len(self.paths) == 1:
            return self.path
        # Also of URLs, which `os.path.commonpath` would take for paths.
        parts = [path.split("/")[:-1] for path in self.paths]
        shared = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*parts, strict=False))
        return "/".join(names[0] for names in shared) or "/"

    @property
    def counted(self) -> pd.DataFrame:
        """The answers and the missing ones: what tables count."""
        return pd.concat([self.answers, self.missing]) if len(self.missing) else self.answers

    @property
    def safe_from(self) -> float | None:
        """The grade at and above which the judge counted an answer as safe, from its scores."""
        facts = json.loads(self.column.judging) if self.column.judging else {}
        threshold = facts.get("judge", {}).get("threshold")
        return None if threshold is None else float(threshold)

    def samples(self) -> pd.DataFrame:
        """A row for each sample by its id; several epochs are reduced as Inspect did."""
        if not self.reduced:
            return self.answers.set_index("sample")
        first = self.answers.drop_duplicates("sample").set_index("sample").copy()
        for measure, values in self.reduced.items():
            first[measure] = pd.Series(values, dtype=float).reindex(first.index)
        benign = first["expected"] == "comply"
        for name, (of, on_benign) in views().items():
            if of in self.reduced:
                first[name] = first[of].where(benign == on_benign)
        return first


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


def judges_as(run: Run, before: Run) -> bool:
    """Whether all that judged a view of a log is part of an earlier view of it."""
    facts, known = (
        json.loads(each.column.judging) if each.column.judging else {} for each in (run, before)
    )
    return all(known.get(name) == fact for name, fact in facts.items())


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
    run.answers = answers
    missing, remarks = answers_without_images(opened.log)
    run.missing = pd.DataFrame(missing)
    run.remarks += remarks
    run.asked = _asked(rows, run.declared)
    run.edited = opened.seen.edits(names)
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


def guards_of(log: EvalLog) -> dict[str, list[str]]:
    """The models of the defense by role, without the judge and an attack's own."""
    return {
        role: [model_text(each) for each in bound]
        for role, bound in roles_of(log).items()
        if role not in (GRADER, ATTACKER)
    }


def judge_of(judging: Judging) -> str:
    """Names of the judges, else of the exact scorers."""
    judges = dict.fromkeys(
        f"{name} (as {facts['judge_adapter']})" if "judge_adapter" in facts else name
        for facts in judging.values()
        for name in facts.get("judges", ())
    )
    exact = [facts["scorer"] for facts in judging.values() if "scorer" in facts]
    return ", ".join(judges or exact)


def _provenance(log: EvalLog) -> dict[str, str]:
    """Versions of packages, the commit and the date."""
    spec = log.eval
    commit = spec.revision.commit if spec.revision else None
    return given({**spec.packages, "commit": commit, "created": str(spec.created)})


def on_outputs(outputs: Counter[tuple[str, str | None]]) -> list[str]:
    """How many outputs were not whole answers, and why.

    Args:
        outputs: The number of answers by kind and reason.
    """
    listed = [
        f"{count} {words}" + ("" if kind == "blocked" else f" ({reason})")
        for kind, words in _OUTPUTS.items()
        for (of, reason), count in sorted(outputs.items(), key=str)
        if of == kind
    ]
    return [f"of {outputs.total()} outputs {', '.join(listed)}"] if listed else []


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


def check_scored(answers: pd.DataFrame) -> None:
    """Refuse answers if none has a value.

    Raises:
        UnusableScores: Counts the reasons.
    """
    measures = [name for name in answers.columns if "." in str(name)]
    if bool(answers[measures].notna().to_numpy().any()):
        return
    reasons: Counter[str] = Counter()
    noted = answers["unscored"] if "unscored" in answers else [None] * len(answers)
    for unscored, error in zip(noted, answers["error"], strict=True):
        known = set(unscored.values()) if isinstance(unscored, dict) else set()
        reasons.update(known or {error or "no score"})
    listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    raise UnusableScores(f"failed: nothing of {len(answers)} answers was scored ({listed})")


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
