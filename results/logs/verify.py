"""Checks the tally in the scores against the model calls in a log."""

from dataclasses import dataclass

from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalSample, read_eval_log_samples
from inspect_ai.model import ModelOutput

from vlmguard.guard.guarded_names import PROVIDER
from vlmguard.guard.record import METADATA_KEY, DefenseRecord
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.logs.answers import GRADER, tally_of
from vlmguard.results.logs.frame import Results


@dataclass
class Counted:
    """Totals over the samples of a log.

    Attributes:
        calls: Model calls.
        tokens: Tokens read and written.
        differing: Samples whose calls or tokens differ from their tally.
        of: Samples with a tally.
    """

    calls: int = 0
    tokens: int = 0
    differing: int = 0
    of: int = 0


def count_calls(*paths: str) -> Counted:
    """Count model calls without the judge's, and compare with the tallies.

    A call that Inspect answered from its cache counts, as its output keeps the usage. A call of a
    guarded model is the calls that its defense made, which have events of their own; from the cache
    there are only those in its record. What is not a model call (a classifier in the process) is
    only in the tally.

    Args:
        *paths: Logs with events.
    """
    counted = Counted()
    for path in paths:
        for sample in read_eval_log_samples(
            path, all_samples_required=False, exclude_fields={"attachments", "messages", "store"}
        ):
            _count(sample, counted)
    return counted


def _count(sample: EvalSample, counted: Counted) -> None:
    calls = tokens = 0
    for event in sample.events:
        if not isinstance(event, ModelEvent) or event.role == GRADER or event.error:
            continue
        if event.model.startswith(f"{PROVIDER}/"):
            if event.cache == "read":
                stages = _record(event.output).stages
                calls += sum(stage.calls for stage in stages)
                tokens += sum((s.input_tokens or 0) + (s.output_tokens or 0) for s in stages)
            continue
        calls += 1
        if event.output.usage:
            tokens += event.output.usage.input_tokens + event.output.usage.output_tokens
    counted.calls += calls
    counted.tokens += tokens
    if tally := tally_of(sample):
        counted.of += 1
        noted = [tally["input_tokens"], tally["output_tokens"]]
        same = tally["calls"] == calls and (None in noted or sum(noted) == tokens)
        counted.differing += not same


def _record(output: ModelOutput) -> DefenseRecord:
    metadata = output.message.metadata if output.choices else None
    return DefenseRecord.model_validate((metadata or {}).get(METADATA_KEY, {}))


def verify_sheet(results: Results) -> Sheet:
    """Calls and tokens of each run: by its tallies, and counted from its events."""
    sheet = Sheet(
        "Cost checked against the recorded model calls",
        [
            *("Target", "Defense", "Benchmark", "Calls tallied", "counted"),
            *("Tokens tallied", "counted", "Samples that differ"),
        ],
        [],
        labels=3,
        notes=["A classifier that runs in the process is tallied and is no model call."],
    )
    for run in results.runs:
        rows = run.answers
        counted = count_calls(*run.paths)
        title = run.column.heading
        # A failed answer has no tally.
        tallied = rows[rows["calls"].notna()] if "calls" in rows else rows[:0]
        untallied = len(rows) - len(tallied)
        tokens = None
        if len(tallied):
            tokens = tallied["input_tokens"] + tallied["output_tokens"]
            if untallied:
                sheet.notes.append(
                    f"{run.target}, {run.defense}, {title}: "
                    f"{untallied} of {len(rows)} answers without a tally."
                )
        sheet.rows.append(
            [
                run.target,
                run.defense,
                title,
                f"{tallied['calls'].sum():.0f}" if len(tallied) else "-",
                str(counted.calls),
                f"{tokens.sum():.0f}" if tokens is not None and tokens.notna().all() else "-",
                str(counted.tokens),
                f"{counted.differing} of {counted.of}",
            ]
        )
    return sheet
