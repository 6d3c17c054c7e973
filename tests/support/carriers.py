"""Puts a defense in front of a model in every way that there is, and notes what happens.

A new carrier joins the contract test with one function in `CARRIERS`, or in `support.servers`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ModelOutput
from inspect_ai.solver import SolverSpec
from support.conversations import CONVERSATIONS, spelled
from support.guarded import guarded_model
from support.scripted import Scripted, run_solver
from support.servers import SERVERS, serve_all

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Defense, Outcome, Target
from vlmguard.guard.record import DefenseRecord

Carrier = Callable[..., EvalLog]
"""Runs samples one at a time, in order, behind a defense: its name, options, the models by role
(the guarded one is `target`), the samples, and settings of the run by name.
"""


@dataclass
class Seen:
    """What happened to one conversation.

    Attributes:
        conversation: The conversation.
        calls: Each request that a model got, in order: who, and the messages.
        decision: The last decision; None if the run failed.
        output: What the user got.
        record: What was noted.
        error: The error of a run that failed.
        heard: What a server's model got for its first answer.
    """

    conversation: list[ChatMessage]
    calls: list[tuple[str, list[ChatMessage]]] = field(default_factory=list)
    decision: Decision | None = None
    output: ModelOutput | None = None
    record: DefenseRecord = field(default_factory=DefenseRecord)
    error: str = ""
    heard: list[ChatMessage] | None = None

    @property
    def answered(self) -> list[ChatMessage] | None:
        """The messages that the target got for its answer; None if it was not asked."""
        if self.heard is not None:
            return self.heard
        stages = [stage.name for stage in self.record.stages if stage.role == "target"]
        heard = [messages for who, messages in self.calls if who == "target"]
        return heard[stages.index("answer")] if "answer" in stages else None

    def asked(self, who: str) -> list[list[dict[str, Any]]]:
        """The requests that a role or the target got, in a fixed order: some are put at once."""
        return sorted((spelled(call) for name, call in self.calls if name == who), key=repr)


def carry(
    monkeypatch: pytest.MonkeyPatch,
    carrier: str,
    defense: str,
    options: Mapping[str, Any],
    models: Mapping[str, Scripted],
    *names: str,
) -> dict[str, Seen]:
    """Put conversations through a defense.

    Args:
        monkeypatch: Notes decisions, which no carrier gives away whole.
        carrier: A name in `CARRIERS` or `SERVERS`.
        defense: Name of the defense.
        options: Its options.
        models: The models by role; `target` is the guarded one.
        *names: Conversations; all by default.
    """
    chosen = names or tuple(CONVERSATIONS)
    if carrier in SERVERS:
        return _served(monkeypatch, carrier, defense, options, models, chosen)
    seen: list[Seen] = []
    run = Defense.run

    async def noted(
        self: Defense,
        conversation: Conversation,
        target: Target,
        record: DefenseRecord | None = None,
    ) -> Outcome:
        seen.append(Seen(list(conversation.messages)))
        before = {who: len(model.calls) for who, model in models.items()}
        try:
            outcome = await run(self, conversation, target, record)
        finally:
            seen[-1].calls = [
                (who, call.messages)
                for who, model in models.items()
                for call in model.calls[before[who] :]
            ]
        seen[-1].decision = outcome.decision
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(Defense, "run", noted)
        log = CARRIERS[carrier](defense, options, models, samples_of(chosen))
    by_name = dict(zip(chosen, seen, strict=True))
    for sample in log.samples or []:
        one = by_name[str(sample.id)]
        one.output = sample.output
        one.record = DefenseRecord.of(sample)
        one.error = sample.error.message if sample.error else ""
    return by_name


def _served(
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    defense: str,
    options: Mapping[str, Any],
    models: Mapping[str, Scripted],
    names: Iterable[str],
) -> dict[str, Seen]:
    asked = {name: CONVERSATIONS[name] for name in names}
    with monkeypatch.context() as patch:
        served = serve_all(patch, way, defense, options, models, asked)
    return {
        name: Seen(
            list(asked[name]), one.calls, one.decision, one.output, one.record, heard=one.heard
        )
        for name, one in served.items()
    }


def decided(decision: Decision | None) -> dict[str, Any]:
    """A decision in a form to compare; empty if there is none."""
    if decision is None:
        return {}
    shown = ("action", "request", "reason", "hazard", "failure")
    return {
        **{name: getattr(decision, name) for name in shown},
        "verdict": decision.verdict and decision.verdict.model_dump(),
        "messages": spelled(decision.messages),
    }


def samples_of(names: Iterable[str]) -> list[Sample]:
    """A sample of each of these conversations."""
    return [Sample(id=name, input=list(CONVERSATIONS[name])) for name in names]


def by_solver(
    defense: str,
    options: Mapping[str, Any],
    models: Mapping[str, Scripted],
    samples: list[Sample],
    **settings: Any,
) -> EvalLog:
    """The defense as a solver: `--solver DEFENSE`."""
    roles = dict(models)
    target = roles.pop("target")
    spec = SolverSpec(defense, dict(options), dict(options))
    return run_solver(spec, samples, target, roles, max_samples=1, fail_on_error=False, **settings)


def by_model_api(
    defense: str,
    options: Mapping[str, Any],
    models: Mapping[str, Scripted],
    samples: list[Sample],
    **settings: Any,
) -> EvalLog:
    """The defense around the model: `--model guarded/DEFENSE/PROVIDER/MODEL`."""
    roles = dict(models)
    target = guarded_model(defense, roles.pop("target"), **options)
    return run_solver(None, samples, target, roles, max_samples=1, fail_on_error=False, **settings)


CARRIERS: Final[dict[str, Carrier]] = {"solver": by_solver, "model_api": by_model_api}
