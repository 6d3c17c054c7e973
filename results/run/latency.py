"""`vlmguard run --latency N`: the time of single answers, one at a time, in separate logs.

`LOG_DIR/latency/DEFENSE` holds an eval set for each defense: N samples of each benchmark, one
connection, no judges, no attacks. Tables recognise these logs by their tag and show the median.
"""

from typing import Final

from vlmguard.guard.errors import UserError, check_number
from vlmguard.results.logs.answers import GRADER
from vlmguard.results.logs.timing import LATENCY_TAG
from vlmguard.results.run.attack_choice import UNATTACKED, AttackChoice
from vlmguard.results.run.config import Matrix, ModelChoice, models

FOLDER: Final = "latency"


def latency_matrix(matrix: Matrix, number: int) -> Matrix:
    """The matrix that measures latency.

    Args:
        matrix: The matrix to measure.
        number: Samples of each benchmark; the median hides a first answer that waits for weights to
            load.

    Returns:
        The same benchmarks, defenses and targets with settings for single answers.

    Raises:
        UserError: The number is below 1, or calls would be batched or answered from a cache.
    """
    check_number("--latency", number, 1)
    if FOLDER in {defense.label or defense.name for defense in matrix.defenses}:
        raise UserError(f"a defense is labelled {FOLDER}: give it another label:.")
    timed = [*matrix.targets, *_guards(matrix)]
    for name in ("batch", "cache"):
        elsewhere = [each.model for each in timed if getattr(each.generate, name)]
        if matrix.options.get(name):
            elsewhere.append("options:")
        if elsewhere:
            listed = ", ".join(dict.fromkeys(elsewhere))
            raise UserError(f"--latency measures single calls: take {name} out of {listed}.")
    options = {key: value for key, value in matrix.options.items() if key != "epochs"}
    single = {"max_samples": 1, "max_connections": 1, "max_tasks": 1, "score": False}
    tags = [*(options.get("tags") or []), LATENCY_TAG]
    return matrix.model_copy(
        update={
            "log_dir": f"{matrix.log_dir.rstrip('/')}/{FOLDER}",
            "attacks": [AttackChoice(name=UNATTACKED)],
            "limit": number,
            "options": {**options, **single, "tags": tags},
        }
    )


def _guards(matrix: Matrix) -> list[ModelChoice]:
    """The models of all roles but the judges', which are not called here."""
    without = matrix.model_copy(
        update={"roles": {role: each for role, each in matrix.roles.items() if role != GRADER}}
    )
    return [model for defense in matrix.defenses for model in models(without, defense)]
