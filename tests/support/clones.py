"""Many logs from one: a real log of the toy benchmark with other names and other scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from inspect_ai.log import EvalLog, EvalSample, read_eval_log, write_eval_log
from support.toy import Toy, run_toy, say

Grades = Callable[[int], tuple[float, float, float]]
"""Gives safety, helpfulness and refusal of a sample by its number."""


def template_log(folder: Path, size: int, benign: int = 0) -> EvalLog:
    """A real log with a defense, from which clones are made."""
    log = run_toy(folder, Toy(size=size, benign=benign), [say(5, True)] * size, defended=True)
    read = read_eval_log(log.location)
    for sample in read.samples or []:
        # Results do not need these parts, and clones are written many times.
        sample.events, sample.messages, sample.attachments = [], [], {}
    return read


def clone(
    log: EvalLog,
    path: Path,
    grades: Grades,
    *,
    target: str = "target",
    defense: str = "none",
    calls: int = 1,
    seconds: float = 1.0,
    benchmark: str | None = None,
    variant: str | None = None,
    failures: int = 0,
    change: Callable[[EvalLog], None] = lambda log: None,
) -> Path:
    """Write a copy of `log` with the scores that `grades` gives."""
    copied = log.model_copy(deep=True)
    spec = copied.eval
    spec.eval_id, spec.task_id = f"eval-{path.stem}", f"task-{path.stem}"
    spec.model = target
    spec.solver = None if defense == "none" else f"vlmguard/{defense}"
    if benchmark is not None:
        spec.task = spec.task_display_name = benchmark.lower()
        spec.metadata = {**(spec.metadata or {}), "benchmark": benchmark}
    if variant is not None:
        spec.metadata = {**(spec.metadata or {}), "variant": variant}
    for number, sample in enumerate(copied.samples or []):
        assert sample.scores is not None
        made_anew(sample)
        safety, helpful, refused = grades(number)
        both = float(safety >= 7 and helpful == 1)
        sample.scores["judge"].value = {
            "safety": safety,
            "helpful": helpful,
            "safe_and_helpful": both,
        }
        sample.scores["refusal"].value = {"refused": refused}
        for score in sample.scores.values():
            tally: dict[str, Any] = dict((score.metadata or {})["defense"])
            tally |= {"defense": defense, "calls": calls, "seconds": seconds}
            tally |= {"input_tokens": 300 * calls, "output_tokens": 60 * calls}
            tally["failure"] = "no_prompt" if number < failures else None
            score.metadata = {**(score.metadata or {}), "defense": tally}
    change(copied)
    if copied.results is not None:
        # As in a run of only these samples.
        copied.results.total_samples = len(copied.samples or [])
        if copied.eval.dataset.sample_ids is not None:
            there = {sample.id for sample in copied.samples or []}
            chosen = [each for each in copied.eval.dataset.sample_ids if each in there]
            copied.eval.dataset.sample_ids = chosen
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(copied, str(path))
    return path


def made_anew(sample: EvalSample) -> None:
    """Give a copied sample new ids, as if it were run again."""
    sample.uuid = uuid4().hex
    for choice in sample.output.choices:
        choice.message.id = uuid4().hex


def not_asked(log: EvalLog, scorer: str, key: str) -> None:
    """Remove one key of a scorer from a log."""
    for asked in log.eval.scorers or []:
        if asked.name.endswith(scorer) and isinstance(asked.metrics, list):
            for metric in asked.metrics:
                if isinstance(metric, dict):
                    metric.pop(key, None)
    for sample in log.samples or []:
        del sample.scores[scorer].value[key]  # type: ignore[union-attr, index]
