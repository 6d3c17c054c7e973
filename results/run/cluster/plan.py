"""The plan of a run on a cluster: cells, shards, and resources asked against what is there."""

from collections import Counter
from collections.abc import Sequence

from vlmguard.guard.errors import UserError
from vlmguard.results.run.cluster.cells import Cell
from vlmguard.results.run.cluster.checks import lacking_resources, on_the_cpu, total
from vlmguard.results.run.cluster.driver import look_at
from vlmguard.results.run.cluster.session import Node, connected, nodes
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.resources import fits, named_resources

__all__ = ["cluster_plan"]


def cluster_plan(matrices: Sequence[Matrix], address: str) -> tuple[list[str], list[str]]:
    """What a run on a cluster would do there; a cluster of our own is started for it.

    Args:
        matrices: The matrices, which can start otherwise.
        address: Of the cluster.

    Returns:
        Sentences of the plan, and those on what is missing. Without their data, how many samples
        fall to which shard is not known, and cells are not counted.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    cells: list[Cell] = []
    unknown = []
    for matrix in matrices:
        try:
            cells += look_at(matrix).cells
        except UserError as error:
            unknown.append(f"cells are not counted: {error}")
    with connected(address):
        there = nodes()
        lines = [f"Ray ({address}), {total(there)}.", *_cells(cells, matrices), *unknown]
        lines += _targets(cells, there)
        return [*lines, *on_the_cpu(matrices, there)], lacking_resources(matrices, there)


def _cells(cells: Sequence[Cell], matrices: Sequence[Matrix]) -> list[str]:
    if not cells:
        return []
    shards = max(matrix.shards for matrix in matrices)
    whole = len({cell.whole for cell in cells})
    split = (
        f", each benchmark in at most {shards} shards: {whole} run{'s' if whole > 1 else ''}"
        if shards > 1
        else ""
    )
    return [f"Cells: {len(cells)}{split}. A cell is a process's work; its logs have a folder."]


def _targets(cells: Sequence[Cell], there: Sequence[Node]) -> list[str]:
    """What each target asks for, and how many of its cells there is room for at once."""
    counts = Counter(cell.target.model for cell in cells)
    asked = {cell.target.model: cell.target.resources for cell in cells}
    room = {model: fits(each, [n.resources for n in there]) for model, each in asked.items()}
    return [
        f"{model}: {counts[model]} cells of {named_resources(resources)} each, room for "
        f"{min(room[model], counts[model])} at once."
        for model, resources in asked.items()
        if room[model]
    ]
