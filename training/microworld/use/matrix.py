"""A small version of the paper's experiment: defenses and controls on tiny targets.

    vlmguard microworld demo                          # one target, the easiest thing to run
    vlmguard microworld matrix --targets qwen2-vl llava --levels low high

The runs are those of `vlmguard run`, each in its own log folder; interrupted ones are resumed. A
folder's name ends in a digest of all that decides the result (world, templates, weights,
arguments), so that no results of older models are used.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from vlmguard.guard.attacks import chosen_attack
from vlmguard.guard.errors import UserError, check_choice, check_number
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, Step, Target
from vlmguard.results.run.matrix import run
from vlmguard.tasks.microworld import VERSION
from vlmguard.training.microworld.models.api import TARGETS, checkpoint
from vlmguard.training.microworld.models.cards import weights_hash, world_hash
from vlmguard.training.microworld.models.tokenizer import templates_hash

# Imported to register the solvers that a configuration names.
from vlmguard.training.microworld.use import controls
from vlmguard.training.microworld.use.flags import models_of, runnable, solver_options
from vlmguard.training.microworld.world.levels import LEVELS

ATTACKS: Final = (
    "adaptive:R1",
    "adaptive:R2",
    "adaptive:R2:note=ALL SAFE",
    "adaptive:R3",
    "adaptive:R6",
)
"""The attacks on the guard itself that the matrix runs: those of the adaptive attack success, and a
note that fits into a drawing of 64 x 64 pixels whole."""

CONTROLS: Final = (controls.always_caution.__name__, controls.always_refuse.__name__)

Report = Callable[[str], None]
"""Gets the name of a run, and its time."""


def plan(
    targets: list[str],
    levels: list[str],
    log_dir: Path,
    limit: int | None = None,
    attacks: Sequence[str] = (),
) -> list[Matrix]:
    """The runs, each of one target, level and defense, in their order; attacked ones come last.

    Args:
        targets: Names of tiny targets; repeated ones are run once.
        levels: Levels of competence, likewise.
        log_dir: Folder for logs: `LEVEL/DEFENSE/TARGET-DIGEST`.
        limit: Samples per run (>= 1), for a trial.
        attacks: Static attacks on the first target at the first level, undefended and behind each
            defense.

    Returns:
        A matrix for each run.

    Raises:
        UserError: There is no such target, level or attack, the limit is out of range, or models
            have not been built.
    """
    for target in targets:
        check_choice("target", target, TARGETS)
    for level in levels:
        check_choice("level", level, tuple(LEVELS))
    if limit is not None:
        check_number("--limit", limit, 1)
    names = solvers()
    for model in (*targets, *(model for name in names for model in models_of(name))):
        checkpoint(model)
    world = f"{world_hash()} {templates_hash()} {VERSION}"
    clean = [
        _single(target, level, name, log_dir, limit, world)
        for target in dict.fromkeys(targets)
        for level in dict.fromkeys(levels)
        for name in names
    ]
    attacked = [
        _single(targets[0], levels[0], name, log_dir, limit, world, attack)
        for attack in attacks
        for name in names
        if name not in CONTROLS
    ]
    return clean + attacked


def solvers() -> list[str]:
    """The solvers for each target: none, every defense that can run here, the controls."""
    return [UNDEFENDED, *runnable(), *CONTROLS]


def _single(
    target: str,
    level: str,
    name: str,
    log_dir: Path,
    limit: int | None,
    world: str,
    attack: str | None = None,
) -> Matrix:
    defense = Defense(name=name, args=solver_options(name))
    under = {"attack": attack} if attack else {}
    matrix = Matrix(
        log_dir=str(log_dir / level),
        targets=[Target(model=f"microworld/{target}/{level}")],
        benchmarks=[Step(name="microworld", args={"target": target, "level": level, **under})],
        defenses=[defense],
        limit=limit,
        # Logs hold only what a table needs: a drawing can be drawn again.
        options={
            "display": "none",
            "temperature": 0.0,
            "seed": 0,
            "log_images": False,
            "log_realtime": False,
            "score_display": False,
        },
    )
    weights = [weights_hash(checkpoint(each)) for each in (target, *models_of(name))]
    asked = matrix.model_dump(exclude={"log_dir"})
    identity = [chosen_attack(attack).identity] if attack else []
    text = json.dumps([asked, weights, world, *identity], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    defense.label = f"{name}/{target}-{digest}"
    return matrix


def log_folder(matrix: Matrix) -> Path:
    """The folder of the log of a run that `plan` returned."""
    return Path(matrix.log_dir, matrix.defenses[0].label or "")


def run_all(matrices: list[Matrix], jobs: int, report: Report) -> None:
    """Run those that are missing.

    Args:
        matrices: The result of `plan`.
        jobs: Number of processes (>= 1); each tiny model keeps one core busy.
        report: Called after each run.

    Raises:
        UserError: A run did not finish.
    """
    check_number("--jobs", jobs, 1)
    start = time.monotonic()
    context = get_context("spawn")  # torch does not work after a fork
    with ProcessPoolExecutor(min(jobs, len(matrices)), context) as pool:
        running = [pool.submit(run_one, matrix) for matrix in matrices]
        try:
            for number, done in enumerate(as_completed(running), start=1):
                passed = time.monotonic() - start
                report(f"[{number}/{len(matrices)}] {done.result()} ({passed:.0f} s so far)")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_one(matrix: Matrix) -> str:
    """Do one of the runs, if it is not done yet.

    Args:
        matrix: One target, level and defense.

    Returns:
        The name of the run, and its time.

    Raises:
        UserError: It did not finish.
    """
    name = f"{matrix.defenses[0].name} on {matrix.targets[0].model}"
    if attack := matrix.benchmarks[0].args.get("attack"):
        name += f" under {attack}"
    start = time.monotonic()
    if not run(matrix):
        raise UserError(f"{name} did not finish: see inspect view --log-dir {log_folder(matrix)}")
    return f"{name}: {time.monotonic() - start:.0f} s"
