"""Finds logs that cannot be trusted: damaged, incomplete, mixed, or edited.

Tables use summaries, which do not tell the number of whole samples, or people's changes. So the
bytes of the samples are searched, and only changed samples are decoded: this is fast for hundreds
of logs.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd
from inspect_ai.log import EvalLog

from vlmguard.guard.record import DATA_DIGEST
from vlmguard.guard.redaction import redact_text
from vlmguard.results.logs.answers import LeftOut, UnusableScores, tally_of
from vlmguard.results.logs.archive import LogFile
from vlmguard.results.logs.summaries import Summary
from vlmguard.results.logs.unfinished import Key

_NUMBERS: Final = ("calls", "target_calls", "input_tokens", "output_tokens", "seconds")
_WORDS: Final = ("failure", "outcome", "action", "skipped")
# A text would have escaped quotes, so it does not match; metadata may use the names for something
# else. To search for two patterns that begin with letters is ten times faster than for one with a
# choice.
_EDITED: Final = re.compile(rb'history":\s*\[\s*\{')
_INVALIDATED: Final = re.compile(rb'invalidation":\s*\{')


@dataclass
class Touched:
    """What people did to a log.

    Attributes:
        count: Number of whole samples in it.
        invalidated: By id and epoch of each invalidated sample: by whom, and why.
        edited: By scorer, then by who edited scores and why: the number of answers.
    """

    count: int = 0
    invalidated: dict[Key, str] = field(default_factory=dict)
    edited: dict[str, Counter[str]] = field(default_factory=dict)

    def edits(self, scorers: Iterable[str]) -> str:
        """A remark on edited scores of some scorers; empty if none was edited."""
        return "; ".join(
            f"{scorer}: {count} of {self.count} edited by {who}"
            for scorer in scorers
            for who, count in sorted(self.edited.get(scorer, {}).items())
        )

    def number(self, scorers: Iterable[str]) -> int:
        """The number of edited scores of some scorers."""
        return sum(self.edited.get(scorer, Counter()).total() for scorer in scorers)


def check_kinds(summaries: list[Summary]) -> None:
    """Refuse scores with metadata that no scorer writes: logs may be edited, or made elsewhere.

    Raises:
        LeftOut: Names sample, scorer and field.
    """
    for sample in summaries:
        for scorer, score in (sample.scores or {}).items():
            metadata = score.metadata or {}
            fits = {
                "judges": _are_texts(metadata.get("judges", [])),
                "threshold": _is_number(metadata.get("threshold", 0.0)),
                "unscored": isinstance(metadata.get("unscored", {}), dict),
            }
            for name, good in fits.items():
                if not good:
                    raise LeftOut(
                        f"sample {sample.id}: {name} of {scorer} is {str(metadata[name])[:60]!r}, "
                        f"which no scorer writes; score it again with inspect score"
                    )
        tally = tally_of(sample) or {}
        numbers = [tally[name] for name in _NUMBERS if tally.get(name) is not None]
        words = [tally.get(name) or "" for name in _WORDS]
        if not (
            all(map(_is_number, numbers))
            and _are_texts(words)
            and _are_texts(tally.get("approximations", []))
        ):
            raise LeftOut(f"sample {sample.id}: its tally of the defense holds what is no figure")


def check_one_version(summaries: list[Summary]) -> None:
    """Refuse a log whose run continued after a file had changed under the same name.

    `conditions.judging_of` compares the conditions of its scorers.

    Raises:
        LeftOut: Samples have different versions of a solver, different prompts, or different data.
    """
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    # A defense that failed before it read its prompts notes no version of them.
    prompts = {str(tally["template"]) for tally in tallies if tally.get("template")}
    data = {
        str(sample.metadata[DATA_DIGEST]) for sample in summaries if DATA_DIGEST in sample.metadata
    }
    for what, found, cause in (
        ("defense", versions_of(tallies), "vlmguard was"),
        ("prompts of its defense", prompts, "a file was"),
        ("data", data, "a file was"),
    ):
        if len(found) > 1:
            listed = ", ".join(each or "none noted" for each in sorted(found))
            raise LeftOut(
                f"its samples ran under {len(found)} versions of the {what} ({listed}): {cause} "
                f"changed before the run went on; run it again in a folder of its own"
            )


def versions_of(tallies: list[dict[str, Any]]) -> set[str]:
    """Versions of the defense, from the tallies of samples; an empty text if none was noted."""
    return {str(tally.get("version", "")) for tally in tallies if tally["defense"] != "none"}


def touched(log: LogFile) -> Touched:
    """Search the samples of a log for people's changes."""
    found = Touched()
    for raw in log.samples():
        found.count += 1
        if not (_EDITED.search(raw) or _INVALIDATED.search(raw)):
            continue
        sample = json.loads(raw)
        if sample.get("invalidation"):
            who = _who(sample["invalidation"])
            found.invalidated[sample["id"], sample["epoch"]] = f"invalidated by {who}"
        for scorer, score in (sample.get("scores") or {}).items():
            editors = {_who(edit.get("provenance") or {}) for edit in _edits(score)}
            found.edited.setdefault(scorer, Counter()).update(editors)
    return found


def check_whole(log: EvalLog, summaries: list[Summary], seen: Touched) -> None:
    """Refuse a log in which a summary or a whole sample is missing or occurs twice.

    Args:
        log: The header.
        summaries: The summaries of its samples.
        seen: What the whole samples showed.

    Raises:
        LeftOut: Samples are missing or occur twice.
    """
    counts = Counter((str(sample.id), sample.epoch) for sample in summaries)
    twice = [f"{sample}, epoch {epoch}" for (sample, epoch), n in counts.items() if n > 1]
    if twice:
        raise LeftOut(f"it holds several answers to {twice[0]} ({len(twice)} such samples)")
    of = max(_due(log), len(summaries))
    there = min(seen.count, len(summaries))
    if there < of or not there:
        raise LeftOut(f"it holds {there or 'no'} {f'of its {of} ' if of else ''}samples")


def _due(log: EvalLog) -> int:
    """The number of answers that a log should hold.

    Inspect counts them anew from those that are there when somebody edits a score, so the samples
    that the run chose count too, unless it was to stop early.
    """
    total = log.results.total_samples if log.results else 0
    if log.results and log.results.early_stopping:
        return total
    return max(total, len(log.eval.dataset.sample_ids or ()) * (log.eval.config.epochs or 1))


def _edits(score: dict[str, Any]) -> list[dict[str, Any]]:
    """A score's edits; the first entry of its history is the scorer's own, without an author."""
    history = score.get("history") or []
    return [edit for number, edit in enumerate(history) if number or edit.get("provenance")]


def _who(provenance: dict[str, Any]) -> str:
    author, reason = provenance.get("author") or "somebody unnamed", provenance.get("reason")
    return redact_text(f"{author}: {reason}" if reason else str(author))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


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
