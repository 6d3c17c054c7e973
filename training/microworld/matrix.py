"""The paper's experiment in small: six defenses and two controls, on tiny targets, at two levels.

    vlmguard microworld demo                          # one target, the easiest thing to run
    vlmguard microworld matrix --targets qwen2-vl llava --levels low high

The runs are those of `vlmguard run`: a log folder for each level and defense, resumed where a run
was interrupted.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from vlmguard.errors import UserError, check_choice
from vlmguard.results.run import Defense, Matrix, ModelChoice, Step, run

# Imported for their registration: a configuration names solvers.
from vlmguard.training.microworld import controls
from vlmguard.training.microworld.api import TARGETS, checkpoint
from vlmguard.training.microworld.flags import solver_options
from vlmguard.training.microworld.levels import LEVELS

DEFENSES: Final = ("none", "vlmguard", "ecso", "eta", "mllm_protector", "figstep_defense")
CONTROLS: Final = (controls.always_caution.__name__, controls.always_refuse.__name__)

Report = Callable[[str], None]
"""Told what is being run, and how long it took."""


def plan(
    targets: list[str],
    levels: list[str],
    log_dir: Path,
    defenses: tuple[str, ...] = DEFENSES + CONTROLS,
    limit: int | None = None,
) -> list[Matrix]:
    """The runs, one target, level and defense each, in the order in which they are done.

    Args:
        targets: Names of tiny targets.
        levels: Levels of competence.
        log_dir: Where logs go: `LEVEL/DEFENSE`.
        defenses: Defenses and controls.
        limit: Samples a run, for a trial.

    Raises:
        UserError: There is no such target or level, or models have not been built.
    """
    for target in targets:
        check_choice("target", target, TARGETS)
    for level in levels:
        check_choice("level", level, tuple(LEVELS))
    for name in [*targets, *(["rewriter"] if "vlmguard" in defenses else [])]:
        checkpoint(name)
    return [
        Matrix(
            log_dir=str(log_dir / level),
            targets=[ModelChoice(model=f"microworld/{target}/{level}")],
            benchmarks=[Step(name="microworld", args={"target": target, "level": level})],
            defenses=[Defense(name=name, args=solver_options(name), label=f"{name}/{target}")],
            limit=limit,
            # Nothing to look at in a log but what a table needs: a drawing can be drawn again.
            options={
                "display": "none",
                "temperature": 0.0,
                "seed": 0,
                "log_images": False,
                "log_realtime": False,
                "score_display": False,
            },
        )
        for target in targets
        for level in levels
        for name in defenses
    ]


def run_all(matrices: list[Matrix], jobs: int, report: Report) -> None:
    """Run what is missing.

    Args:
        matrices: What `plan` returned.
        jobs: Number of processes; tiny models keep one core busy each, whatever torch does.
        report: Told after each run.

    Raises:
        UserError: A run did not finish.
    """
    start = time.monotonic()
    context = get_context("spawn")  # torch does not survive a fork
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
    """Do one of the runs, if it has not been done yet.

    Args:
        matrix: One target, level and defense.

    Returns:
        What was run, and how long it took.

    Raises:
        UserError: It did not finish.
    """
    name = f"{matrix.defenses[0].name} on {matrix.targets[0].model}"
    start = time.monotonic()
    if not run(matrix):
        folder = f"{matrix.log_dir}/{matrix.defenses[0].label}"
        raise UserError(f"{name} did not finish: see inspect view --log-dir {folder}")
    return f"{name}: {time.monotonic() - start:.0f} s"
