"""The folder of a cell below `log_dir`: `DEFENSE/BENCHMARK/TARGET`, with shards `.../2-of-4`."""

import re
from typing import Any, Final

from vlmguard.guard.redaction import redact
from vlmguard.guard.transport import RESUMED
from vlmguard.results.logs.answers import digest
from vlmguard.results.run.config import ModelChoice, Step

__all__ = ["benchmark_folder", "shards_in", "target_folder"]

_NOT_IN_NAMES: Final = re.compile(r"[^\w.+=,-]+")
_OF: Final = re.compile(r"/(\d+)-of-(\d+)/[^/]*$")
_LONGEST: Final = 60


def benchmark_folder(step: Step) -> str:
    """The label of a benchmark; else its name, with a digest of its arguments if it has any.

    So the folder stays when other benchmarks of that name are added.
    """
    if step.label is not None:
        return step.label
    return _named(step.name, step.args)


def target_folder(target: ModelChoice) -> str:
    """The name of a target, with a digest of its arguments and settings if it has any.

    Settings with other values of which a run goes on do not count.
    """
    settings = target.generate.model_dump(exclude_none=True, exclude=set(RESUMED))
    told = {"args": target.model_args, "generate": settings}
    return _named(target.model, {name: each for name, each in told.items() if each})


def shards_in(path: str) -> int:
    """The number of shards of the run that wrote a log, by its last folder; 1 for no shards."""
    found = _OF.search(path)
    return int(found[2]) if found else 1


def _named(name: str, told: dict[str, Any]) -> str:
    made = _NOT_IN_NAMES.sub("-", name).strip("-.") or "model"
    changed = made != name.replace("/", "-") or len(made) > _LONGEST
    if not told and not changed:
        return made
    return f"{made[:_LONGEST]}-{digest([name, redact(told)])[:6]}"
