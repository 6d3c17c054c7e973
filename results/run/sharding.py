"""The samples of a benchmark that a run answers, and those of them that fall to a shard."""

from collections.abc import Sequence

from inspect_ai import Task

# Inspect has no public names for how it chooses samples by id.
from inspect_ai._eval.task.util import resolve_task_sample_ids, slice_dataset
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample

from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import Shard
from vlmguard.results.run.config import Matrix

__all__ = ["chosen_ids", "only_shard"]


def chosen_ids(task: Task, matrix: Matrix, tasks: Sequence[Task]) -> list[int | str]:
    """The ids of the samples that a run answers, as `limit` and `sample_id` choose them.

    Args:
        task: The task of a benchmark.
        matrix: The configuration.
        tasks: The tasks of all benchmarks, as `sample_id` may name one
            (`vlmguard/siuo:siuo/1001`).

    Raises:
        UserError: No sample is chosen; or samples are shuffled before `limit` takes some, which
            shards cannot follow.
    """
    options = matrix.options
    if matrix.shards > 1 and options.get("sample_shuffle") and matrix.limit is not None:
        raise UserError(
            "shards: with sample_shuffle: and limit: shards would choose other samples than the "
            "whole benchmark. Leave one of the three out."
        )
    wanted = options.get("sample_id")
    if wanted is not None:
        wanted = resolve_task_sample_ids(task.name, wanted, [each.name for each in tasks])
    try:
        chosen = slice_dataset(_numbered(task).dataset, matrix.limit, wanted)
    except PrerequisiteError as error:
        raise UserError(f"{error}") from error
    return [_id(sample) for sample in chosen]


def only_shard(task: Task, matrix: Matrix, shard: Shard) -> Task:
    """A task with the samples of a shard alone.

    Args:
        task: The whole task, freshly made; it is changed.
        matrix: The configuration.
        shard: The shard.

    Raises:
        UserError: Other data than those that were split: the number of samples differs.
    """
    kept = {each for each in chosen_ids(task, matrix, [task]) if shard.holds(each)}
    task.dataset = task.dataset.filter(lambda sample: _id(sample) in kept)
    planned = shard.sizes[shard.number - 1]
    if len(task.dataset) != planned:
        raise UserError(
            f"{task.name}: shard {shard.name} has {len(task.dataset)} samples here, and "
            f"{planned} where the run was started: the data differ. Give all machines the same."
        )
    return task


def _numbered(task: Task) -> Task:
    """The task with ids for all samples: as Inspect counts them in the whole benchmark."""
    for number, sample in enumerate(task.dataset, 1):
        if sample.id is None:
            sample.id = number
    return task


def _id(sample: Sample) -> int | str:
    assert sample.id is not None
    return sample.id
