"""`vlmguard run --ray`: checks a matrix, and has its cells run on a cluster.

The process that runs this alone holds the locks of the folders; it makes and scores nothing itself.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from inspect_ai import Task

from vlmguard.guard.errors import UserError
from vlmguard.results.logs.timing import LATENCY_TAG
from vlmguard.results.run.cluster.cells import Cell, cells_of, refuse_shared_folders
from vlmguard.results.run.cluster.checks import check_nodes, lacking_resources, on_the_cpu, total
from vlmguard.results.run.cluster.finished import (
    finished_cells,
    headers_below,
    refuse_other_runs,
)
from vlmguard.results.run.cluster.node import Start, settings_here, versions_here
from vlmguard.results.run.cluster.session import connected, nodes, require_ray
from vlmguard.results.run.cluster.view import View
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.guard_cache import with_guard_cache
from vlmguard.results.run.locks import locked
from vlmguard.results.run.parts import Part
from vlmguard.results.run.plan import Planned
from vlmguard.results.run.ready import ready

__all__ = ["Looked", "look_at", "run_on_ray"]


@dataclass(frozen=True)
class Looked:
    """What a matrix consists of.

    Attributes:
        matrix: The matrix.
        cells: Its cells.
        folders: The folders of its defenses, with all attacks.
        lines: The plan.
    """

    matrix: Matrix
    cells: list[Cell]
    folders: list[str]
    lines: list[Planned]

    @property
    def timed(self) -> bool:
        """Whether it measures the time of single answers, which others would disturb."""
        return LATENCY_TAG in (self.matrix.options.get("tags") or [])


def run_on_ray(
    matrices: Sequence[Matrix],
    address: str,
    announce: Callable[[list[Planned]], None] | None = None,
) -> bool:
    """Run or resume matrices on a cluster, one after the other.

    Args:
        matrices: The matrices.
        address: Of the cluster, see `connected`.
        announce: Gets the plan of each before anything is paid for.

    Returns:
        Whether everything finished.

    Raises:
        UserError: As for `ready`; or Ray is not installed, there is no such cluster, a node lacks
            something, another run uses a folder or has used it in another way, or a disk is full.
        KeyboardInterrupt: Ctrl-C; finished samples are kept.
    """
    require_ray()
    looked = [look_at(matrix) for matrix in matrices]
    if announce is not None:
        for each in looked:
            announce(each.lines)
    folders = list(dict.fromkeys(folder for each in looked for folder in each.folders))
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(locked(folder))
        headers = headers_below(folders)
        cells = [cell for each in looked for cell in each.cells]
        refuse_other_runs(cells, headers)
        finished = finished_cells(cells, headers)
        view = View(len(cells), len(finished))
        if len(finished) == len(cells):
            return True
        with connected(address):
            there = nodes()
            if lacking := lacking_resources(matrices, there):
                raise UserError(f"{'; '.join(lacking)}.")
            check_nodes(address, matrices, there)
            for line in on_the_cpu(matrices, there):
                print(line)
            view.starting(total(there))
            return _run(looked, finished, view)


def look_at(matrix: Matrix) -> Looked:
    """Check a matrix and make its cells.

    Raises:
        UserError: As for `ready`; or two cells share a folder.
    """
    cells: list[Cell] = []

    def look(part: Part, tasks: list[Task]) -> None:
        cells.extend(cells_of(part, tasks, with_guard_cache(part.matrix)))

    checked = ready(matrix, look)
    refuse_shared_folders(cells)
    folders = dict.fromkeys(folder for part in checked.parts for folder in part.folders)
    return Looked(matrix, cells, list(folders), checked.lines)


def _run(looked: Sequence[Looked], finished: Sequence[Cell], view: View) -> bool:
    # Imports Ray.
    from vlmguard.results.run.cluster.pool import hand_out

    start = Start(versions_here(), settings_here(), str(Path.cwd()))
    done = {cell.place for cell in finished}
    failed: list[tuple[str, str]] = []
    for each in looked:
        left = [cell for cell in each.cells if cell.place not in done]
        if left:
            failed += hand_out(left, start, view, one=each.timed)
    view.errors(failed)
    return not failed
