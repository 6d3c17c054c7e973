"""Checks a cluster before anything is paid for: its resources, and what each node has."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# Inspect has no public name for writing to a folder or an address.
from inspect_ai._util.file import file, filesystem

from vlmguard.guard.errors import UserError
from vlmguard.results.run.cluster.cells import absolute, local_models
from vlmguard.results.run.cluster.node import differing, look, versions_here
from vlmguard.results.run.cluster.session import LOCAL, Node
from vlmguard.results.run.config import Matrix, Target
from vlmguard.results.run.resources import fits, named_resources, shown

__all__ = ["check_nodes", "lacking_resources", "on_the_cpu", "total"]


def lacking_resources(matrices: Sequence[Matrix], there: Sequence[Node]) -> list[str]:
    """A sentence for each target that no node can take."""
    each = [node.resources for node in there]
    have = "; ".join(f"{node.host} has {shown(node.resources)}" for node in there)
    return [
        f"{target.model} asks for {named_resources(target.resources)} (resources:), and no node of "
        f"the cluster has that: {have}. Ask for less, or start such a node first"
        for target in _targets(matrices)
        if not fits(target.resources, each)
    ]


def on_the_cpu(matrices: Sequence[Matrix], there: Sequence[Node]) -> list[str]:
    """A sentence for each target with local models that will not see the cluster's GPUs."""
    if not any(node.resources.get("GPU") for node in there):
        return []
    return [
        f"{target.model} runs on the CPU, though there are GPUs: Ray shows a process those that it "
        "asks for (resources: {num_gpus: 1} of the target)."
        for target in _targets(matrices)
        if not target.resources.get("num_gpus")
        and any(
            local_models(defense, target, matrix)
            for matrix in matrices
            for defense in matrix.defenses
        )
    ]


def total(there: Sequence[Node]) -> str:
    """All resources of a cluster, for a message: `2 nodes: 16 CPU, 2 GPU`."""
    found: dict[str, float] = {}
    for node in there:
        for name, number in node.resources.items():
            found[name] = found.get(name, 0) + number
    return f"{len(there)} node{'s' if len(there) > 1 else ''}: {shown(found)}"


def check_nodes(address: str, matrices: Sequence[Matrix], there: Sequence[Node]) -> None:
    """Check that the nodes have our versions, and see the folder of logs.

    Args:
        address: Of the cluster.
        matrices: What is to run. Nodes that can take none of the targets are passed over, as the
            head of many clusters; every other one writes logs.
        there: The nodes.

    Raises:
        UserError: Names the node and the way out.
    """
    if address == LOCAL:
        return
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    taking = [
        node
        for node in there
        if any(fits(target.resources, [node.resources]) for target in _targets(matrices))
    ]
    log_dir = matrices[0].log_dir
    with _mark(log_dir) as (place, content):
        asked = [
            ray.remote(look)
            .options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            )
            .remote(place, content)
            for node in taking
        ]
        for node, ref in zip(taking, asked, strict=True):
            try:
                versions, sees = ray.get(ref)
            except (RayError, ImportError) as error:
                last = str(error).strip().splitlines()[-1]
                raise UserError(
                    f"node {node.host} cannot run vlmguard: {last}. Install the same there (pip "
                    "install 'vlmguard[ray]'), or run again if that node has just ended."
                ) from error
            if wrong := differing(versions, versions_here()):
                raise UserError(
                    f"node {node.host} has {', '.join(wrong)} (here): install the same versions "
                    "on all machines."
                )
            if not sees:
                raise UserError(
                    f"node {node.host} does not see {log_dir}: all nodes write their logs there. "
                    "Name a folder that they share, or an address (s3://BUCKET/FOLDER) and give "
                    "each node its credentials."
                )


def _targets(matrices: Sequence[Matrix]) -> list[Target]:
    """All targets, each with the same resources once."""
    found = {
        f"{each.model} {sorted(each.resources.items())}": each
        for matrix in matrices
        for each in matrix.targets
    }
    return list(found.values())


@contextmanager
def _mark(log_dir: str) -> Iterator[tuple[str, str]]:
    """A file in the folder of logs for a moment: its place, and what is in it."""
    content = uuid.uuid4().hex
    log_dir = absolute(log_dir)
    place = f"{log_dir.rstrip('/')}/.vlmguard-nodes-{content[:8]}"
    files = filesystem(log_dir)
    files.mkdir(log_dir, exist_ok=True)
    with file(place, "w") as opened:
        opened.write(content)
    try:
        yield place, content
    finally:
        files.rm(place)
