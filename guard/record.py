"""What a defense did to a sample: kept in the sample's metadata, its sum in the scores."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from inspect_ai.log import EvalSample
from inspect_ai.model import ModelOutput
from inspect_ai.solver import TaskState
from pydantic import BaseModel, Field

from vlmguard.guard.text.outputs import read_output

__all__ = [
    "ANSWER_DIGEST",
    "DATA_DIGEST",
    "DefenseRecord",
    "Stage",
    "answer_digest",
    "noted",
    "recorded",
]

METADATA_KEY: Final = "defense_record"
"""Where a sample's metadata hold its `DefenseRecord`."""

DATA_DIGEST: Final = "data_digest"
"""Where a sample's metadata hold the identity of the data that it was read from."""

ANSWER_DIGEST: Final = "answer_digest"
"""Where a score's metadata hold the digest of the whole answer that was scored."""


class Stage(BaseModel):
    """One step of a defense: a model call, or several of the same kind.

    Attributes:
        name: What the step is for (`rewrite`, `answer`, `harm_check`, ...).
        role: Who ran it (`target`, `rewriter`, `detector`, ...).
        output: Raw text that came back (a score's digits for a classifier).
        calls: Number of calls.
        input_tokens: Tokens read; None where the provider reports none.
        output_tokens: Tokens written; None where the provider reports none.
        seconds: Time in the calls; None where the provider reports none.
    """

    name: str
    role: str
    output: str
    calls: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None


class DefenseRecord(BaseModel):
    """Trace of a defense on one sample.

    It lies in the sample's metadata and not in its store, where Inspect would log it three times
    over (as events of the solver and of all solvers, and in the sample): those events alone take
    more time than everything else that a defense does around its calls.

    Attributes:
        defense: Name of the solver; `none` where no defense ran.
        version: Version of the solver, as of a task; empty where it states none.
        original: The user's request.
        rewritten: What the target was asked instead, if that differs in kind.
        triggered: Whether the defense intervened.
        stages: Every call in order, the target's answers included.
        outcome: What kind of reply the guard gave (the rewriter's: `copied`, `rewritten`,
            `refused`, `unusable`); empty where the defense counts none.
        failure: Why the guard's output could not be used, if so.
        approximations: In which respects this run is not the faithful defense.
        kept_prefix: Words that the defense put before the answer (ETA's);
            keyword scorers leave them out.
        template: Hash of the templates that were used.
        notes: Figures and remarks of the defense (scores, placement, ...).
    """

    defense: str = "none"
    version: str = ""
    original: str = ""
    rewritten: str | None = None
    triggered: bool = False
    stages: list[Stage] = Field(default_factory=list)
    outcome: str = ""
    failure: str | None = None
    approximations: list[str] = Field(default_factory=list)
    kept_prefix: str = ""
    template: str = ""
    notes: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, sample: TaskState | EvalSample) -> "DefenseRecord":
        """The record of a sample, during a run or from its log.

        Args:
            sample: State of a running sample, or a sample of a log.

        Returns:
            The record; one of the defense `none` where no defense ran.
        """
        return cls.model_validate(sample.metadata.get(METADATA_KEY, {}))

    def add_call(self, name: str, output: ModelOutput, role: str) -> None:
        """Note a model call.

        Tokens and seconds come from the output itself, so that a call answered
        from Inspect's cache is not free.

        Args:
            name: What the call was for.
            output: What came back.
            role: Who was called.
        """
        self.add_stage(_call_stage(name, output, role))

    def add_stage(self, stage: Stage) -> None:
        """Note a step that is no Inspect model call (a classifier, say).

        Args:
            stage: The step.
        """
        self.stages.append(stage)


@contextmanager
def recorded(
    state: TaskState, defense: str, original: str, version: str = ""
) -> Iterator[DefenseRecord]:
    """Record what a defense does; whatever happens, what there is by then is kept.

    Args:
        state: The sample's state.
        defense: Name of the solver.
        original: The user's request.
        version: Version of the solver (`2-A`): runs under different ones are never compared as one.

    Yields:
        The record to fill. Afterwards `DefenseRecord.of(state)` reads it.
    """
    record = DefenseRecord(defense=defense, version=version, original=original)
    try:
        yield record
    finally:
        # Another dictionary: the old one is the data set's own, which Inspect copies for metrics.
        state.metadata = state.metadata | {METADATA_KEY: record.model_dump(exclude_defaults=True)}


def noted(state: TaskState) -> dict[str, Any]:
    """What every score of a whole answer says in its metadata.

    After a kill, Inspect rebuilds samples that were finished but not yet written, and may put
    another of their outputs where the answer was. The digest shows it.

    Args:
        state: The state after the solver.

    Returns:
        `defense`, the tally; `answer_digest`, that of the answer as it is scored.
    """
    return {"defense": tally(state), ANSWER_DIGEST: answer_digest(state.output.completion)}


def answer_digest(answer: str) -> str:
    """Identity of an answer, during a run as from its log: 12 hex digits."""
    # Logs hold what UTF-8 cannot (half a surrogate pair) as a backslash and its code.
    return hashlib.sha256(answer.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def tally(state: TaskState) -> dict[str, Any]:
    """What a sample cost and what its defense did, small enough for a score.

    Args:
        state: The state after the solver.

    Returns:
        `defense`, `triggered`; `version`, `outcome`, `failure`, `approximations` and
        `template` where there are any; `output` and `output_reason` where the final output is no
        whole answer (`outputs.Output`); and over all stages `calls`,
        `target_calls`, `input_tokens`, `output_tokens` and `seconds` (the last
        three None where a provider reported none). Without a defense: the target's
        single call.
    """
    record = DefenseRecord.of(state)
    stages = record.stages
    if record.defense == "none" and not stages and state.output.choices:
        stages = [_call_stage("answer", state.output, "target")]
    said = read_output(state.output)
    remarks = {
        "version": record.version,
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
        **{name: remark for name, remark in remarks.items() if remark},
        "calls": sum(stage.calls for stage in stages),
        "target_calls": sum(stage.calls for stage in stages if stage.role == "target"),
        "input_tokens": _total([stage.input_tokens for stage in stages]),
        "output_tokens": _total([stage.output_tokens for stage in stages]),
        "seconds": _total([stage.seconds for stage in stages]),
    }


def _call_stage(name: str, output: ModelOutput, role: str) -> Stage:
    usage = output.usage
    return Stage(
        name=name,
        role=role,
        output=output.completion,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        seconds=output.time,
    )


def _total(values: list[Any]) -> Any:
    return None if any(value is None for value in values) else sum(values)
