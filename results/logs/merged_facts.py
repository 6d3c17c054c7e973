"""Versions, commits, dates and the command of a run whose shards may have had several of them."""

from collections.abc import Sequence
from typing import Final

from vlmguard.results.logs.run import Run
from vlmguard.results.logs.run_facts import COMMAND

__all__ = ["differing", "facts_of", "provenance_of"]

_SHARDS: Final = "Shards"


def provenance_of(runs: Sequence[Run]) -> dict[str, str]:
    """Versions and commits of all shards; the newest date."""
    found = {name: ", ".join(values) for name, values in _versions(runs).items()}
    created = max(str(run.provenance["created"]) for run in runs)
    return {**found, "created": created, "shards": str(len(runs))}


def differing(runs: Sequence[Run]) -> list[str]:
    """Remarks on versions or commits that changed from one shard to another."""
    return [
        f"its shards ran under several versions ({name} {', '.join(values)})"
        for name, values in _versions(runs).items()
        if len(values) > 1
    ]


def _versions(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The versions of each package, and the commits."""
    names = dict.fromkeys(name for run in runs for name in run.provenance if name != "created")
    return {
        name: list(dict.fromkeys(str(run.provenance.get(name, "none noted")) for run in runs))
        for name in names
    }


def facts_of(runs: Sequence[Run]) -> dict[str, str]:
    """Facts for readers: those of the newest shard, and what differs in others."""
    newest = max(runs, key=lambda run: run.created)
    facts = dict(newest.facts)
    command = facts.pop(COMMAND)
    for name in facts:
        if name != "Date":
            facts[name] = ", ".join(
                dict.fromkeys(run.facts[name] for run in runs if name in run.facts)
            )
    facts[_SHARDS] = str(len(runs))
    count = f"{len(runs)} shard{'' if len(runs) == 1 else 's'}"
    return {**facts, COMMAND: f"{command}  # was run in {count}"}
