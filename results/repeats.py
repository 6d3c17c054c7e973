"""Whether runs of the same thing agree sample by sample: only then is every change a real one."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Final

from inspect_ai.log import (
    EvalSample,
    read_eval_log,
    read_eval_log_sample_summaries,
    read_eval_log_samples_by_id,
)

from vlmguard.results.baseline import Key, Reading, Scores, scores_of
from vlmguard.results.foreign import one_line
from vlmguard.results.frame import Results, read_results

# Only answers are read: images and events take most of a sample.
_UNREAD: Final = set(EvalSample.model_fields) - {"id", "epoch", "input", "target", "output"}


def with_repeats(
    results: Results, current: list[tuple[Scores, Reading]]
) -> list[tuple[Scores, Reading, str]]:
    """Call those runs deterministic whose repetitions among the logs agree with them.

    Args:
        results: What was read; of several runs of one thing the newest counts, copies not.
        current: Its runs.

    Returns:
        For each run its scores, with `deterministic` filled in where another run agreed in
        every answer and every score, how to read them, and what was found, for people.
    """
    others: dict[Key, list[tuple[Scores, Reading]]] = defaultdict(list)
    for path in results.repeats:
        for scores, reading in scores_of(read_results([path])):
            others[scores.key].append((scores, reading))
    found = []
    for scores, reading in current:
        runs = [(scores, reading), *others[scores.key]]
        if len(runs) == 1:
            found.append((scores, reading, "not deterministic, as far as one run can tell"))
            continue
        differing = sorted({sample for run in runs[1:] for sample in _unlike(runs[0], run)})
        if differing:
            said = (
                f"not deterministic: {len(runs)} runs differ in {len(differing)} of "
                f"{len(scores.samples)} samples (e.g. {one_line(differing[0])})"
            )
            found.append((scores, reading, said))
            continue
        logs = ", ".join(sorted(Path(each.path).name for _, each in runs))
        fixed = replace(scores, deterministic={**reading.fixed_by, "logs": logs})
        said = (
            f"deterministic: {len(runs)} runs agree in all {len(scores.samples)} samples, so "
            f"every loss above the tolerance counts, overall, by slice and by category"
        )
        found.append((fixed, reading, said))
    return found


def _unlike(first: tuple[Scores, Reading], second: tuple[Scores, Reading]) -> set[str]:
    """Samples in which scores or answers differ."""
    (one, here), (other, there) = first, second
    names = one.samples.keys() | other.samples.keys()
    if one.measures != other.measures:
        return set(names)
    differing = {name for name in names if one.samples.get(name) != other.samples.get(name)}
    answers, again = _answers(here.path), _answers(there.path)
    return differing | {
        sample
        for sample, epoch in answers.keys() | again.keys()
        if answers.get((sample, epoch)) != again.get((sample, epoch))
    }


def _answers(path: str) -> dict[tuple[str, int], str]:
    if path.endswith(".json"):
        samples = read_eval_log(path).samples or []
    else:
        summaries = read_eval_log_sample_summaries(path)
        keys = [(sample.id, sample.epoch) for sample in summaries]
        samples = read_eval_log_samples_by_id(path, keys, exclude_fields=_UNREAD)
    return {(str(sample.id), sample.epoch): sample.output.completion for sample in samples}
