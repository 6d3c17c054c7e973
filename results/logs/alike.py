"""Whether logs of shards are of one run, and if not, in what they differ."""

import json
from collections.abc import Mapping
from typing import Any

from vlmguard.results.logs.around import defended_by
from vlmguard.results.logs.attack import attack_of
from vlmguard.results.logs.conditions import as_text, given, model_text, roles_of
from vlmguard.results.logs.part import Part
from vlmguard.results.logs.run import Run

__all__ = ["asked_by", "loosely_alike", "noted_apart", "told_apart", "unlike"]

_SAME = ("benchmark", "variant", "target", "defense")
"""What two runs share that differ by accident; ablations and other benchmarks do not."""

_LONGEST = 60


def unlike(one: Run, other: Run) -> list[str]:
    """In what logs of two shards differ, in words; nothing if they are of one run.

    What the samples of one of them do not note (all broke off, none was judged) is no difference.
    """
    asked, again = asked_by(one), asked_by(other)
    return [
        *(_told(name, value, again[name]) for name, value in asked.items() if again[name] != value),
        *noted_apart(one, other),
    ]


def told_apart(one: Run, other: Run) -> str:
    """In what two logs differ that would else be of one run; empty if they are of two."""
    first, second = asked_by(one), asked_by(other)
    if any(first[name] != second[name] for name in _SAME):
        return ""
    return "; ".join(unlike(one, other))


def loosely_alike(shard: Run, whole: Run) -> bool:
    """Whether a whole run may stand for that of a shard, in as many shards as it was made.

    Args:
        shard: The run of a shard.
        whole: A run of all samples.
    """
    part = _part(shard)
    noted = (
        (part.versions, whole.defense_version),
        (part.templates, whole.template),
    )
    one, other = shard.column, whole.column
    judging = json.loads(other.judging) if other.judging else {}
    return (
        (one.benchmark, one.variant, one.version, one.data, one.settings, one.under)
        == (other.benchmark, other.variant, other.version, other.data, other.settings, other.under)
        and (shard.target, shard.target_settings, shard.defense, shard.defense_args, shard.guards)
        == (whole.target, whole.target_settings, whole.defense, whole.defense_args, whole.guards)
        and all(not said or known == " ".join(sorted(said)) for said, known in noted)
        and all(
            not _contradicts(facts, judging.get(name, {}))
            for name, facts in part.judged.facts.items()
        )
    )


def _part(run: Run) -> Part:
    assert run.part is not None, "only logs of shards are compared"
    return run.part


def asked_by(run: Run) -> dict[str, str]:
    """What a log's header asks for, by its name in messages."""
    part, column = _part(run), run.column
    spec = part.header.eval
    around = defended_by(spec)
    roles = {
        role: [model_text(each) for each in bound] for role, bound in roles_of(part.header).items()
    }
    return {
        "benchmark": column.benchmark,
        "variant": column.variant,
        "target": around.target,
        "defense": around.defense,
        "task version": column.version,
        "data": column.data,
        "settings": column.settings,
        "attack": as_text(attack_of(spec, ())),
        "settings of the target": as_text(given(around.target_args)),
        "arguments of the defense": as_text(given(around.options)),
        "models in roles": as_text(roles),
        "samples of its shards": ", ".join(map(str, part.shard.sizes)),
        "choice of samples": as_text(
            given({"sample_id": spec.config.sample_id, "shuffle": spec.config.sample_shuffle})
        ),
    }


def noted_apart(run: Run, compared: Run) -> list[str]:
    """In what two shards' samples contradict each other, in words."""
    found = []
    one, other = _part(run), _part(compared)
    for name, first, second in (
        ("version of the defense", one.versions, other.versions),
        ("prompts of the defense", one.templates, other.templates),
        ("data of its samples", one.data, other.data),
        ("defense in its records", one.defenses, other.defenses),
        ("version or files of the attack", _attacks(one), _attacks(other)),
    ):
        if first and second and first != second:
            found.append(_told(name, ", ".join(sorted(first)), ", ".join(sorted(second))))
    for name in one.judged.facts.keys() & other.judged.facts.keys():
        facts, again = one.judged.facts[name], other.judged.facts[name]
        templates, others = (each.judged.templates.get(name, {}) for each in (one, other))
        if _contradicts(facts, again):
            found.append(_told(f"judging by {name}", as_text(facts), as_text(again)))
        if _contradicts(templates, others):
            found.append(_told(f"prompts of {name}", as_text(templates), as_text(others)))
    return found


def _attacks(part: Part) -> frozenset[str]:
    """The attack as samples note it, without the tries that each was allowed."""
    return frozenset(
        as_text({name: fact for name, fact in facts.items() if name != "budget"})
        for facts in part.noted
        if "name" in facts
    )


def _contradicts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return any(one[name] != other[name] for name in one.keys() & other.keys())


def _told(name: str, first: str, second: str) -> str:
    """A difference in words; of settings only those that differ."""
    parsed = [json.loads(text) if text.startswith("{") else None for text in (first, second)]
    one, other = (each if isinstance(each, dict) else {} for each in parsed)
    if not (one or other):
        return f"{name} {_short(first)} and {_short(second)}"
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return f"{name} " + ", ".join(
        f"{key} {_short(one.get(key))} and {_short(other.get(key))}" for key in keys
    )


def _short(value: Any) -> str:
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
