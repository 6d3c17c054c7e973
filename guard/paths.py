"""Paths as users type them."""

from pathlib import Path
from typing import Final

# Inspect changes into the task file's folder before it calls the task, so a
# relative path in `-T data_dir=` would be looked for there. This module is
# imported through the entry point, when the folder is still the user's.
_START: Final = Path.cwd()


def user_path(typed: str) -> Path:
    """Resolve a path that a user typed, wherever Inspect has gone since.

    Args:
        typed: Path; `~` is expanded.

    Returns:
        The absolute path: below the current folder if it exists there, else
        below the folder that the process was started in.
    """
    path = Path(typed).expanduser()
    return path.absolute() if path.exists() else _START / path
