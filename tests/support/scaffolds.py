"""What `vlmguard new` writes, outside of any clone."""

from pathlib import Path
from typing import Literal

from vlmguard.results.scaffold import write_new


def written(kind: Literal["defense", "benchmark"], name: str, folder: Path) -> Path:
    """Write a defense or benchmark below a folder; returns its file (not its test)."""
    for each in ("src/vlmguard", "solvers", "tasks", "tests/solvers", "tests/tasks"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    return folder / write_new(kind, name, folder)[0]
