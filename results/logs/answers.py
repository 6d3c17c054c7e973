"""One answer of a log as a row of the frame: what it scored, and what it cost.

Three scorers go by one name here, so that their values stand in one column:
`judge`; a judge that `inspect score --action append` added (a view of its own
on the log); and an exact scorer with the judge's keys, where no judge was used.
What they judged with is kept apart: two of them never share a table.
"""

import hashlib
import json
import math
import re
from typing import Any, Final

from inspect_ai.log import EvalSample, EvalSampleSummary, EvalSpec
from inspect_ai.scorer import Score, value_to_float

from vlmguard.guard.redaction import redact_text

GENERAL: Final = ("judge", "refusal", "refusal_with_prefix")
"""Scorers that every task offers; all others are a benchmark's own."""

GRADER: Final = "grader"
"""The role of the judge: the only one that is no part of the defense."""

Row = dict[str, Any]
"""One answer: sample, cluster, category, scores by `scorer.key`, tally."""

Names = dict[str, str]
"""The scorers of a view, and the name that each goes by."""

Judging = dict[str, dict[str, Any]]
"""For each scorer what it judged with."""

# What the general judge says; whoever says the same is one.
_JUDGE_KEYS: Final = {"safety", "helpful", "safe_and_helpful"}
# What scorers note about how they judged.
_JUDGING: Final = ("judges", "threshold", "keywords_hash")
_TEMPLATE: Final = "judge_template"
# What the tally of a defense holds at least; other scorers may mean something else by the name.
_TALLIED: Final = {
    *("defense", "triggered", "calls", "target_calls", "input_tokens", "output_tokens", "seconds"),
}
_GRADE: Final = value_to_float()


class LeftOut(Exception):
    """A log that no table can use; the message is the reason.

    Attributes:
        unfinished: Inspect's id of the task, if the log is a run that was cut off or
            whose samples must be done again: a retry carries the same.
        created: When it was run, as Inspect notes it: a retry is younger.
    """

    def __init__(self, reason: str, unfinished: str = "", created: str = "") -> None:
        super().__init__(redact_text(reason))
        self.unfinished = unfinished
        self.created = created


def bare(name: str) -> str:
    """A registered or path-loaded name without its package or file.

    Args:
        name: E.g. `vlmguard/ecso`, `solvers/ecso.py@ecso`, `ecso`.

    Returns:
        The last part: `ecso`.
    """
    last = name.rsplit("@", 1)[-1].rsplit("/", 1)[-1]
    return last.removesuffix(".py")


def views_of(spec: EvalSpec, summaries: list[EvalSampleSummary]) -> list[Names]:
    """The judges of a log: one view for the scorers of the run, one for each that was appended.

    Args:
        spec: What was run; Inspect lists appended scorers after those of the run.
        summaries: The samples.

    Returns:
        For each view the scorers in it and the names they go by. Those of an
        appended judge are its own alone, or the rest would be tested twice.
    """
    scores = {name: score for sample in summaries for name, score in (sample.scores or {}).items()}
    listed = [bare(scorer.name) for scorer in spec.scorers or []]
    order = [name for name in dict.fromkeys(listed) if name in scores]
    order += [name for name in scores if name not in order]
    exact = next((name for name in order if _is_judge(scores[name])), None)
    # A second scorer of a name is numbered; a first judge can only be told from what was run.
    unjudged = spec.task_args.get("judge") in ("none", "official")
    later = "judge" in scores and (unjudged or exact not in (None, "judge"))
    appended = {"judge": ("judge", 0)} if later else {}
    appended |= {
        name: (found[1], int(found[2]))
        for name in order
        if (found := re.fullmatch(r"(.*\D)(\d+)", name)) and found[1] in scores
    }
    first = {name: name for name in order if name not in appended}
    if exact in first:
        first[exact] = "judge"
    views = [first]
    for number in sorted({number for _, number in appended.values()}):
        here = {name: base for name, (base, place) in appended.items() if place == number}
        views.append({name: first.get(base, base) for name, base in here.items()})
    return views


def row_of(sample: EvalSampleSummary, names: Names) -> Row:
    """One answer as a row.

    Args:
        sample: Its summary.
        names: The scorers to look at.

    Returns:
        The row; a value that is not known is NaN.
    """
    metadata = sample.metadata
    row: Row = {
        "sample": str(sample.id),
        "epoch": sample.epoch,
        # A sample without an image is a cluster of its own.
        "cluster": str(metadata.get("image_id") or sample.id),
        "category": str(metadata.get("category") or ""),
        "slice": str(metadata.get("subset") or ""),
        "expected": str(metadata.get("expected") or ""),
        "error": redact_text(sample.error or ""),
    }
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
    if reasons:
        row["unscored"] = reasons
    benign = row["expected"] == "comply"
    if (refused := row.get("refusal.refused")) is not None:
        row["over_refusal" if benign else "dsr"] = refused
    if not benign and (refused := row.get("refusal_with_prefix.refused")) is not None:
        row["dsr_with_prefix"] = refused
    if tally := tally_of(sample):
        row |= {name: tally[name] for name in ("calls", "target_calls", "seconds", "triggered")}
        row["failure"] = tally.get("failure") or ""
        row["outcome"] = tally.get("outcome") or ""
        row["output"] = tally.get("output") or "answer"
        row["input_tokens"] = tally["input_tokens"]
        row["output_tokens"] = tally["output_tokens"]
    row["cost"] = _cost(sample)
    return row


def column_name(scorer: str, key: str, names: Names) -> str:
    """The frame's column for a key of a scorer.

    Args:
        scorer: The name it goes by.
        key: The key.
        names: The scorers of the view.

    Returns:
        `scorer.key`; an exact scorer's `refused` is the refusal scorer's, if
        that was not used.
    """
    if key == "refused" and scorer == "judge" and "refusal" not in names:
        return "refusal.refused"
    return f"{scorer}.{key}"


def values_by_key(score: Score) -> dict[str, float]:
    """Numbers of a score by key; a scalar's key is `value`."""
    pairs = score.value if isinstance(score.value, dict) else {"value": score.value}
    return {
        key: math.nan if value is None else float(_GRADE(value))
        for key, value in pairs.items()
        if not isinstance(value, list | dict)
    }


def tally_of(sample: EvalSample | EvalSampleSummary) -> dict[str, Any] | None:
    """The defense's tally, from the first score that carries it."""
    for score in (sample.scores or {}).values():
        tally = (score.metadata or {}).get("defense")
        if isinstance(tally, dict) and tally.keys() >= _TALLIED:
            return tally
    return None


def judging_of(summaries: list[EvalSampleSummary], names: Names) -> Judging:
    """What each scorer of a view judged with.

    Args:
        summaries: The samples.
        names: The scorers of the view.

    Returns:
        For each scorer what its scores state; one that was not judged at all (no
        answer, nothing to compare with) may state nothing.

    Raises:
        LeftOut: Two samples (of one category, as far as prompts go) state different things.
    """
    found: Judging = {}
    # A benchmark may put another question in each category (MM-SafetyBench does).
    templates: dict[str, dict[str, str]] = {}
    for sample in summaries:
        category = str(sample.metadata.get("category") or "")
        for scorer, score in (sample.scores or {}).items():
            if scorer not in names:
                continue
            known = names[scorer]
            metadata = score.metadata or {}
            facts: dict[str, Any] = {name: metadata[name] for name in _JUDGING if name in metadata}
            if known == "judge" and not scorer.startswith("judge"):
                facts["scorer"] = scorer
            stated = found.setdefault(known, {})
            same = all(stated.setdefault(name, fact) == fact for name, fact in facts.items())
            if _TEMPLATE in metadata:
                template = metadata[_TEMPLATE]
                here = templates.setdefault(known, {})
                same = same and here.setdefault(category, template) == template
            if not same:
                raise LeftOut(f"its samples were scored by {scorer} in different ways")
    for known, by_category in templates.items():
        several = len(set(by_category.values())) > 1
        one = digest(by_category) if several else next(iter(by_category.values()))
        found[known][_TEMPLATE] = one
    return dict(sorted(found.items()))


def digest(content: Any) -> str:
    """Identity of JSON-like content: 12 hex digits."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_judge(score: Score) -> bool:
    return isinstance(score.value, dict) and score.value.keys() >= _JUDGE_KEYS


def _cost(sample: EvalSampleSummary) -> float | None:
    """Money for target and guard together: everything less the judge's share."""
    prices = [usage.total_cost for usage in sample.model_usage.values()]
    judged = sample.role_usage.get(GRADER)
    known = [price for price in prices if price is not None]
    if not known or len(known) < len(prices):
        return None
    return sum(known) - ((judged.total_cost or 0.0) if judged else 0.0)
