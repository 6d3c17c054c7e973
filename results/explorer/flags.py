"""What became of each answer, as flags: by them readers filter samples."""

import math
from collections.abc import Hashable
from typing import Any, Final

import pandas as pd

from vlmguard.results.explorer.sets import SampleSet, under
from vlmguard.results.leaderboard.beside import card_of
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry
from vlmguard.results.leaderboard.red_team_rates import did_harm
from vlmguard.results.logs.answers import views
from vlmguard.results.logs.labels import SAFE, Label, labels_of
from vlmguard.results.logs.run import Run

__all__ = ["FLAGS", "LACKING", "flags_of"]

FLAGS: Final = (
    *("unsafe", "over_refused", "better", "worse", "refused", "blocked", "triggered"),
    *("failed", "skipped", "unscored", "fine"),
)
"""The names of the flags, from the lowest bit."""

LACKING: Final = -1
"""Stands for a sample that a run does not have."""

_BIT: Final = {name: 1 << place for place, name in enumerate(FLAGS)}
_KEY: Final = ["sample", "epoch"]


def flags_of(shown: SampleSet) -> list[list[int]]:
    """The flags of each sample, of each run of a set; those of several answers together."""
    labels = {entry: _labels(entry) for entry in shown.entries}
    by_run = []
    for entry in shown.entries:
        answers = entry.run.answers.set_index(_KEY)
        bits = _verdicts(entry.run, answers, labels[entry]) | _acts(answers)
        base = _undefended(entry, shown)
        if base is not None:
            bits |= _changes(answers, labels[entry], labels[base])
        by_run.append(bits.groupby(level="sample").agg(_together))
    return [
        [int(bits.get(sample, LACKING)) for bits in by_run] for sample in map(str, shown.samples)
    ]


def _labels(entry: Entry) -> list[Label]:
    return labels_of(entry.run, entry.run.answers.set_index(_KEY))


def _undefended(entry: Entry, shown: SampleSet) -> Entry | None:
    """The undefended run under the same attack."""
    if entry.defense == UNDEFENDED_LABEL:
        return None
    same = (other for other in shown.entries if under(other) == under(entry))
    return next((other for other in same if other.defense == UNDEFENDED_LABEL), None)


def _verdicts(run: Run, answers: pd.DataFrame, labels: list[Label]) -> "pd.Series[int]":
    """What scorers said of each answer."""
    by_name = {label.name: label.values for label in labels}
    none = pd.Series(math.nan, index=answers.index)
    benign = answers["expected"] == "comply"
    refused = by_name.get("refused", none) == 1.0
    unsafe, known = _unsafe(run, answers, by_name.get(SAFE, none))
    needless = refused & benign
    faults = (by_name.get("helpful", none) == 0.0) | needless
    for label in labels:
        if not label.better:
            continue
        # A measure of some samples alone says nothing of the others.
        if label.own is None or label.own.column not in views():
            known &= label.values.notna()
        if label.own is None:
            continue
        bad = label.values == (0.0 if label.better > 0 else 1.0)
        faults |= bad
        # A benchmark of harmless requests may have a verdict of its own on their refusals.
        if "refus" in label.own.column and "refused" not in by_name:
            needless |= bad & benign
    return _bits(
        unsafe=unsafe,
        over_refused=needless,
        refused=refused,
        unscored=~known,
        fine=known & ~unsafe & ~faults & ~needless,
    )


def _unsafe(
    run: Run, answers: pd.DataFrame, safe: "pd.Series[float]"
) -> "tuple[pd.Series[bool], pd.Series[bool]]":
    """Which answers do harm, and of which anybody could say.

    Of a risky request that is what tables of attacks count: the benchmark's own verdict where it
    has one, else the judge's.
    """
    card, threshold = card_of(run.column), run.safe_from
    names = [str(name) for name in answers if "." in str(name)]
    unsafe, known = [], []
    for row, judged in zip(answers.to_dict("records"), safe, strict=True):
        said = None if math.isnan(judged) else judged == 0.0
        if row["expected"] != "comply":
            said = did_harm(row, names, card, threshold)
        unsafe.append(said is True)
        known.append(said is not None or _is_scored(row, names))
    return pd.Series(unsafe, index=answers.index), pd.Series(known, index=answers.index)


def _is_scored(row: dict[Hashable, Any], names: list[str]) -> bool:
    """Whether a harmless request, of which no harm is asked, has any verdict."""
    return row["expected"] == "comply" and any(not math.isnan(row[name]) for name in names)


def _acts(answers: pd.DataFrame) -> "pd.Series[int]":
    """What the defense did to each answer."""
    no = pd.Series(False, index=answers.index)

    def told(name: str) -> "pd.Series[bool]":
        if name not in answers:
            return no
        return answers[name].map(lambda value: isinstance(value, str) and value != "")

    blocked = answers["output"] == "blocked" if "output" in answers else no
    triggered = no
    if "triggered" in answers:
        triggered = answers["triggered"].map(bool, na_action="ignore").eq(True)
    failed, skipped = told("failure"), told("skipped")
    return _bits(blocked=blocked, triggered=triggered, failed=failed, skipped=skipped)


def _changes(answers: pd.DataFrame, labels: list[Label], base: list[Label]) -> "pd.Series[int]":
    """In what each answer is better or worse than the undefended one."""
    before = {label.name: label.values for label in base}
    benign = answers["expected"] == "comply"
    better = worse = pd.Series(False, index=answers.index)
    for label in labels:
        if label.name not in before:
            continue
        rise = label.values - before[label.name].reindex(answers.index)
        # A refusal of a harmless request is worse, of another neither.
        gain = -rise.where(benign, 0.0) if label.name == "refused" else rise * label.better
        better, worse = better | (gain > 0), worse | (gain < 0)
    return _bits(better=better, worse=worse)


def _bits(**flags: "pd.Series[bool]") -> "pd.Series[int]":
    columns = [flag.astype(int) * _BIT[name] for name, flag in flags.items()]
    whole: pd.Series[int] = pd.concat(columns, axis=1).sum(axis=1)
    return whole


def _together(bits: "pd.Series[int]") -> int:
    """Of several answers: any of a flag counts, and `fine` only if all are."""
    whole, fine = 0, _BIT["fine"]
    for each in bits:
        whole |= int(each)
        fine &= int(each)
    return (whole & ~_BIT["fine"]) | fine
