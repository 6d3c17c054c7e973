"""What the process of a target takes of a Ray cluster: `resources: {num_gpus: 1}`."""

import math
from collections.abc import Mapping
from typing import Any, Final

from vlmguard.guard.alike import did_you_mean

__all__ = ["check_resources", "fits", "named_resources", "needed", "remote_options", "shown"]

# Ray's names in `ray.remote`, and what its nodes call them.
_OWN: Final = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
_FIRST: Final = ("CPU", "GPU")
_DEFAULT: Final = {"num_cpus": 1.0}


def check_resources(resources: Mapping[str, float]) -> None:
    """Refuse what Ray would not take.

    Raises:
        ValueError: Says which name or number, and what to write.
    """
    for name, number in resources.items():
        if name in _OWN.values() - _OWN.keys() or name in ("cpu", "gpu", "cpus", "gpus"):
            raise ValueError(f"write num_cpus or num_gpus in the place of {name}")
        if name not in _OWN and (meant := did_you_mean(name, _OWN)):
            raise ValueError(f"{name}: no cluster is likely to have that.{meant}")
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name}: {number:g} is no number from 0")
        if number > 1 and not number.is_integer():
            raise ValueError(f"{name}: {number:g}: above 1, Ray takes whole numbers")


def remote_options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Options of `ray.remote`."""
    options: dict[str, Any] = {**_DEFAULT, **resources}
    custom = {name: options.pop(name) for name in list(options) if name not in _OWN}
    return {**options, **({"resources": custom} if custom else {})}


def needed(resources: Mapping[str, float]) -> dict[str, float]:
    """The same by the names that nodes have for them (`GPU`), without what is not asked for."""
    asked = {**_DEFAULT, **resources}
    return {_OWN.get(name, name): number for name, number in asked.items() if number}


def fits(resources: Mapping[str, float], nodes: list[dict[str, float]]) -> int:
    """How many such processes the nodes take at once, if nothing else runs there.

    Args:
        resources: Of one process.
        nodes: All resources of each node.
    """
    asked = needed(resources)
    return sum(
        min((int(node.get(name, 0) / number) for name, number in asked.items()), default=1)
        for node in nodes
    )


def named_resources(resources: Mapping[str, float]) -> str:
    """For a message: `1 CPU, 1 GPU`."""
    return shown(needed(resources))


def shown(resources: Mapping[str, float]) -> str:
    """Resources by the names of nodes, for a message; without Ray's own marks of nodes."""
    return ", ".join(
        f"{number / 2**30:.1f} GiB memory" if name == "memory" else f"{number:g} {name}"
        for name, number in sorted(resources.items(), key=lambda item: item[0] not in _FIRST)
        if name != "object_store_memory" and not name.startswith("node:")
    )
