"""Which run of a baseline a run is to be compared with, and what to call the two.

A guard may change between a run and its baseline: that is what the gate is there for.
So two runs belong together where target, benchmark and defense agree and nothing else
goes by that name. Where several do (an ablation), arguments and models tell them apart.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vlmguard.results.gate.baseline import Key, Scores
from vlmguard.results.leaderboard.wording import brief

# All of the key; without the guard's models; the label alone.
_DEPTHS = (4, 3, 1)


@dataclass(frozen=True)
class Match:
    """A run and its baseline; one of them may be missing.

    Attributes:
        name: What to call them; no other match has this name.
        old: The baseline.
        new: The run.
    """

    name: str
    old: Scores | None
    new: Scores | None


def match(old: Sequence[Scores], new: Sequence[Scores]) -> list[Match]:
    """Find each run's baseline.

    Args:
        old: The baseline; no two of one key.
        new: Runs; no two of one key.

    Returns:
        Each of both, once.
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
    """A run's label with the arguments and models that tell it from its namesakes."""
    details = "; ".join(brief(each) for each in scores.key[1:] if each)
    return f"{scores.label} ({details or 'no arguments'})"


def _only(runs: Sequence[Scores], depth: int) -> dict[tuple[str, ...], Scores]:
    """The runs that are alone with the beginning of their key."""
    counts = Counter(scores.key[:depth] for scores in runs)
    return {scores.key[:depth]: scores for scores in runs if counts[scores.key[:depth]] == 1}


def _either(pair: tuple[Scores | None, Scores | None]) -> Scores:
    scores = pair[1] or pair[0]
    assert scores is not None, "a match holds a run"
    return scores
