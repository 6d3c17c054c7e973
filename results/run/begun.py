"""Finds logs that were begun with other samples, epochs or scoring than a run asks for now.

Inspect compares numbers of samples alone. So it would take a log of other samples for finished, and
of a log that holds more than is asked for now it would keep what is asked for, and remove the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from inspect_ai import Task

# Inspect has no public name for the settings that do not make another run.
from inspect_ai._eval.evalset import GENERATE_CONFIG_FIELDS_TO_EXCLUDE
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log_sample_summaries
from inspect_ai.model import GenerateConfig

from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import Shard
from vlmguard.results.logs.answers import bare, digest
from vlmguard.results.run.changed_files import holds_logs, is_run_of
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, Step
from vlmguard.results.run.headers import read_header
from vlmguard.results.run.making import as_logged
from vlmguard.results.run.sharding import chosen_ids

__all__ = ["refuse_begun_otherwise"]

_NAMED: Final = 3


def refuse_begun_otherwise(matrix: Matrix, tasks: Sequence[Task], places: Sequence[str]) -> None:
    """Stop if answers would be lost, or taken for those to other samples.

    Args:
        matrix: The configuration.
        tasks: Its benchmarks.
        places: The log folder of each defense.

    Raises:
        UserError: Names the logs, and what they hold.
    """
    asked = cache(lambda number: _Asked.of(matrix, tasks[number], tasks))
    wrong = [
        f"{log.location.removeprefix('file://')}: {said}"
        for defense, place in zip(matrix.defenses, places, strict=True)
        for log in _newest(place)
        for number, (step, task) in enumerate(zip(matrix.benchmarks, tasks, strict=True))
        if _continues(log, matrix, defense, step, task) and (said := _otherwise(log, asked(number)))
    ]
    if wrong:
        more = f"\n  ... and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        listed = "\n".join(f"  {line}" for line in wrong[:_NAMED])
        raise UserError(
            "these logs do not hold what is asked for now, and to go on with them would mix "
            f"answers, or remove some that were paid for:\n{listed}{more}\n"
            "Run as before, or name another log_dir."
        )


@dataclass(frozen=True)
class _Asked:
    """What a run asks of a benchmark.

    Attributes:
        ids: Its samples; None if a shuffle draws them.
        limit: The number of samples at most.
        epochs: Answers to each.
        scored: Whether its answers are scored.
    """

    ids: frozenset[int | str] | None
    limit: int | None
    epochs: int
    scored: bool

    @classmethod
    def of(cls, matrix: Matrix, task: Task, tasks: Sequence[Task]) -> "_Asked":
        shuffled = bool(matrix.options.get("sample_shuffle"))
        return cls(
            None if shuffled else frozenset(chosen_ids(task, matrix, tasks)),
            matrix.limit,
            matrix.options.get("epochs", task.epochs or 1),
            bool(matrix.options.get("score", True) and task.scorer),
        )


def _newest(place: str) -> Iterator[EvalLog]:
    """The newest log of each task below a folder: Inspect goes on with that one."""
    found: dict[str, EvalLog] = {}
    for info in list_eval_logs(place) if holds_logs(place) else ():
        log = read_header(info)
        other = found.get(log.eval.task_id)
        if other is None or other.eval.created < log.eval.created:
            found[log.eval.task_id] = log
    yield from found.values()


def _continues(log: EvalLog, matrix: Matrix, defense: Defense, step: Step, task: Task) -> bool:
    """Whether Inspect would go on with a log; under other settings it begins another."""
    ran = as_logged(step)
    solver = "" if defense.name == UNDEFENDED else defense.name
    set_now = {
        name: each for name, each in matrix.options.items() if name in GenerateConfig.model_fields
    }
    return (
        is_run_of(log, ran.name, ran.args, task)
        and bare(log.eval.solver or "") == bare(solver)
        and digest(log.eval.solver_args_passed or {}) == digest(defense.args)
        and _settings(log.plan.config) == _settings(task.config.merge(GenerateConfig(**set_now)))
        and any(
            log.eval.model == target.model
            and _settings(log.eval.model_generate_config) == _settings(target.generate)
            for target in matrix.targets
        )
    )


def _settings(config: GenerateConfig) -> str:
    return digest(
        config.model_dump(
            mode="json", exclude_none=True, exclude=set(GENERATE_CONFIG_FIELDS_TO_EXCLUDE)
        )
    )


def _otherwise(log: EvalLog, asked: _Asked) -> str:
    """How a log differs from what is asked for; empty if it can go on."""
    epochs = log.eval.config.epochs or 1
    if epochs > asked.epochs:
        return f"epochs: {epochs}, and now {asked.epochs}"
    if asked.scored and _is_unscored(log):
        return "no scores (score: false); inspect score LOG --scorer vlmguard/NAME adds some"
    then = log.eval.dataset.sample_ids or []
    stays = _is_finished(log) and epochs == asked.epochs
    if asked.ids is None:
        fewer = not stays and asked.limit is not None and len(then) > asked.limit
        return f"{len(then)} samples, and now {asked.limit}" if fewer else ""
    aside = [each for each in then if each not in asked.ids]
    if not aside:
        return ""
    shard = Shard.noted_in(log.eval.metadata)
    if stays and {each for each in asked.ids if shard is None or shard.holds(each)} <= set(then):
        return ""
    more = f" and {len(aside) - _NAMED} more" if len(aside) > _NAMED else ""
    state = "" if _is_finished(log) else " (unfinished)"
    return (
        f"{len(then)} samples{state}, of which these are not chosen now: "
        f"{', '.join(map(str, aside[:_NAMED]))}{more} (limit or sample_id has changed)"
    )


def _is_unscored(log: EvalLog) -> bool:
    """Whether a log has answers without scores, which nothing scores when it goes on."""
    if _is_finished(log):
        return log.results is not None and not log.results.scores
    told = read_eval_log_sample_summaries(log.location)
    answered = [each for each in told if each.completed and not each.error]
    return bool(answered) and not any(each.scores for each in answered)


def _is_finished(log: EvalLog) -> bool:
    """Whether nothing in a log is left to do, so that Inspect would leave it as it is."""
    return (
        log.status == "success"
        and not log.invalidated
        and log.results is not None
        and log.results.completed_samples >= log.results.total_samples
    )
