"""One run of the logs of all its shards.

What can be added up or joined is; what a run says about all its samples (its conditions, what its
outputs were) is worked out anew from what each log noted (`part.Part`). So the run says what one of
a single log would say.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from vlmguard.results.logs.around import defended_by
from vlmguard.results.logs.checks import Touched, check_scored
from vlmguard.results.logs.conditions import Judged, Judging, as_text, column_of
from vlmguard.results.logs.declared import Declared
from vlmguard.results.logs.described import ITS_OWN_JUDGE, guards_of, judge_of, on_outputs
from vlmguard.results.logs.merged_facts import differing, facts_of, provenance_of
from vlmguard.results.logs.part import Part
from vlmguard.results.logs.run import Run
from vlmguard.results.logs.timing import Pace

__all__ = ["joined_ids", "judged_by", "merged"]

_KEY: Final = ["sample", "epoch"]


def merged(runs: Sequence[Run]) -> Run:
    """The run of all its shards.

    Args:
        runs: The run of each shard, in order: all there, of one configuration, with one judge.

    Raises:
        LeftOut: Their samples do not agree, or none of them has a score.
    """
    parts = [run.part for run in runs if run.part]
    first, header, names = runs[0], parts[0].header, _names(parts)
    judging = judged_by(parts)
    noted = {
        (str(number), place): facts
        for number, part in enumerate(parts)
        for place, facts in enumerate(part.noted)
    }
    around = defended_by(header.eval, set().union(*(part.defenses for part in parts)))
    touched = _touched(parts)
    edited = touched.edits(names)
    outputs = sum((part.outputs for part in parts), Counter[tuple[str, str | None]]())
    answers = _answers(runs, parts)
    check_scored(answers)
    return replace(
        first,
        paths=tuple(path for run in runs for path in run.paths),
        column=column_of(header, judging, noted),
        defense=around.defense,
        defense_version=" ".join(sorted(set().union(*(part.versions for part in parts)))),
        template=" ".join(sorted(set().union(*(part.templates for part in parts)))),
        guards=as_text(guards_of(header)) if around.defense != "none" else "",
        judge=judge_of(judging),
        note=" ".join(dict.fromkeys(run.note for run in runs)),
        created=max(run.created for run in runs),
        identity=(first.identity[0], joined_ids(run.identity[1] for run in runs)),
        declared=_declared([run.declared for run in runs]),
        reduced=_reduced(runs),
        approximations=tuple(dict.fromkeys(each for run in runs for each in run.approximations)),
        remarks=[
            *on_outputs(outputs),
            *([ITS_OWN_JUDGE] if any(part.judges_itself for part in parts) else []),
            *_remarks(runs, parts),
            *([edited] if edited else []),
            *differing(runs),
        ],
        pace=_pace([run.pace for run in runs]),
        edited=edited,
        edits=touched.number(names),
        observed=_observed(runs),
        overhead_gap=first.overhead_gap if all(run.overhead_gap for run in runs) else "",
        provenance=provenance_of(runs),
        facts=facts_of(runs),
        asked=tuple(dict.fromkeys(each for run in runs for each in run.asked)),
        answers=answers,
        missing=_missing(runs),
        part=None,
        held={name: run.path for run in runs for name in run.answers["sample"].unique()},
    )


def joined_ids(ids: Iterable[str]) -> str:
    """One id for what several evaluations make together, in any order."""
    return " ".join(sorted(ids))


def judged_by(parts: Iterable[Part]) -> Judging:
    """What each scorer judged with, over all shards (of which one may hold no verdict)."""
    found = Judged()
    for part in parts:
        for name, facts in part.judged.facts.items():
            found.takes(name, facts, part.judged.templates.get(name, {}))
    return found.conditions


def _names(parts: Iterable[Part]) -> dict[str, str]:
    return {name: known for part in parts for name, known in part.names.items()}


def _touched(parts: Iterable[Part]) -> Touched:
    found = Touched()
    for part in parts:
        found.count += part.touched.count
        for scorer, editors in part.touched.edited.items():
            found.edited.setdefault(scorer, Counter()).update(editors)
    return found


def _answers(runs: Sequence[Run], parts: Sequence[Part]) -> pd.DataFrame:
    """The answers of all shards in the order of the benchmark, as one log of it has them."""
    answers = pd.concat([run.answers for run in runs], ignore_index=True)
    places = _places(parts)
    if not places:
        ids = sorted(answers["sample"].unique(), key=_natural)
        places = {str(name): place for place, name in enumerate(ids)}
    order = np.argsort(answers["sample"].map(places).to_numpy(), kind="stable")
    # A shard of answers without any value of a kind made a column of objects.
    return answers.iloc[order].reset_index(drop=True).infer_objects()


def _places(parts: Sequence[Part]) -> dict[str, int]:
    """Where each sample stands in the benchmark; empty if the logs do not say it of all."""
    found: dict[str, int] = {}
    for part in parts:
        if part.header.eval.config.sample_shuffle:
            return {}  # Each shard was shuffled by itself.
        ids = [str(each) for each in part.header.eval.dataset.sample_ids or []]
        if len(ids) != len(part.shard.places):
            return {}
        found |= dict(zip(ids, part.shard.places, strict=True))
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts `siuo/9` before `siuo/10`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def _declared(each: Sequence[Declared]) -> Declared:
    """How to read the measures: a shard without any score may not name them all."""
    fullest = max(each, key=lambda declared: len(declared.asked))
    return replace(
        fullest,
        asked=tuple(dict.fromkeys([*fullest.asked, *(name for one in each for name in one.asked)])),
        remarks=tuple(dict.fromkeys(text for one in each for text in one.remarks)),
    )


def _reduced(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        for measure, values in run.reduced.items():
            found.setdefault(measure, {}).update(values)
    return found


def _remarks(runs: Sequence[Run], parts: Sequence[Part]) -> list[str]:
    """Remarks that count nothing: once if all shards have them, else with the shard's name."""
    told: dict[str, list[str]] = {}
    for run, part in zip(runs, parts, strict=True):
        counted = {*on_outputs(part.outputs), ITS_OWN_JUDGE, run.edited}
        for text in dict.fromkeys(run.remarks):
            if text not in counted:
                told.setdefault(text, []).append(part.shard.name)
    return [
        text if len(names) == len(runs) else f"shard {', '.join(names)}: {text}"
        for text, names in told.items()
    ]


def _pace(paces: Sequence[Pace]) -> Pace:
    """When the run was at work; its throughput is that of no machine that anybody knows."""
    if len(paces) == 1:
        return paces[0]  # The other shards have no samples.
    began, ended = [each.began for each in paces], [each.ended for each in paces]
    gap = f"run in {len(paces)} shards, at times and on machines of their own, so no throughput"
    known = not np.isnan([*began, *ended]).any()
    return Pace(None, gap, min(began), max(ended)) if known else Pace(None, gap)


def _observed(runs: Iterable[Run]) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        for measure, value in run.observed.items():
            found[measure] = max(value, found.get(measure, value))
    return found


def _missing(runs: Sequence[Run]) -> pd.DataFrame:
    """Answers to samples without images: each log names those of the whole benchmark."""
    frames = [run.missing for run in runs if len(run.missing)]
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, ignore_index=True).drop_duplicates(_KEY, ignore_index=True)
