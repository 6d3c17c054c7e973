"""Puts recorded requests before a guard, several at a time."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from inspect_ai.model import CachePolicy, GenerateConfig, Model

from vlmguard.guard.defense import Defense
from vlmguard.guard.errors import UserError, cause_of
from vlmguard.guard.option_content import files_digest
from vlmguard.guard.outside import asking, made_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.recordings import Plain, RecordedRequest
from vlmguard.guard.redaction import redact
from vlmguard.guard.roles import load_models
from vlmguard.results.gate.replay.decisions import Decided, GuardRun

__all__ = ["NewGuard", "chosen", "replayed"]

_KEPT: Final = "7D"
"""How long a reply stays in Inspect's cache."""


@dataclass(frozen=True)
class NewGuard:
    """The guard to try.

    Attributes:
        name: Name of the defense.
        options: Its options.
        roles: The models that it asks, by role.
        on_failure: What is done if it cannot decide; its own default if None.
        connections: Requests at a time.
        cache: Whether replies come from Inspect's cache, and go there.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Model] = field(default_factory=dict)
    on_failure: Literal["original", "refuse"] | None = None
    connections: int = 10
    cache: bool = False

    def made(self) -> Defense:
        """The defense.

        Raises:
            UserError: It cannot be made.
        """
        return made_of(self.name, self.options, self.roles, self.on_failure)

    def described(self, defense: Defense, template: str) -> dict[str, str]:
        """What is known of it, for a baseline."""
        options = dict(self.options)
        if self.on_failure is not None:
            options["on_failure"] = self.on_failure
        if files := files_digest(self.options):
            options["files"] = files
        models = {role: str(model) for role, model in self.roles.items()}
        return {
            "name": self.name,
            "version": defense.card.version,
            "template": template,
            "options": ", ".join(f"{name}={value}" for name, value in redact(options).items()),
            "models": ", ".join(f"{role}={model}" for role, model in models.items()),
        }


def chosen(requests: list[RecordedRequest], limit: int | None) -> list[RecordedRequest]:
    """A sample of requests, always the same for the same ids.

    Args:
        requests: All of them.
        limit: How many at most; None for all.
    """
    if limit is None or limit >= len(requests):
        return requests
    by_chance = sorted(requests, key=lambda each: hashlib.sha256(each.id.encode()).digest())
    kept = {each.id for each in by_chance[:limit]}
    return [each for each in requests if each.id in kept]


def replayed(
    folder: Path,
    requests: list[RecordedRequest],
    guard: NewGuard,
    told: Callable[[], None] = lambda: None,
) -> GuardRun:
    """Let a guard decide about recorded requests.

    Args:
        folder: The folder of the recordings.
        requests: The requests.
        guard: The guard.
        told: Is called after each request.

    Raises:
        UserError: The guard cannot be made, or lacks a model.
    """
    return asyncio.run(_replayed(folder, requests, guard, told))


async def _replayed(
    folder: Path, requests: list[RecordedRequest], guard: NewGuard, told: Callable[[], None]
) -> GuardRun:
    defense = guard.made()
    roles = {role: _cached(model) if guard.cache else model for role, model in guard.roles.items()}
    with asking(roles):
        # A mistake shows before anything is paid for.
        await defense.ready(None)
        for model in roles.values():
            await load_models(model)
    found: dict[str, Decided] = {}
    templates: set[str] = set()
    looked = False
    waiting = iter(requests)

    async def work() -> None:
        nonlocal looked
        for request in waiting:
            with asking(roles):
                found[request.id], record = await _decided(folder, request, defense)
            templates.add(record.template)
            looked |= bool(record.stages) or record.triggered
            told()

    workers = min(guard.connections, len(requests))
    await asyncio.gather(*(work() for _ in range(workers)))
    if defense.needs_output and not looked:
        raise UserError(
            f"--defense {guard.name}: with these options it decides about answers alone, and a "
            f"replay has requests. Measure it on a benchmark with --solver {guard.name}."
        )
    template = ", ".join(sorted(templates - {""}))
    ordered = {request.id: found[request.id] for request in requests}
    return GuardRun(guard.described(defense, template), ordered)


async def _decided(
    folder: Path, request: RecordedRequest, defense: Defense
) -> tuple[Decided, DefenseRecord]:
    """The decision about a request, and the record of the defense."""
    try:
        conversation, pictures = request.conversation(folder)
    except UserError:
        return Decided(request.digest, "", "missing picture"), DefenseRecord()
    record = defense.new_record(conversation)
    try:
        decision = await defense.decide(conversation, record)
    # Whatever a provider raises is no decision of the guard; messages may quote the request.
    except Exception as error:
        if record.failure:  # `on_failure=raise`: nothing reaches the target
            return Decided(request.digest, "block", record.failure, record.failure), record
        return Decided(request.digest, "", type(cause_of(error)).__name__), record
    kept = Plain(pictures).decision(decision, record.skipped)
    decided = Decided(
        request.digest, kept.action, kept.reason, kept.failure, kept.skipped, kept.sent
    )
    return decided, record


def _cached(model: Model) -> Model:
    # Inspect's key does not hold the arguments of a model: two adapters on one base have one name.
    arguments = json.dumps(redact(model.model_args), sort_keys=True, default=str)
    scope = hashlib.sha256(arguments.encode()).hexdigest()[:16]
    policy = CachePolicy(expiry=_KEPT, per_epoch=False, scopes={"replay": scope})
    model.config = model.config.merge(GenerateConfig(cache=policy))
    return model
