"""The gate's baseline: every sample's scores, with where they came from.

A JSON file (compressed if its name ends in `.gz`):

    {"format": 1, "runs": [{"benchmark": ..., "conditions": ..., "measures": ["safety", ...],
                            "samples": {"siuo/1001": ["image.png", 7.0, ...]}, ...}]}

A mistake in this file must not let a loss pass, so a baseline that is damaged, incomplete or out of
range is refused.
"""

import gzip
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from vlmguard.guard.errors import MissingFile, UserError, first_fault
from vlmguard.guard.files import read_json
from vlmguard.guard.paths import missing
from vlmguard.results.formats.writing import write_files
from vlmguard.results.logs.coverage import coverage
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import Measure, applicable, measures_of, values_of
from vlmguard.results.logs.run import Run

FORMAT: Final = 1
_VARYING: Final = ("seed",)
"""Settings in which two runs may differ and still be runs of the same thing."""

CONDITIONS: Final = ("task version", "data", "settings", "judge or templates")
"""Facts that must not have changed between a baseline and a run."""
FIXED_BY: Final = ("target", "target settings", "settings")
"""Facts that make a baseline deterministic if two runs with the same facts agree; the seed is in
them.
"""

Value = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Text = Annotated[str, Field(strict=True)]

Key = tuple[str, str, str, str]
"""Facts that distinguish a run from all others: label, target's settings, defense's arguments,
guards.
"""


@dataclass(frozen=True)
class Scores:
    """What a gate needs of one run.

    Attributes:
        benchmark: Display name of the task.
        variant: Split or track.
        target: The evaluated model.
        defense: Name of the defense.
        conditions: What must be as in the baseline (`CONDITIONS`). Settings include temperature and
            epochs; judging is judge, templates, threshold and phrases.
        judge: Names of the judges.
        failures: Share of samples in which the guard's output was unusable.
        unscored: Share of answers without a value, by measure.
        measures: Measures, in the order of the values.
        samples: Cluster and values of each sample; None where unscored.
        provenance: Guard, arguments, settings of the target, versions and date; who edited scores,
            if anybody did.
        deterministic: The settings under which two runs agreed sample by sample (`FIXED_BY`), with
            versions and the names of their logs; empty if no two runs did.
        attack: The attack as users type it; empty without one. Its version and font are among the
            settings of the conditions.
    """

    # An unknown field may be a misspelt one.
    __pydantic_config__ = ConfigDict(extra="forbid")

    benchmark: str
    variant: str
    target: str
    defense: str
    conditions: dict[str, str]
    judge: str
    failures: Share
    unscored: dict[str, Share]
    measures: list[str]
    samples: dict[str, list[Text | Value | None]]
    provenance: dict[str, str] = field(default_factory=dict)
    deterministic: dict[str, str] = field(default_factory=dict)
    attack: str = ""

    def values(self, measure: str) -> dict[str, float | None]:
        """The value of each sample in a measure; None if unscored."""
        place = 1 + self.measures.index(measure)
        return {
            sample: float(value) if isinstance(value := row[place], int | float) else None
            for sample, row in self.samples.items()
        }

    def images(self, samples: Iterable[str]) -> list[str]:
        """The image of each of some samples."""
        return [str(self.samples[sample][0]) for sample in samples]

    @property
    def label(self) -> str:
        """Name of the run in messages; other runs may share it."""
        under = f" under {self.attack}" if self.attack else ""
        named = f"{self.benchmark} {self.variant}".strip()
        return f"{named}{under}, {self.target}, {self.defense}"

    @property
    def key(self) -> Key:
        """What distinguishes the run from all others."""
        # Baselines written by older versions may lack some of these.
        settings = self.provenance.get("target_settings", "")
        noted = self.provenance
        return self.label, settings, noted.get("defense_args", ""), noted.get("guards", "")


@dataclass(frozen=True)
class Reading:
    """How to read the scores of a run.

    Attributes:
        measures: Its measures by name.
        categories: Category of each sample.
        slices: Slice of each sample.
        fixed_by: Target, its settings and those of the run (`FIXED_BY`), and versions.
        paths: Its log, or those of all its shards.
        place: The log, or the folder of its shards.
    """

    measures: dict[str, Measure]
    categories: dict[str, str]
    slices: dict[str, str] = field(default_factory=dict)
    fixed_by: dict[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    place: str = ""


def scores_of(results: Results) -> list[tuple[Scores, Reading]]:
    """The scores of every run and how to read them.

    Args:
        results: What was read.

    Returns:
        For each run its scores (by the first judge) and how to read them. Measures without a
        direction (the refusal rate, DSR) are left out: a change of them is neither gain nor loss.

    Raises:
        UserError: Two runs differ in nothing but their conditions.
    """
    found: dict[Key, tuple[Scores, Reading]] = {}
    for run in results.runs:
        if run.view:
            continue  # A judge that was added later is not a part of the run.
        samples = run.samples()
        measures = _measures(run, samples)
        scores, reading = _scores(run, samples, measures), _reading(run, samples, measures)
        if scores.key in found:
            raise UserError(
                f"{found[scores.key][0].provenance['log']} and {scores.provenance['log']} are both "
                f"{scores.label}, with other settings, data, judge, or version of task or defense: "
                f"gate one of them at a time, each with a baseline of its own."
            )
        found[scores.key] = (scores, reading)
    return list(found.values())


def read_baseline(path: Path) -> list[Scores]:
    """The scores of each run in a baseline; no two have the same key.

    Raises:
        UserError: The file does not exist, is damaged, or has another format.
    """
    anew = "Delete it and write it anew with --update."
    if not path.exists():
        raise MissingFile(f"{missing(path)} Write a baseline with --update.")
    if path.is_dir():
        raise UserError(f"{path}: a folder; --baseline takes the file that --update writes.")
    document = read_json(path, anew)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: not a baseline of format {FORMAT}. {anew}")
    try:
        runs = TypeAdapter(list[Scores]).validate_python(document.get("runs"))
    except ValidationError as error:
        where, said = first_fault(error)
        raise UserError(f"{path}: broken baseline at runs.{where} ({said}). {anew}") from error
    for scores in runs:
        if problem := _broken(scores):
            raise UserError(f"{path}: broken baseline, {scores.label}: {problem}. {anew}")
    if len({scores.key for scores in runs}) < len(runs):
        raise UserError(f"{path}: broken baseline, it holds a run twice. {anew}")
    return runs


def write_baseline(path: Path, runs: list[Scores]) -> None:
    """Write a baseline, the same bytes for the same scores.

    Args:
        path: The file; compressed if its name ends in `.gz`.
        runs: The scores to write.

    Raises:
        UserError: It cannot be written; an existing file is left unchanged.
    """
    ordered = sorted(runs, key=lambda scores: scores.key)
    lines = [json.dumps(asdict(scores), sort_keys=True, allow_nan=False) for scores in ordered]
    # One line a run, so that version control shows which run changed.
    runs_text = ",\n".join(lines)
    content = f'{{"format": {FORMAT}, "runs": [\n{runs_text}\n]}}\n'.encode()
    packed = gzip.compress(content, mtime=0) if path.suffix == ".gz" else content
    write_files(path.parent, {path.name: packed})


def _measures(run: Run, samples: pd.DataFrame) -> list[Measure]:
    """The measures of a run that a gate looks at."""
    scored = [name for name in samples.columns if samples[name].notna().any()]
    # A measure that was asked for and has no values counts too: it is wholly unscored.
    present = dict.fromkeys([*scored, *run.asked])
    return [each for each in measures_of([run], present) if each.primary and each.better]


def _scores(run: Run, samples: pd.DataFrame, measures: list[Measure]) -> Scores:
    about = {measure.name: applicable(samples, measure) for measure in measures}
    values = {
        measure.name: dict(
            zip(about[measure.name].index, values_of(about[measure.name], measure), strict=True)
        )
        for measure in measures
    }
    covered = {measure.name: coverage(run.answers, measure) for measure in measures}
    return Scores(
        benchmark=run.column.benchmark,
        variant=run.column.variant,
        target=run.target,
        defense=run.defense,
        conditions=_conditions(run),
        judge=run.judge,
        failures=_failures(run.answers),
        unscored={name: 1 - each.scored / each.of for name, each in covered.items()},
        measures=list(values),
        samples={
            str(sample): [str(cluster), *(_known(each.get(sample)) for each in values.values())]
            for sample, cluster in samples["cluster"].items()
        },
        provenance={
            **run.provenance,
            "guards": run.guards,
            # Not a condition: the gate must see what a new version made worse.
            "defense_version": run.defense_version,
            "defense_args": run.defense_args,
            "target_settings": run.target_settings,
            **({"edited": run.edited} if run.edited else {}),
            "log": _named(run.paths),
        },
        attack=run.column.under,
    )


def _named(paths: tuple[str, ...]) -> str:
    """A run's log by its name; of several, the first and how many more."""
    name, more = Path(paths[0]).name, len(paths) - 1
    return f"{name} and {more} more" if more else name


def _reading(run: Run, samples: pd.DataFrame, measures: list[Measure]) -> Reading:
    return Reading(
        measures={measure.name: measure for measure in measures},
        categories={str(sample): str(name) for sample, name in samples["category"].items()},
        slices={str(sample): str(name) for sample, name in samples["slice"].items()},
        fixed_by=_fixed_by(run),
        paths=run.paths,
        place=run.place,
    )


def _broken(scores: Scores) -> str:
    """The fault of a run whose types are right; empty without one."""
    measures, conditions = set(scores.measures), scores.conditions
    missing = [name for name in CONDITIONS if name not in conditions]
    unknown = sorted(set(conditions) - set(CONDITIONS))
    noted = set(scores.deterministic)
    faults = (
        (missing, f"its conditions lack {', '.join(missing)}"),
        (unknown, f"unknown conditions {', '.join(unknown)}"),
        *((not conditions.get(name), f"{name} is empty") for name in ("task version", "data")),
        (not 0 < len(scores.measures) == len(measures), "it has no measures, or one of them twice"),
        (
            set(scores.unscored) != measures,
            "its shares of unscored answers are not those of its measures",
        ),
        (
            noted and noted != {*FIXED_BY, "versions", "logs"},
            "it does not say in full under what it is deterministic",
        ),
        (not scores.samples, "it has no samples"),
    )
    return next((fault for found, fault in faults if found), "") or _broken_row(scores)


def _broken_row(scores: Scores) -> str:
    """The fault of the first broken row of a run's samples; empty without one."""
    length = 1 + len(scores.measures)
    for sample, row in scores.samples.items():
        if len(row) != length:
            return f"{sample} has {len(row)} entries instead of {length}"
        image, *values = row
        if not isinstance(image, str) or any(isinstance(value, str) for value in values):
            return f"{sample} must have its image first and then numbers"
    return ""


def _conditions(run: Run) -> dict[str, str]:
    settings: dict[str, Any] = json.loads(run.column.settings) if run.column.settings else {}
    kept = {name: value for name, value in settings.items() if name not in _VARYING}
    kept |= {"attack": json.loads(run.column.attack)} if run.column.attack else {}
    return {
        "task version": run.column.version,
        "data": run.column.data,
        "settings": json.dumps(kept, sort_keys=True),
        "judge or templates": run.column.judging,
    }


def _fixed_by(run: Run) -> dict[str, str]:
    versions = {
        name: version
        for name, version in run.provenance.items()
        if name not in ("commit", "created")
    }
    return {
        "target": run.target,
        "target settings": run.target_settings,
        "settings": run.column.settings + run.column.attack,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }


def _failures(answers: pd.DataFrame) -> float:
    """Share of answers with unusable output of the guard, among those that have a tally."""
    tallied = answers["failure"].dropna() if "failure" in answers else answers["sample"][:0]
    return float((tallied != "").mean()) if len(tallied) else 0.0


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
