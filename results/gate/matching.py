"""Which run of a baseline a run is compared with, and the name of the two in messages.

A guard may change between a run and its baseline: finding that is the purpose of the gate. So two
runs belong together if target, benchmark and defense agree and no other run has the same three. If
several have (an ablation), arguments and models distinguish them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vlmguard.results.gate.baseline import Key, Scores
from vlmguard.results.leaderboard.wording import brief

# How much of the key must agree: all, all but the guard's models, the label alone.
_DEPTHS = (4, 3, 1)


@dataclass(frozen=True)
class Match:
    """A run and its baseline; one of them may be missing.

    Attributes:
        name: Name in messages; no other match has it.
        old: The baseline.
        new: The run.
    """

    name: str
    old: Scores | None
    new: Scores | None


def match(old: Sequence[Scores], new: Sequence[Scores]) -> list[Match]:
    """Find each run's baseline.

    Args:
        old: The baseline; no two have the same key.
        new: Runs; no two have the same key.

    Returns:
        Every run of both, each in one match.
    """
    partners: dict[Key, Scores] = {}
    for depth in _DEPTHS:
        before = _only(old, depth)
        partners |= {
            scores.key: before[start]
            for start, scores in _only(new, depth).items()
            if start in before
        }
    taken = {scores.key for scores in partners.values()}
    pairs: list[tuple[Scores | None, Scores | None]] = [
        (scores, None) for scores in old if scores.key not in taken
    ]
    pairs += [(partners.get(scores.key), scores) for scores in new]
    crowd = Counter(_either(pair).label for pair in pairs)
    found = []
    for pair in pairs:
        scores = _either(pair)
        name = full_name(scores) if crowd[scores.label] > 1 else scores.label
        found.append(Match(name, *pair))
    return sorted(found, key=lambda each: each.name)


def full_name(scores: Scores) -> str:
    """A run's label with its arguments and models."""
    details = "; ".join(brief(each) for each in scores.key[1:] if each)
    return f"{scores.label} ({details or 'no arguments'})"


def _only(runs: Sequence[Scores], depth: int) -> dict[tuple[str, ...], Scores]:
    """The runs that share the beginning of their key with no other, by that beginning."""
    counts = Counter(scores.key[:depth] for scores in runs)
    return {scores.key[:depth]: scores for scores in runs if counts[scores.key[:depth]] == 1}


def _either(pair: tuple[Scores | None, Scores | None]) -> Scores:
    scores = pair[1] or pair[0]
    assert scores is not None, "a match holds a run"
    return scores
