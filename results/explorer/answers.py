"""Single samples of a log as a page shows them: plain lists and texts, ready for JSON."""

import math
from collections.abc import Mapping
from typing import Any, Final

from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage
from inspect_ai.scorer import Score

from vlmguard.guard.attacks import ATTACK
from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord, output_kind
from vlmguard.guard.redaction import redact_text
from vlmguard.results.explorer.images import Pictures
from vlmguard.results.explorer.texts import shown_text
from vlmguard.results.logs.answers import Names, column_name, tally_of, values_by_key, views
from vlmguard.results.logs.attack import tries_of
from vlmguard.results.logs.causes import cause_of_sample
from vlmguard.results.logs.measures import Measure, common_measures

__all__ = ["answer_of", "measures_by_column", "request_of"]

_KINDS: Final = {
    "blocked": "blocked by the defense",
    "refusal": "marked as a refusal by the provider",
    "no_answer": "no answer",
    "cut_off": "cut off",
}
_ACTS: Final = {"rewrite": "rewrote the request", "regenerate": "had it answered anew"}


def request_of(sample: EvalSample, pictures: Pictures) -> dict[str, Any]:
    """What the user asked, with the files of its pictures."""
    sources = images_of(sample.input)
    return {
        "request": shown_text(_said(sample.input)),
        "images": pictures.of(sources),
        "pictures": len(sources),
    }


def answer_of(
    sample: EvalSample, names: Names, measures: Mapping[str, Measure], pictures: Pictures | None
) -> dict[str, Any]:
    """What became of a sample in one run.

    Args:
        sample: The sample, with its pictures.
        names: The scorers of the run's view, and their names in the frame.
        measures: The measures of its table by column.
        pictures: Of an attacked run, takes what was sent; None without an attack.
    """
    record = DefenseRecord.of(sample)
    asked = _said(sample.input)
    sent, images = (asked, []) if pictures is None else _sent(sample, record)
    changed = images != images_of(sample.input)
    rewritten = record.rewritten or ""
    return {
        "epoch": sample.epoch,
        "sent": shown_text(sent) if sent != asked or (pictures and changed) else "",
        "images": pictures.of(images) if pictures is not None and changed else [],
        "rewritten": shown_text(rewritten) if rewritten not in (sent, asked) else "",
        "added": shown_text(record.added),
        "answer": shown_text(sample.output.completion),
        "did": [shown_text(each) for each in _did(sample, record)],
        "verdicts": [
            _verdict(scorer, score, names, measures)
            for scorer, score in (sample.scores or {}).items()
            if scorer in names
        ],
        "error": shown_text(redact_text(cause_of_sample(sample))),
    }


def _said(messages: str | list[ChatMessage]) -> str:
    """A request as text; of a conversation with who said what."""
    if isinstance(messages, str):
        return messages
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _sent(sample: EvalSample, record: DefenseRecord) -> tuple[str, list[str]]:
    """What an attack made of the request: text and pictures of the last turn of the user."""
    turns = [message for message in sample.messages if message.role == "user"]
    if not turns:
        return record.original, []
    text = record.original if record.defense != "none" and record.original else turns[-1].text
    return text, images_of(turns[-1:])


def _did(sample: EvalSample, record: DefenseRecord) -> list[str]:
    """What the defense did and what kind the output is, in a few words each."""
    tally = tally_of(sample) or {}
    kind = output_kind(tally)
    reason = tally.get("output_reason")
    told = _KINDS.get(kind, "")
    found = [f"{told} ({reason})" if told and reason and kind != "blocked" else told]
    if record.action not in ("", "pass", "block"):
        found.append(_ACTS.get(record.action, record.action))
    if record.triggered and record.action in ("", "pass"):
        found.append("intervened")
    found += [f"outcome: {record.outcome}"] if record.outcome else []
    found += [f"its guard failed: {record.failure}"] if record.failure else []
    found += [f"did not look: {record.skipped}"] if record.skipped else []
    verdict = record.verdict.label if record.verdict is not None else None
    found += [f"guard says {verdict}"] if verdict else []
    made = sample.metadata.get(ATTACK)
    tries = tries_of(made) if isinstance(made, Mapping) else {}
    if tries.get("tries") and tries.get("kept") is not None:
        found.append(f"try {tries['kept'] + 1} of {len(tries['tries'])} counts")
    return [each for each in found if each]


def _verdict(
    scorer: str, score: Score, names: Names, measures: Mapping[str, Measure]
) -> dict[str, Any]:
    """A scorer's values, each as label, text and tone (`good`, `bad` or empty), and its reason."""
    unscored = (score.metadata or {}).get("unscored", {})
    lines = []
    for key, value in values_by_key(score).items():
        column = column_name(names[scorer], key, names)
        measure = measures.get(column)
        if math.isnan(value):
            why = unscored.get(key) or score.reason or "no value"
            lines.append([_label(key, measure), shown_text(f"not scored: {why}"), ""])
        else:
            lines.append([_label(key, measure), _text(value, measure), _tone(value, measure)])
    why = score.explanation or ""
    return {"scorer": shown_text(scorer), "lines": lines, "why": shown_text(why)}


def _label(key: str, measure: Measure | None) -> str:
    named = key.replace("_", " ")
    if measure is not None:
        # The unit and the range stand with the value.
        named = measure.label.removesuffix(" %").removesuffix(" 0-10")
    return shown_text(named).capitalize() if named.islower() else shown_text(named)


def _text(value: float, measure: Measure | None) -> str:
    # A mean of several things may be 0 or 1 by chance: it is no verdict.
    verdict = measure is not None and measure.is_share and measure.reduce != "mean"
    if verdict and value in (0.0, 1.0):
        return "yes" if value else "no"
    if measure is not None and not measure.unbounded and measure.highest > 1:
        return f"{value:g} of {measure.highest:g}"
    return f"{value:g}"


def _tone(value: float, measure: Measure | None) -> str:
    """Only of verdicts: a grade has no good end of its own."""
    if measure is None or not measure.better or value not in (0.0, 1.0) or not measure.is_share:
        return ""
    return "good" if (value == 1.0) == (measure.better > 0) else "bad"


def measures_by_column(measures: list[Measure]) -> dict[str, Measure]:
    """The measures of a table by their columns, and the common ones that it does not show."""
    common = {measure.column: measure for measure in common_measures().values()}
    # What tables show of some samples alone is a verdict on each of all; it has no direction.
    whole = {
        of: Measure(column=of, name=key, label=key.replace("_", " "), highest=1.0, better=0)
        for of, _ in views().values()
        for key in [of.partition(".")[2]]
    }
    # A half of the samples shares its column with the measure of all, which each verdict is of.
    return whole | common | {each.column: each for each in measures if not each.benign}
