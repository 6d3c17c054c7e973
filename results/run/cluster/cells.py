"""The cells of a matrix: what a process on a node runs at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inspect_ai import Task

from vlmguard.guard.errors import UserError
from vlmguard.guard.redaction import redact
from vlmguard.guard.roles import is_local
from vlmguard.guard.shards import Shard, shards_of
from vlmguard.results.logs.answers import digest
from vlmguard.results.run.attack_choice import UNATTACKED
from vlmguard.results.run.cluster.folders import benchmark_folder, target_folder
from vlmguard.results.run.config import Defense, Matrix, ModelChoice, Step, Target, roles
from vlmguard.results.run.parts import Part
from vlmguard.results.run.roles_needed import seen_as
from vlmguard.results.run.sharding import chosen_ids

__all__ = ["CELL", "Cell", "absolute", "cells_of", "local_models", "refuse_shared_folders"]

CELL = "cell"
"""The field of a log's metadata that identifies its cell, see `Cell.identity`."""


@dataclass(frozen=True)
class Cell:
    """One benchmark under one defense on one target, or one shard of that.

    Attributes:
        matrix: What is run: one benchmark and one target.
        defense: The defense.
        place: Folder of its logs.
        whole: Folder of all its shards.
        name: For messages: `vlmguard / siuo / openai/gpt-4o / 2-of-4`.
        samples: Number of its samples.
        identity: A digest of all that decides what its logs hold.
        shard: The shard; None for a whole benchmark.
        local: Its local models: the target's, and those of roles.
    """

    matrix: Matrix
    defense: Defense
    place: str
    whole: str
    name: str
    samples: int
    identity: str
    shard: Shard | None = None
    local: tuple[ModelChoice, ...] = field(default=(), compare=False)

    @property
    def step(self) -> Step:
        """Its benchmark."""
        return self.matrix.benchmarks[0]

    @property
    def target(self) -> Target:
        """Its target."""
        return self.matrix.targets[0]

    @property
    def pool(self) -> tuple[str, str]:
        """What cells share that one process may run: the local target, and resources."""
        _, inside = seen_as(self.defense, self.target)
        local = f"{inside.model} {digest(redact(inside.model_args))}" if self.local else ""
        return local, digest(self.target.resources)


def cells_of(part: Part, tasks: Sequence[Task], ran: Matrix) -> list[Cell]:
    """The cells of a part, in the order of a run without Ray; none without samples.

    Args:
        part: The part.
        tasks: The task of each of its benchmarks.
        ran: Its matrix as it is run, with what its defenses share (`with_guard_cache`).

    Raises:
        UserError: Shards cannot follow the options, see `chosen_ids`.
    """
    ids = [chosen_ids(task, part.matrix, tasks) for task in tasks]
    versions = [str(task.version) for task in tasks]
    return [
        cell
        for planned, defense, folder in zip(
            part.matrix.defenses, ran.defenses, part.folders, strict=True
        )
        for step, of_step, version in zip(part.matrix.benchmarks, ids, versions, strict=True)
        if of_step
        for target in part.matrix.targets
        for cell in _shards(part, ran, planned, defense, folder, step, of_step, version, target)
    ]


def _shards(
    part: Part,
    ran: Matrix,
    planned: Defense,
    defense: Defense,
    folder: str,
    step: Step,
    ids: list[int | str],
    version: str,
    target: Target,
) -> list[Cell]:
    matrix = ran.model_copy(
        update={"benchmarks": [step], "targets": [target], "defenses": [defense]}
    )
    whole = f"{absolute(folder)}/{benchmark_folder(step)}/{target_folder(target)}"
    named = [part.attack] if part.attack != UNATTACKED else []
    around, inside = seen_as(planned, target)
    labels = [each.label or each.name for each in part.matrix.benchmarks]
    label = step.label or step.name
    label = benchmark_folder(step) if labels.count(label) > 1 else label
    named += [around.label or around.name, label, inside.model]
    name = " / ".join(named)
    # Without what changes with each run: the cache that defenses share.
    told = part.matrix.model_copy(
        update={"benchmarks": [step], "targets": [target], "defenses": [planned]}
    )
    aside = {"log_dir", "attacks", "prices", "shards"}
    identity = digest([redact(told.model_dump(mode="json", exclude=aside)), version])
    local = local_models(planned, target, part.matrix)
    if part.matrix.shards == 1:
        return [Cell(matrix, defense, whole, whole, name, len(ids), identity, None, local)]
    return [
        Cell(
            matrix,
            defense,
            f"{whole}/{shard.name}",
            whole,
            f"{name} / {shard.name}",
            shard.sizes[shard.number - 1],
            digest([identity, shard.noted()]),
            shard,
            local,
        )
        for shard in shards_of(ids, part.matrix.shards)
    ]


def local_models(defense: Defense, target: Target, matrix: Matrix) -> tuple[ModelChoice, ...]:
    """The models of a cell whose weights its process loads."""
    _, inside = seen_as(defense, target)
    chosen = [inside, *(each for bound in roles(matrix, defense).values() for each in bound)]
    return tuple(each for each in chosen if is_local(each.model.partition("/")[0]))


def refuse_shared_folders(cells: Sequence[Cell]) -> None:
    """Stop if two cells would write to one folder.

    Raises:
        UserError: Names both.
    """
    taken: dict[str, Cell] = {}
    for cell in cells:
        other = taken.setdefault(cell.place, cell)
        if other is not cell:
            raise UserError(
                f"{cell.name} and {other.name} share the log folder {cell.place}: give one of the "
                "benchmarks a label: of its own, or name each target once."
            )


def absolute(folder: str) -> str:
    """A folder that means the same on all nodes."""
    if "://" in folder:
        return folder
    return str(Path(folder).absolute())
