"""The attack of a log: on each request of the task, or by a loop around the whole defended system.

A static attack (`-T attack=NAME`) stands in the task's metadata. A loop (`--solver attack_loop -S
attack=NAME`) is a solver, so its attack is read from its arguments; its samples say which version
ran, and what became of each try.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from inspect_ai.log import EvalSpec

from vlmguard.guard.attacks import ATTACK, attack_cards, chosen_attack, default_options
from vlmguard.guard.errors import UserError
from vlmguard.results.logs.answers import LeftOut, Row, bare
from vlmguard.results.logs.archive import LogFile
from vlmguard.results.logs.summaries import Summary

__all__ = [
    "ATTACKER",
    "LOOP",
    "Noted",
    "attack_of",
    "attack_text",
    "attack_words",
    "is_loop",
    "noted_attacks",
    "tries_of",
]

Noted = Mapping[tuple[str, int], Mapping[str, Any]]
"""What an attack noted of each sample, by id and epoch."""

LOOP: Final = "attack_loop"
"""The solver that asks the whole defended system again until the attack succeeds."""

ATTACKER: Final = "attacker"
"""The role of a model that words an attack: part of the attack, and not of the defense."""

# What is not part of the attack itself.
_BESIDE: Final = ("text", "twin")
# What the samples of a loop note of it: files and fonts of the run may be others today.
_IDENTITY: Final = ("name", "version", "options", "seed", "font", "template")


def is_loop(spec: EvalSpec) -> bool:
    """Whether a loop around the defended system put the questions."""
    return bool(spec.solver) and bare(str(spec.solver)) == LOOP


def noted_attacks(log: LogFile, spec: EvalSpec, summaries: Iterable[Summary]) -> Noted:
    """What an attack noted of each sample.

    Args:
        log: The log. Of a loop its samples are read: what it notes is too long for summaries.
        spec: What was run.
        summaries: The samples.
    """
    found: dict[tuple[str, int], Any]
    if is_loop(spec):
        whole = [json.loads(sample) for sample in log.samples()]
        found = {
            (str(each["id"]), each["epoch"]): each.get("metadata", {}).get(ATTACK) for each in whole
        }
    else:
        found = {(str(each.id), each.epoch): each.metadata.get(ATTACK) for each in summaries}
    # A benchmark may have an `attack` of its own, a word.
    return {key: facts for key, facts in found.items() if isinstance(facts, Mapping)}


def attack_of(
    spec: EvalSpec, noted: Iterable[Mapping[str, Any]], attackers: Iterable[str] = ()
) -> dict[str, Any]:
    """The attack of a log: name, version, options, seed, and of a loop its most tries.

    Args:
        spec: What was run.
        noted: What the attack noted of its samples.
        attackers: The models in the role of the attacker, with their settings.

    Returns:
        The facts in which two runs under the same attack agree; nothing without an attack.

    Raises:
        LeftOut: Its samples ran under several versions of the attack, or of its files.
    """
    stated = (spec.metadata or {}).get(ATTACK)
    static = stated if isinstance(stated, Mapping) and "name" in stated else {}
    if not static and not is_loop(spec):
        return {}
    samples = list(noted)
    versions = {str(facts["version"]) for facts in samples if "version" in facts}
    if len(versions) > 1:
        raise LeftOut(
            f"its samples ran under {len(versions)} versions of the attack "
            f"({', '.join(sorted(versions))}): vlmguard was changed before the run went on; run it "
            f"again in a folder of its own"
        )
    noted_by_samples = _of_samples(samples)
    if not is_loop(spec):
        return {name: fact for name, fact in static.items() if name not in _BESIDE}
    found = _of_loop(spec.solver_args_passed or {}) | noted_by_samples
    # Harmless requests are asked once, whatever the number: it is that of the risky ones.
    budget = max((int(each.get("budget", 0)) for each in samples), default=0)
    found["tries"] = budget if budget > 1 else found["tries"]
    asked = list(attackers)
    return found | ({ATTACKER: asked} if asked else {})


def attack_text(attack: str) -> str:
    """An attack as users type it, without what goes without saying; empty without one.

    Args:
        attack: Its facts as JSON.
    """
    if not attack:
        return ""
    facts = json.loads(attack)
    usual = default_options(facts["name"]) if facts["name"] in attack_cards() else {}
    options = sorted((facts.get("options") or {}).items())
    said = {name: value for name, value in options if name not in usual or value != usual[name]}
    said |= {"seed": facts["seed"]} if facts.get("seed") else {}
    return ":".join([str(facts["name"]), *(f"{name}={value}" for name, value in said.items())])


def attack_words(attack: str) -> str:
    """The same, with the most tries of a loop."""
    facts = json.loads(attack) if attack else {}
    text = attack_text(attack)
    return f"{text}, {facts['tries']} tries" if "loop" in facts else text


def tries_of(facts: Mapping[str, Any]) -> Row:
    """What became of each try of a loop on a sample: `tries` in order, and `kept`, from 0.

    Args:
        facts: What the attack noted of the sample.

    Returns:
        True, False, or None where nobody could say, for each; nothing for a static attack.
    """
    made = facts.get("tries")
    if not isinstance(made, list):
        return {}
    kept = facts.get("kept_try")
    return {
        "tries": [each.get("success") for each in made],
        "kept": None if kept is None else int(kept) - 1,
    }


def _of_samples(noted: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The attack as its samples note it."""
    made = [{name: facts[name] for name in _IDENTITY if name in facts} for facts in noted]
    found = next((facts for facts in made if "name" in facts), {})
    if any(facts != found for facts in made if "name" in facts):
        raise LeftOut(
            "its samples ran under an attack with several files, fonts or options: one was changed "
            "before the run went on; run it again in a folder of its own"
        )
    # All of it or nothing: a hash of today is no fact of the run.
    return found


def _of_loop(args: Mapping[str, Any]) -> dict[str, Any]:
    text = str(args.get(ATTACK, ""))
    others = {name: value for name, value in sorted(args.items()) if name not in (ATTACK, "tries")}
    try:
        chosen = chosen_attack(text, "-S attack")
        found = chosen.identity
        tries = chosen.card.tries
    except UserError:  # An attack of another version of vlmguard, or of others.
        found, tries = {"name": text, "version": "", "options": {}, "seed": 0}, 0
    return {**found, "tries": int(args.get("tries") or tries), "loop": others}
