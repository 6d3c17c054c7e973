"""What a log of one shard says beside its answers: what a whole run is to be made of.

Some facts of a run come from its samples, and those of one shard may not have all of them: a prompt
of the judge for each category, the most tries of an attack, the number of outputs that were cut
off. They are kept apart, so that a run of several logs says what one of a single log says.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from inspect_ai.log import EvalLog

from vlmguard.guard.record import DATA_DIGEST, output_kind
from vlmguard.guard.shards import Shard
from vlmguard.results.logs.answers import LeftOut, Names, tally_of
from vlmguard.results.logs.attack import Noted
from vlmguard.results.logs.checks import Touched, versions_of
from vlmguard.results.logs.conditions import Judged, judged_of
from vlmguard.results.logs.summaries import Summary

__all__ = ["Part", "judges_itself", "outputs_of", "part_of", "shard_of"]

_OF_ATTACKS: Final = ("name", "version", "options", "seed", "font", "template", "budget")


@dataclass(frozen=True)
class Part:
    """A shard, and what its samples say of the run.

    Attributes:
        shard: Which one.
        header: The log's header without results.
        names: The scorers of the view.
        defenses: Defenses that tallies name.
        versions: Versions of the defense.
        templates: Hashes of its templates.
        data: Digests of the data, where samples note them.
        judged: What each scorer judged with.
        noted: What an attack noted of the samples, each once and without its tries.
        outputs: The number of answers by kind and reason.
        judges_itself: Whether a judge is the defense's own model.
        touched: People's changes.
    """

    shard: Shard
    header: EvalLog
    names: Names
    defenses: frozenset[str]
    versions: frozenset[str]
    templates: frozenset[str]
    data: frozenset[str]
    judged: Judged
    noted: tuple[Mapping[str, Any], ...]
    outputs: Counter[tuple[str, str | None]]
    judges_itself: bool
    touched: Touched = field(default_factory=Touched)


def shard_of(log: EvalLog) -> Shard | None:
    """The shard of its benchmark that a log holds; None for all of it.

    Raises:
        LeftOut: What it notes is no shard.
    """
    try:
        return Shard.noted_in(log.eval.metadata)
    except ValueError as error:
        raise LeftOut(str(error)) from error


def part_of(
    log: EvalLog, summaries: list[Summary], names: Names, noted: Noted, seen: Touched
) -> Part | None:
    """What a shard's log says of the run; None for a log of a whole benchmark.

    Args:
        log: The header.
        summaries: The samples.
        names: The scorers of the view.
        noted: What an attack noted of its samples.
        seen: People's changes of it.
    """
    shard = shard_of(log)
    if shard is None:
        return None
    tallies = [tally for sample in summaries if (tally := tally_of(sample))]
    attacks = [
        {name: facts.get(name) for name in _OF_ATTACKS if name in facts} for facts in noted.values()
    ]
    return Part(
        shard=shard,
        header=log.model_copy(update={"reductions": None, "results": None, "samples": None}),
        names=names,
        defenses=frozenset(str(tally["defense"]) for tally in tallies),
        versions=frozenset(versions_of(tallies)),
        templates=frozenset(str(each) for tally in tallies if (each := tally.get("template"))),
        data=frozenset(
            str(sample.metadata[DATA_DIGEST])
            for sample in summaries
            if DATA_DIGEST in sample.metadata
        ),
        judged=judged_of(summaries, names),
        noted=tuple(each for place, each in enumerate(attacks) if each not in attacks[:place]),
        outputs=outputs_of(tallies),
        judges_itself=judges_itself(summaries, names),
        touched=seen,
    )


def outputs_of(tallies: list[dict[str, Any]]) -> Counter[tuple[str, str | None]]:
    """The number of answers by kind and reason, from the tallies of samples."""
    return Counter((output_kind(tally), tally.get("output_reason")) for tally in tallies)


def judges_itself(summaries: list[Summary], names: Names) -> bool:
    """Whether a judge is the model that the defense asks, too."""
    return any(
        (score.metadata or {}).get("judges_itself")
        for sample in summaries
        for scorer, score in (sample.scores or {}).items()
        if scorer in names
    )
