"""The attack of a log: on each request of the task, or by a loop around the whole defended system.

A static attack (`-T attack=NAME`) stands in the task's metadata. A loop (`--solver attack_loop -S
attack=NAME`) is a solver, so its attack is read from its arguments; its samples say which version
ran. What an attack did to a sample stands in the sample's metadata.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from inspect_ai.log import EvalSample, EvalSampleSummary, EvalSpec, read_eval_log

from vlmguard.guard.attacks import chosen_attack
from vlmguard.guard.errors import UserError
from vlmguard.results.logs.answers import LeftOut, Row, bare

__all__ = [
    "ATTACKER",
    "LOOP",
    "attack_of",
    "attack_text",
    "attack_words",
    "is_loop",
    "tries_by_sample",
]

LOOP: Final = "attack_loop"
"""The solver that asks the whole defended system again until the attack succeeds."""

ATTACKER: Final = "attacker"
"""The role of a model that words an attack: part of the attack, and not of the defense."""

_KEY: Final = "attack"
_TEXT: Final = "text"
# What is not part of the attack itself.
_BESIDE: Final = (_TEXT, "twin")
_TRIES: Final = ("tries", "success_try")
_UNREAD: Final = set(EvalSample.model_fields) - {"id", "epoch", "input", "target", "metadata"}


def is_loop(spec: EvalSpec) -> bool:
    """Whether a loop around the defended system put the questions."""
    return bool(spec.solver) and bare(str(spec.solver)) == LOOP


def attack_of(
    spec: EvalSpec, summaries: Iterable[EvalSampleSummary], attackers: Iterable[str] = ()
) -> dict[str, Any]:
    """The attack of a log: name, version, options, seed, and of a loop its most tries.

    Args:
        spec: What was run.
        summaries: Its samples, which say the version of a loop's attack.
        attackers: The models in the role of the attacker, with their settings.

    Returns:
        The facts in which two runs under the same attack agree; nothing without an attack.

    Raises:
        LeftOut: Its samples ran under several versions of the attack.
    """
    noted = (spec.metadata or {}).get(_KEY)
    static = noted if isinstance(noted, Mapping) and "name" in noted else {}
    if not static and not is_loop(spec):
        return {}
    versions = {
        str(facts["version"])
        for sample in summaries
        if "version" in (facts := _noted(sample.metadata))
    }
    if len(versions) > 1:
        raise LeftOut(
            f"its samples ran under {len(versions)} versions of the attack "
            f"({', '.join(sorted(versions))}): vlmguard was changed before the run went on; run it "
            f"again in a folder of its own"
        )
    if not is_loop(spec):
        return {name: fact for name, fact in static.items() if name not in _BESIDE}
    # The card of today may be another than that of the run.
    found = _of_loop(spec.solver_args_passed or {})
    found["version"] = next(iter(versions), found["version"])
    asked = list(attackers)
    return found | ({ATTACKER: asked} if asked else {})


def attack_text(attack: str) -> str:
    """An attack as users type it; empty without one.

    Args:
        attack: Its facts as JSON.
    """
    if not attack:
        return ""
    facts = json.loads(attack)
    said = dict(sorted((facts.get("options") or {}).items()))
    said |= {"seed": facts["seed"]} if facts.get("seed") else {}
    return ":".join([str(facts["name"]), *(f"{name}={value}" for name, value in said.items())])


def attack_words(attack: str) -> str:
    """The same, with the most tries of a loop."""
    facts = json.loads(attack) if attack else {}
    text = attack_text(attack)
    return f"{text}, {facts['tries']} tries" if "loop" in facts else text


def tries_by_sample(
    path: str, summaries: Iterable[EvalSampleSummary]
) -> dict[tuple[str, int], Row]:
    """How often a loop asked each sample: `tries`, and `success_try` where one succeeded.

    Args:
        path: The log; it is read only if a summary left out what was long.
        summaries: The samples.

    Returns:
        By id and epoch; nothing for a static attack.
    """
    known = list(summaries)
    cut = [sample for sample in known if isinstance(sample.metadata.get(_KEY), str)]
    noted = {(str(each.id), each.epoch): _noted(each.metadata) for each in known}
    if cut:
        log = read_eval_log(path, exclude_fields=_UNREAD)
        noted |= {(str(each.id), each.epoch): _noted(each.metadata) for each in log.samples or []}
    return {
        key: {name: _number(facts.get(name)) for name in _TRIES}
        for key, facts in noted.items()
        if "tries" in facts
    }


def _of_loop(args: Mapping[str, Any]) -> dict[str, Any]:
    text = str(args.get(_KEY, ""))
    others = {name: value for name, value in sorted(args.items()) if name not in (_KEY, "tries")}
    try:
        chosen = chosen_attack(text, "-S attack")
        found = chosen.identity
        tries = chosen.card.tries
    except UserError:  # An attack of another version of vlmguard, or of others.
        found, tries = {"name": text, "version": "", "options": {}, "seed": 0}, 0
    return {**found, "tries": int(args.get("tries") or tries), "loop": others}


def _noted(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    found = metadata.get(_KEY)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
