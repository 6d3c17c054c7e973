"""One answer of a log as a row of the frame: what it scored, and what it cost.

Three scorers have one name here, so that their values share a column: `judge`; a judge that
`inspect score --action append` added (a separate view of the log); and an exact scorer with the
judge's keys, if no judge was used. Their judging conditions differ, so two of them never share a
table.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from inspect_ai.log import EvalSample, EvalSpec
from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, PARTIAL, Score, value_to_float

from vlmguard.guard.attacks import attack_cards
from vlmguard.guard.cards import GLANCED, View, cards
from vlmguard.guard.record import output_kind
from vlmguard.guard.redaction import redact_text
from vlmguard.guard.task_options import kind_of_judge
from vlmguard.results.logs.summaries import Mark, Summary

GRADER: Final = "grader"
"""The role of the judge, which is no part of the defense, nor is an attacker's."""

_GUARD: Final = "guard_judge"

Row = dict[str, Any]
"""One answer: sample, cluster, category, scores by `scorer.key`, tally."""

Names = dict[str, str]
"""The scorers of a view, and the name of each in the frame."""

_OLDER_NAMES: Final = {"per_measure": "vote", "per_measure_any": "any_success"}

# The fields that a defense's tally must have, since other scorers may use the name `defense` too.
_TALLIED: Final = {
    *("defense", "triggered", "calls", "target_calls", "input_tokens", "output_tokens", "seconds"),
}
_GRADE: Final = value_to_float()
_LETTERS: Final = (CORRECT, PARTIAL, INCORRECT, NOANSWER)
_WORDS: Final = ("yes", "true", "no", "false")


class LeftOut(Exception):
    """A log that no table can use; the message is the reason.

    Attributes:
        unfinished: Inspect's ids of task and evaluation, if the run was interrupted or samples must
            be done again; a retry has the same task, and an evaluation of its own.
        created: Time of the run, as Inspect notes it: in whole seconds. A retry is not earlier.
    """

    def __init__(
        self, reason: str, unfinished: tuple[str, str] | None = None, created: str = ""
    ) -> None:
        super().__init__(redact_text(reason))
        self.unfinished = unfinished
        self.created = created


class UnusableScores(LeftOut):
    """Scores of one judge that cannot be used; the log's other judges are not affected."""


def bare(name: str) -> str:
    """A registered or path-loaded name without its package or file.

    Args:
        name: E.g. `vlmguard/ecso`, `solvers/ecso.py@ecso`, `ecso`.

    Returns:
        The last part: `ecso`.
    """
    last = name.rsplit("@", 1)[-1].rsplit("/", 1)[-1]
    return last.removesuffix(".py")


def reducer_name(name: str) -> str:
    """A reducer's name as older logs have it, so that they compare with new ones.

    Args:
        name: The name in a log, with or without its package.
    """
    last = bare(name)
    return _OLDER_NAMES.get(last, last)


@dataclass(frozen=True)
class _Appended:
    """A scorer that `inspect score --action append` added.

    Attributes:
        name: Its name in the log; a second scorer of a name has a number.
        base: The name without the number.
        number: Its number; scorers with one number were added together.
    """

    name: str
    base: str
    number: int


def views_of(spec: EvalSpec, summaries: list[Summary]) -> list[Names]:
    """The judges of a log: one view for the run's scorers, and one for each appended judge.

    Args:
        spec: What was run; Inspect lists appended scorers after those of the run.
        summaries: The samples.

    Returns:
        For each view its scorers and their names in the frame. The view of an appended judge has
        only its own scorers, or the others would be tested twice.
    """
    scores = {
        name: score
        for sample in summaries
        for name, score in (sample.scores or {}).items()
        if name.rstrip("0123456789") != GLANCED
    }
    listed = [bare(scorer.name) for scorer in spec.scorers or []]
    order = [name for name in dict.fromkeys([*listed, *scores]) if name in scores]
    exact = next((name for name in order if _is_judge(scores[name])), None)
    appended = _appended(spec, order, exact)
    added = {each.name for each in appended}
    first = {name: name for name in order if name not in added}
    if exact in first:
        first[exact] = "judge"
    views = [first]
    for number in sorted({each.number for each in appended}):
        together = [each for each in appended if each.number == number]
        views.append({each.name: first.get(each.base, each.base) for each in together})
    return views


def _appended(spec: EvalSpec, order: list[str], exact: str | None) -> list[_Appended]:
    """The scorers of a log that were added after its run.

    Args:
        spec: What was run.
        order: All scorers, in Inspect's order.
        exact: The first of them with the judge's keys.
    """
    # Only the run's specification shows which judge was first.
    unjudged = _judge_of(spec) in ("none", "official", "guard")
    later = "judge" in order and (unjudged or exact not in (None, "judge"))
    numbered = (re.fullmatch(r"(.*\D)(\d+)", name) for name in order)
    return [
        *([_Appended("judge", "judge", 0)] if later else []),
        *([_Appended(_GUARD, _GUARD, 0)] if _added_guard(spec, order) else []),
        *(
            _Appended(found[0], found[1], int(found[2]))
            for found in numbered
            if found and found[1] in order
        ),
    ]


def _added_guard(spec: EvalSpec, order: list[str]) -> bool:
    """Whether a judging guard came after the run, whose table must not depend on it."""
    return _GUARD in order[1:] and _judge_of(spec) != "guard"


def _judge_of(spec: EvalSpec) -> str:
    return kind_of_judge(spec.task_args.get("judge") or "all")


def rows_of(summaries: list[Summary], names: Names) -> list[Row]:
    """Each answer as a row.

    Args:
        summaries: The samples.
        names: The scorers of a view.
    """
    repeated = views()
    return [_row(sample, names, repeated) for sample in summaries]


def _row(sample: Summary, names: Names, repeated: Mapping[str, tuple[str, bool]]) -> Row:
    """One answer as a row.

    Args:
        sample: Its summary.
        names: The scorers of the view.
        repeated: The columns of `views`.

    Returns:
        The row; unknown values are NaN.
    """
    metadata = sample.metadata
    row: Row = {
        "sample": str(sample.id),
        "epoch": sample.epoch,
        # A sample without an image is its own cluster.
        "cluster": _noted(metadata, "image_id") or str(sample.id),
        "category": _noted(metadata, "category"),
        "slice": _noted(metadata, "subset"),
        "expected": _noted(metadata, "expected"),
        "error": redact_text(sample.error or ""),
    }
    row |= _scored(sample, names)
    # Refusals in two columns: of benign requests, and of all others.
    benign = row["expected"] == "comply"
    row |= {name: row[of] for name, (of, on) in repeated.items() if on == benign and of in row}
    tally = tally_of(sample)
    if tally:
        row |= _spent(tally)
    row["cost"] = _cost(sample, (tally or {}).get("cost"))
    return row


def _noted(metadata: Mapping[str, Any], name: str) -> str:
    """What a sample's metadata notes, as text (0 is a name too); empty if nothing."""
    value = metadata.get(name)
    return "" if value is None else str(value)


def _scored(sample: Summary, names: Names) -> Row:
    """Values by column, and under `unscored` the reasons for missing values."""
    row: Row = {}
    reasons: dict[str, str] = {}
    for scorer, score in (sample.scores or {}).items():
        if scorer not in names:
            continue
        unscored = (score.metadata or {}).get("unscored", {})
        for key, value in values_by_key(score).items():
            column = column_name(names[scorer], key, names)
            row[column] = value
            if key in unscored:
                reasons[column] = str(unscored[key])
            elif math.isnan(value) and score.reason:
                reasons[column] = str(score.reason)
            elif isinstance(said := _pairs(score)[key], str) and not _is_grade(said):
                reasons[column] = f"no number: {redact_text(said[:40])}"
    return {**row, "unscored": reasons} if reasons else row


def _spent(tally: dict[str, Any]) -> Row:
    """The actions and cost of the defense."""
    return {
        **{name: tally[name] for name in ("calls", "target_calls", "seconds", "triggered")},
        "failure": tally.get("failure") or "",
        # Older logs do not say it, nor do answers without a defense.
        "skipped": tally.get("skipped"),
        "outcome": tally.get("outcome") or "",
        "action": tally.get("action") or "",
        "output": output_kind(tally),
        "input_tokens": tally["input_tokens"],
        "output_tokens": tally["output_tokens"],
    }


def views() -> Mapping[str, tuple[str, bool]]:
    """Columns that repeat another one for some samples: its name, and whether these are benign."""
    return cards().views


def own_views() -> Mapping[str, View]:
    """The views on benchmarks' cards, by column: the scorer and the view's name."""
    return cards().own_views


def column_name(scorer: str, key: str, names: Names) -> str:
    """The frame's column for a key of a scorer.

    Args:
        scorer: Its name in the frame.
        key: The key.
        names: The scorers of the view.

    Returns:
        `scorer.key`; an exact scorer's `refused` takes the refusal scorer's column, if that scorer
        was not used.
    """
    if key == "refused" and scorer == "judge" and "refusal" not in names:
        return "refusal.refused"
    return f"{scorer}.{key}"


def values_by_key(score: Score | Mark) -> dict[str, float]:
    """Numbers of a score by key; a scalar's key is `value`.

    A text that stands for no number, as a label, is NaN: Inspect counts it as 0.
    """
    return {
        key: float(_GRADE(value)) if _is_grade(value) else math.nan
        for key, value in _pairs(score).items()
        if not isinstance(value, list | dict)
    }


def _pairs(score: Score | Mark) -> Mapping[str, Any]:
    return score.value if isinstance(score.value, dict) else {"value": score.value}


def _is_grade(value: Any) -> bool:
    """Whether a value is a number, or a text that Inspect takes for one."""
    if not isinstance(value, str):
        return value is not None
    if value in _LETTERS or value.strip().lower() in _WORDS:
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def tally_of(sample: EvalSample | Summary) -> dict[str, Any] | None:
    """The defense's tally, from the first score that has it."""
    for score in (sample.scores or {}).values():
        tally = (score.metadata or {}).get("defense")
        if isinstance(tally, dict) and tally.keys() >= _TALLIED:
            return tally
    return None


def digest(content: Any) -> str:
    """Identity of JSON-like content: 12 hex digits."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_judge(score: Score | Mark) -> bool:
    """Whether a score has the general judge's keys; its scorer then counts as a general judge."""
    judge = cards().measures["judge"].items()
    usual = {key for key, measure in judge if not measure.of_dialogues}
    return isinstance(score.value, dict) and score.value.keys() >= usual


def _attackers() -> set[str]:
    return {role.name for card in attack_cards().values() for role in card.roles}


def _cost(sample: Summary, tallied: float | None) -> float | None:
    """Cost of target and guard together: the total without the parts of judges and attackers.

    Inspect's total leaves out calls that its cache answered, and the tally those whose answers a
    task threw away; so the higher of the two counts.

    Args:
        sample: The sample.
        tallied: Cost by the defense's tally; None if it is not known.
    """
    prices = sample.model_costs.values()
    known = [price for price in prices if price is not None]
    if len(known) < len(prices) or (not known and tallied is None):
        return None
    beside = [sample.role_costs.get(role) for role in (GRADER, *_attackers())]
    spent = sum(known) - sum(price or 0.0 for price in beside)
    return max(spent, tallied or 0.0)
