"""Lets a virtual environment import what this Python's environment has installed.

    .venv/test/bin/python tests/integrations/borrow.py .venv/integrations

Packages of the environment itself come first. pip counts the others as installed, and leaves them.
"""

import sys
import sysconfig
from pathlib import Path


def borrow(environment: Path) -> None:
    """Write the file that Python reads at its start; both must have the same Python.

    Args:
        environment: Folder of the virtual environment that is to borrow.
    """
    lent = sysconfig.get_path("purelib")
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment.resolve())}))
    (own / "borrowed.pth").write_text(f"import site; site.addsitedir({lent!r})\n")


if __name__ == "__main__":
    borrow(Path(sys.argv[1]))
