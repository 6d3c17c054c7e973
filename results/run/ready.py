"""Checks all parts of a matrix before anything is paid for, and plans them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from inspect_ai import Task

from vlmguard.guard.errors import UserError
from vlmguard.results.run.begun import refuse_begun_otherwise
from vlmguard.results.run.config import Matrix, Step, roles, unfilled
from vlmguard.results.run.making import make_task
from vlmguard.results.run.parts import Part, parts
from vlmguard.results.run.plan import Made, Planned, lines_of
from vlmguard.results.run.preflight import checked_tasks, refuse_changed

__all__ = ["Ready", "ready"]


@dataclass(frozen=True)
class Ready:
    """What can run.

    Attributes:
        parts: The parts of the matrix, without twins whose data are missing.
        tasks: The tasks of the first part. Those of others are made again when they run: a task
            holds the pictures that had to be changed.
        lines: The plan of all parts.
    """

    parts: list[Part]
    tasks: list[Task]
    lines: list[Planned]


def ready(matrix: Matrix, look: Callable[[Part, list[Task]], None] | None = None) -> Ready:
    """Check a matrix, with all of its attacks.

    Args:
        matrix: The matrix.
        look: Gets each part that can run, with its tasks.

    Raises:
        UserError: As for `checked_tasks`, `refuse_changed` and `refuse_begun_otherwise`; or a
            placeholder was not filled in, two defenses share a folder, there is no such attack, it
            cannot be applied, or a model that it asks is missing.
    """
    if lacking := unfilled(matrix):
        raise UserError(f"{', '.join(lacking)}: fill that in first.")
    folders = [defense.label or defense.name for defense in matrix.defenses]
    if len(set(folders)) < len(folders):
        raise UserError("two defenses share a log folder: give each a label: of its own.")
    _check_attacks(matrix)
    tasks = checked_tasks(matrix)
    # Tasks without an attack serve all searches, too.
    known = list(zip(matrix.benchmarks, tasks, strict=True))
    running: list[Part] = []
    lines: list[Planned] = []

    def made(step: Step) -> Task:
        found = next((task for other, task in known if other == step), None)
        if found is None:
            found = make_task(step)
            if "attack" not in step.args:
                known.append((step, found))
        return found

    for part in parts(matrix, tasks):
        there, absent = _without_absent(part, made) if part.twin else (part, [])
        lines += absent
        if there.matrix.benchmarks:
            of_part = checked_tasks(there.matrix, made)
            refuse_changed(there.matrix, of_part, there.folders)
            refuse_begun_otherwise(there.matrix, of_part, there.folders)
            lines += lines_of(there, [Made(task) for task in of_part])
            running.append(there)
            if look is not None:
                look(there, of_part)
    return Ready(running, tasks, lines)


def _check_attacks(matrix: Matrix) -> None:
    """Refuse an unknown attack, and one without a model that it asks."""
    lacking = {
        f"{attack.label or attack.name}: {role.name}": None
        for attack in matrix.attacks
        if (chosen := attack.chosen) and not attack.optional
        for role in chosen.card.roles
        for defense in matrix.defenses
        if role.needed and role.name not in roles(matrix, defense)
    }
    if lacking:
        raise UserError(
            f"roles without a model: {'; '.join(lacking)}. Bind them: roles: in the "
            "configuration, or --role ROLE=MODEL without one."
        )


def _without_absent(part: Part, made: Callable[[Step], Task]) -> tuple[Part, list[Planned]]:
    """Twins that can run, and the plan of those that cannot: their data are missing."""
    there, absent = [], []
    for step in part.matrix.benchmarks:
        try:
            made(step)
            there.append(step)
        except UserError as error:
            alone = part.matrix.model_copy(update={"benchmarks": [step]})
            absent += lines_of(replace(part, matrix=alone), [Made(None, data_missing=str(error))])
    return replace(part, matrix=part.matrix.model_copy(update={"benchmarks": there})), absent
