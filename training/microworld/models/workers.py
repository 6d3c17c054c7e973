"""Several models at once: each in a process of its own, a model that needs another one after it."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context


def work_off(
    names: list[str], needs: Mapping[str, str], jobs: int, task: Callable[[str], None]
) -> None:
    """Do a task for each name.

    Args:
        names: Names, in the order in which they are begun where nothing stands against it.
        needs: The name after which another one may begin, if that is among the names too.
        jobs: Number of processes (>= 1).
        task: What is done; it can be pickled.

    Raises:
        Exception: What a task raised; what had begun by then is finished first.
    """
    waiting = list(names)
    running: dict[Future[None], str] = {}
    context = get_context("spawn")  # torch does not survive a fork
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
    """Show how far trainings are, in this process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("vlmguard").setLevel(logging.INFO)


def _prepare() -> None:
    import torch

    log_progress()
    # A tiny model cannot keep two cores busy; two of them can.
    torch.set_num_threads(1)
