"""What a defense did to a sample: the record in its metadata, and the sums in its scores."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

from inspect_ai.log import EvalSample
from inspect_ai.model import ModelOutput
from inspect_ai.solver import TaskState
from pydantic import BaseModel, Field

from vlmguard.guard.decision import Verdict
from vlmguard.guard.dialogue import answers_of
from vlmguard.guard.model_calls import calls_before_scoring
from vlmguard.guard.text.blocks import BLOCKED
from vlmguard.guard.text.outputs import read_output

__all__ = [
    "ANSWER_DIGEST",
    "CALL_KEY",
    "DATA_DIGEST",
    "LEFT_OUT",
    "METADATA_KEY",
    "DefenseRecord",
    "Stage",
    "answer_digest",
    "noted",
    "output_kind",
    "recorded",
]

METADATA_KEY: Final = "defense_record"
"""The key of the `DefenseRecord` in the metadata of a sample, or of a single answer."""

CALL_KEY: Final = "defense_call"
"""The key, beside the record in an answer's metadata, of the call that all its choices share."""

DATA_DIGEST: Final = "data_digest"
"""The key of the identity of a sample's data in its metadata."""

LEFT_OUT: Final = "left_out"
"""The key, in the provenance of a task's data, of what is known of samples without their images."""

_COSTS: Final = ("calls", "target_calls", "input_tokens", "output_tokens", "seconds", "cost")

ANSWER_DIGEST: Final = "answer_digest"
"""The key of the digest of the whole scored answer in a score's metadata."""


class Stage(BaseModel):
    """One step of a defense: a model call, or several of the same kind.

    Attributes:
        name: What the step is for (`rewrite`, `answer`, `harm_check`, ...).
        role: Who ran it (`target`, `rewriter`, `detector`, ...).
        output: Raw text of the output (a score's digits for a classifier).
        calls: Number of calls.
        input_tokens: Tokens read; None if the provider does not report them.
        output_tokens: Tokens written; None if the provider does not report them.
        seconds: Time in the calls; None if the provider does not report it.
        cost: What the calls cost in US dollars, or would have if Inspect's cache had not answered;
            None if no price is known, 0 for what runs here.
    """

    name: str
    role: str
    output: str
    calls: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    cost: float | None = None

    @classmethod
    def of(cls, name: str, output: ModelOutput, role: str, **more: Any) -> Self:
        """The step of a model call, with the figures of its output.

        Args:
            name: What the call was for.
            output: The call's output.
            role: Role of the model that was called.
            **more: Further fields of a subclass.
        """
        usage = output.usage
        return cls(
            name=name,
            role=role,
            output=output.completion,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            seconds=output.time,
            cost=usage.total_cost if usage else None,
            **more,
        )


class DefenseRecord(BaseModel):
    """The trace of a defense on one sample.

    It is kept in the sample's metadata and not in its store, which Inspect would log three times
    (as events of the solver and of all solvers, and in the sample). These events alone take more
    time than everything else that a defense does around its calls.

    Attributes:
        defense: Name of the solver; `none` if no defense ran.
        version: Version of the solver, as of a task; empty if it states no version.
        original: The user's request.
        rewritten: The request that the target got instead, if a defense changed its meaning.
        added: System text that a defense put before the conversation; empty without any.
        action: What it decided: `pass`, `rewrite`, `block` or `regenerate`; empty without one.
        triggered: Whether the defense intervened.
        skipped: Why it looked at neither request nor answer (`tool_turn`, ...), or not at an answer
            of tool calls (`tool_call`); empty if it looked.
        verdict: The guard's verdict, if it gives one.
        stages: Every call in order, the target's answers included.
        outcome: The kind of the guard's reply, or what came of it (the rewriter's: `copied`,
            `rewritten`, `refused`, `unusable`, `gated` where its gate let the request pass; of
            `policy_route` the action; other defenses name theirs in their docstrings), which tables
            count; empty if the defense does not count kinds.
        failure: Why the guard's output could not be used, if so.
        approximations: Points in which this run differs from the faithful defense.
        kept_prefix: Words that the defense put before the answer (ETA's);
            keyword scorers leave them out.
        template: Hash of the templates that were used.
        notes: Figures and remarks of the defense (scores, placement, ...).
    """

    defense: str = "none"
    version: str = ""
    original: str = ""
    rewritten: str | None = None
    added: str = ""
    action: str = ""
    triggered: bool = False
    skipped: str = ""
    verdict: Verdict | None = None
    stages: list[Stage] = Field(default_factory=list)
    outcome: str = ""
    failure: str | None = None
    approximations: list[str] = Field(default_factory=list)
    kept_prefix: str = ""
    template: str = ""
    notes: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, sample: TaskState | EvalSample) -> "DefenseRecord":
        """The record of a sample, while it runs or from its log; `none` if no defense ran.

        A solver's record is in the sample's metadata. A defense around the model (`guarded/`) may
        have run several times, in a dialogue or for an agent; the records in its answers are
        joined into one, see `joined`.
        """
        if METADATA_KEY in sample.metadata:
            return cls.model_validate(sample.metadata[METADATA_KEY])
        return cls.joined(cls.of_calls(sample))

    @classmethod
    def of_calls(cls, sample: TaskState | EvalSample) -> list["DefenseRecord"]:
        """The records of all calls of a guarded model whose answers are in a sample, in order."""
        noted: dict[str, Any] = {}
        chosen = [sample.output.message] if sample.output.choices else []
        for message in (*sample.messages, *chosen):
            metadata = message.metadata or {}
            if METADATA_KEY in metadata:
                noted.setdefault(metadata[CALL_KEY], metadata[METADATA_KEY])
        return [cls.model_validate(record) for record in noted.values()]

    @classmethod
    def joined(cls, records: Sequence["DefenseRecord"]) -> "DefenseRecord":
        """One record of several calls of the same defense.

        All stages in order; texts of the calls that were looked at, one after another; `block` if
        any was blocked, else the last action that is not `pass`; the first failure; `skipped` if
        every call was. Notes, outcome and verdict are those of the failed call, else of the last
        one that was blocked, else of the last where the defense intervened, else of the last that
        was looked at. The kept prefix is the final answer's.

        Args:
            records: The calls' records, oldest first; none gives an empty record.
        """
        if len(records) < 2:
            return records[0] if records else cls()
        seen = [record for record in records if not record.skipped] or [*records]
        acted = [record for record in seen if record.triggered]
        acted = [record for record in acted if record.action == "block"] or acted
        failed = [record for record in records if record.failure]
        chief = (failed[:1] or acted[-1:] or seen[-1:])[0]
        changed = any(record.rewritten is not None for record in seen)
        heard = [record.original if r is None else r for record in seen for r in [record.rewritten]]
        remarks = [remark for record in records for remark in record.approximations]
        return chief.model_copy(
            update={
                "original": "\n\n".join(record.original for record in seen),
                "rewritten": "\n\n".join(heard) if changed else None,
                "added": "\n\n".join(record.added for record in seen if record.added),
                "action": (acted or seen)[-1].action,
                "triggered": any(record.triggered for record in records),
                "skipped": seen[0].skipped,
                "stages": [stage for record in records for stage in record.stages],
                "approximations": list(dict.fromkeys(remarks)),
                "kept_prefix": records[-1].kept_prefix,
            }
        )

    def dumped(self) -> dict[str, Any]:
        """The record as it is kept in metadata."""
        return self.model_dump(exclude_defaults=True)

    @property
    def found_harm(self) -> bool | None:
        """Whether the guard's verdict is `unsafe`, whatever came of it; None if it gave none."""
        if self.verdict is None or self.verdict.label is None:
            return None
        return self.verdict.label == "unsafe"

    def output_of(self, stage: str) -> str | None:
        """The output of the first stage of that name, or None."""
        return next((each.output for each in self.stages if each.name == stage), None)

    def add_call(self, name: str, output: ModelOutput, role: str) -> None:
        """Note a model call.

        Tokens and seconds come from the output itself, so that a call that Inspect's cache answered
        still has its cost.

        Args:
            name: What the call was for.
            output: The call's output.
            role: Role of the model that was called.
        """
        self.add_stage(Stage.of(name, output, role))

    def approximate(self, remark: str) -> None:
        """Note a point in which this sample's run differs from the faithful defense, once."""
        if remark not in self.approximations:
            self.approximations = [*self.approximations, remark]

    def add_stage(self, stage: Stage) -> None:
        """Note a step that is not an Inspect model call (a classifier, for example)."""
        self.stages.append(stage)


@contextmanager
def recorded(
    state: TaskState, defense: str, original: str, version: str = ""
) -> Iterator[DefenseRecord]:
    """Record what a defense does; after an error too, the record so far is kept.

    Args:
        state: The sample's state.
        defense: Name of the solver.
        original: The user's request.
        version: Version of the solver (`2-A`): runs of different versions are never grouped.

    Yields:
        The record to fill. Afterwards `DefenseRecord.of(state)` reads it.
    """
    record = DefenseRecord(defense=defense, version=version, original=original)
    try:
        yield record
    finally:
        # A new dictionary: the old one is the data set's own, which Inspect copies for metrics.
        state.metadata = state.metadata | {METADATA_KEY: record.dumped()}


def noted(state: TaskState) -> dict[str, Any]:
    """The metadata of every score of a whole answer.

    After a kill, Inspect rebuilds samples that were finished but not yet written, and may put
    another of their outputs in the place of the answer. The digest shows that.

    Args:
        state: The state after the solver.

    Returns:
        `defense` (the tally) and `answer_digest` (of the answer that is scored).
    """
    return {"defense": tally(state), ANSWER_DIGEST: answer_digest(state.output.completion)}


def answer_digest(answer: str) -> str:
    """Identity of an answer, the same during a run and from its log: 12 hex digits."""
    # UTF-8 cannot hold half a surrogate pair; logs hold a backslash and its code instead.
    return hashlib.sha256(answer.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def tally(state: TaskState) -> dict[str, Any]:
    """The cost of a sample and what its defense did, small enough for a score.

    Args:
        state: The state after the solver.

    Returns:
        `defense`, `triggered`; with a defense `skipped` (empty if it looked); `version`, `action`,
        `outcome`, `failure`, `approximations` and `template` if they are set; `output` and
        `output_reason` if the final output is not a whole answer (`outputs.Output`); and over all
        stages `calls`, `target_calls`, `input_tokens`, `output_tokens` and `seconds` (the last
        three None if a provider did not report them), and `cost` if the price of every call is
        known.
        Without a defense: the target's calls before the scoring, also those of an agent. The costs
        are None if calls of a guarded model failed, which the task went on without.
    """
    record, lost = DefenseRecord.of(state), False
    if METADATA_KEY not in state.metadata:
        called = calls_before_scoring(state)
        guarded = [each for each in called.outputs if METADATA_KEY in (each.message.metadata or {})]
        if guarded:
            # An agent throws answers away, and helpers keep theirs; the transcript has all.
            records = [each.message.metadata or {} for each in guarded]
            record = DefenseRecord.joined(
                [DefenseRecord.model_validate(each[METADATA_KEY]) for each in records]
            )
            lost = called.told > len(guarded)
        elif record.defense == "none":
            outputs = called.outputs or answers_of(state) or [state.output]
            told = [Stage.of("answer", each, "target") for each in outputs if each.choices]
            record = record.model_copy(update={"stages": told})
    stages = record.stages
    said = read_output(state.output)
    cost = _total([stage.cost for stage in stages])
    remarks = {
        "version": record.version,
        "action": record.action,
        "output": "" if said.kind == "answer" else said.kind,
        "output_reason": said.reason,
        "outcome": record.outcome,
        "failure": record.failure,
        "approximations": record.approximations,
        "template": record.template,
    }
    return {
        "defense": record.defense,
        "triggered": record.triggered,
        # Always, to tell it from a log of a version that did not count it.
        **({"skipped": record.skipped} if record.defense != "none" else {}),
        **{name: remark for name, remark in remarks.items() if remark},
        "calls": sum(stage.calls for stage in stages),
        "target_calls": sum(stage.calls for stage in stages if stage.role == "target"),
        "input_tokens": _total([stage.input_tokens for stage in stages]),
        "output_tokens": _total([stage.output_tokens for stage in stages]),
        "seconds": _total([stage.seconds for stage in stages]),
        **({"cost": cost} if stages and cost is not None else {}),
        # Calls that failed have no record: better no cost than a wrong one.
        **(dict.fromkeys(_COSTS) if lost else {}),
    }


def output_kind(tally: Mapping[str, Any]) -> str:
    """The kind of a final output, from its tally, with a defense's refusals as `blocked`.

    Args:
        tally: See `tally`; of a foreign scorer, which has none, the output counts as an answer.

    Returns:
        A kind of `outputs.Output`, or `blocked`.
    """
    if tally.get("output_reason") == BLOCKED:
        return "blocked"
    return str(tally.get("output") or "answer")


def _total(values: list[Any]) -> Any:
    return None if any(value is None for value in values) else sum(values)
