"""A run: what was read of one log, or of those of all its shards, with the scores of one judge."""

import itertools
import json
from dataclasses import dataclass, field

import pandas as pd

from vlmguard.guard.shards import Shard
from vlmguard.results.logs.answers import views
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.declared import Declared
from vlmguard.results.logs.part import Part
from vlmguard.results.logs.timing import Pace

__all__ = ["Run", "judges_as"]


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
        edits: Number of edited scores.
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
    edits: int = 0
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

    @property
    def rank(self) -> tuple[str, int, tuple[str, ...]]:
        """Of several logs of one run the highest counts: the newest, then the most edited one."""
        return (self.created, self.edits, self.paths)

    def is_part_of(self, other: "Run") -> bool:
        """Whether it holds some of the other's samples and no further ones, as a trial does."""
        return set(self.answers["sample"]) < set(other.answers["sample"])

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


def judges_as(run: Run, before: Run) -> bool:
    """Whether all that judged a view of a log is part of an earlier view of it."""
    facts, known = (
        json.loads(each.column.judging) if each.column.judging else {} for each in (run, before)
    )
    return all(known.get(name) == fact for name, fact in facts.items())
