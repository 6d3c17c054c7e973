"""Builds several models at once, each in its own process; a model may wait for another."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from vlmguard.guard.package import PACKAGE


def work_off(
    names: list[str], needs: Mapping[str, str], jobs: int, task: Callable[[str], None]
) -> None:
    """Run a task for each name, in processes.

    Args:
        names: Names, in the order of their start if nothing delays them.
        needs: For a name, the name that must be finished before, if it is among the names.
        jobs: Number of processes (>= 1).
        task: The task; it can be pickled.

    Raises:
        Exception: The error of a task, after the tasks that had started are finished.
    """
    waiting = list(names)
    running: dict[Future[None], str] = {}
    context = get_context("spawn")  # torch does not work after a fork
    with ProcessPoolExecutor(jobs, context, initializer=_prepare) as pool:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            free = [name for name in waiting if needs.get(name) not in unfinished]
            for name in free[: jobs - len(running)]:
                waiting.remove(name)
                running[pool.submit(task, name)] = name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                future.result()


def log_progress() -> None:
    """Show the progress of trainings in this process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger(PACKAGE).setLevel(logging.INFO)


def _prepare() -> None:
    import torch

    log_progress()
    # One thread each: a tiny model cannot use two cores, but two models can.
    torch.set_num_threads(1)
