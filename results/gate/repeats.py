"""Whether repeated runs agree sample by sample. Only then every later change is real.

Two logs may also agree because they hold the same answers. Answers from Inspect's cache keep the id
of their message, those of copied or retried logs the id of their sample.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from inspect_ai.log import (
    EvalSample,
    read_eval_log,
    read_eval_log_sample_summaries,
    read_eval_log_samples_by_id,
)

from vlmguard.results.gate.baseline import Key, Reading, Scores, scores_of
from vlmguard.results.logs.frame import Results, read_results
from vlmguard.results.logs.timing import configs_of
from vlmguard.results.sanitize import one_line

# Only answers are read: images and events take most of a sample.
_READ: Final = {"id", "epoch", "uuid", "input", "target", "output"}
_UNREAD: Final = set(EvalSample.model_fields) - _READ


@dataclass(frozen=True)
class _Answer:
    text: str
    # Ids of the sample and of the message.
    ids: frozenset[str]


_Answers = dict[tuple[str, int], _Answer]


def with_repeats(
    results: Results, current: list[tuple[Scores, Reading]]
) -> list[tuple[Scores, Reading, str]]:
    """Mark those runs as deterministic whose repetitions among the logs agree with them.

    Args:
        results: What was read, with the paths of older runs.
        current: The newest runs.

    Returns:
        For each run its scores, how to read them, and a sentence for people. `deterministic` is
        filled in if another run, with newly made answers, agreed in every answer and score.
    """
    others: dict[Key, list[tuple[Scores, Reading]]] = defaultdict(list)
    for paths in results.repeats:
        for scores, reading in scores_of(read_results(paths)):
            others[scores.key].append((scores, reading))
    found = []
    for scores, reading in current:
        runs = [(scores, reading), *others[scores.key]]
        if len(runs) == 1:
            found.append((scores, reading, "not deterministic, as far as one run can tell"))
            continue
        answers = [_answers(each.paths) for _, each in runs]
        differing = sorted(
            {
                sample
                for run, given in zip(runs[1:], answers[1:], strict=True)
                for sample in _unlike(scores, answers[0], run[0], given)
            }
        )
        if differing:
            said = (
                f"not deterministic: {len(runs)} runs differ in {len(differing)} of "
                f"{len(scores.samples)} samples (e.g. {one_line(differing[0])})"
            )
            found.append((scores, reading, said))
            continue
        if reason := _made_once([path for _, each in runs for path in each.paths], answers):
            found.append((scores, reading, f"not deterministic, as far as can be told: {reason}"))
            continue
        logs = ", ".join(sorted(Path(path).name for _, each in runs for path in each.paths))
        fixed = replace(scores, deterministic={**reading.fixed_by, "logs": logs})
        said = (
            f"deterministic: {len(runs)} runs agree in all {len(scores.samples)} samples, so "
            f"every loss above the tolerance counts, overall, by slice and by category"
        )
        found.append((fixed, reading, said))
    return found


def _unlike(one: Scores, answers: _Answers, other: Scores, again: _Answers) -> set[str]:
    """Samples in which scores or answers differ."""
    names = one.samples.keys() | other.samples.keys()
    if one.measures != other.measures:
        return set(names)
    differing = {name for name in names if one.samples.get(name) != other.samples.get(name)}
    texts, others = (
        {key: each.text for key, each in all_of.items()} for all_of in (answers, again)
    )
    return differing | {
        sample
        for sample, epoch in texts.keys() | others.keys()
        if texts.get((sample, epoch)) != others.get((sample, epoch))
    }


def _made_once(paths: list[str], answers: list[_Answers]) -> str:
    """Why runs agree even if the models are not deterministic; empty if there is no such reason."""
    for path in paths:
        if any(config.cache for config in configs_of(read_eval_log(path, header_only=True))):
            return (
                f"{Path(path).name} was run with a cache, which may have answered calls; run "
                f"without it"
            )
    seen: set[str] = set()
    shared = 0
    for all_of in answers:
        shared = max(shared, sum(bool(each.ids & seen) for each in all_of.values()))
        seen.update(*(each.ids for each in all_of.values()))
    if shared:
        return (
            f"the logs share {shared} answers, which were made once (copied, kept by a retry, or "
            f"from a cache); run it anew"
        )
    return ""


def _answers(paths: Iterable[str]) -> _Answers:
    return {
        (str(sample.id), sample.epoch): _Answer(
            sample.output.completion,
            frozenset(
                each
                for each in (sample.uuid, *(made.message.id for made in sample.output.choices))
                if each
            ),
        )
        for path in paths
        for sample in _samples(path)
    }


def _samples(path: str) -> list[EvalSample]:
    if path.endswith(".json"):
        return read_eval_log(path).samples or []
    keys = [(sample.id, sample.epoch) for sample in read_eval_log_sample_summaries(path)]
    return read_eval_log_samples_by_id(path, keys, exclude_fields=_UNREAD)
