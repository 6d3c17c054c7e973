"""`vlmguard serve` in a process of its own."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.load.processes import started


@contextmanager
def guard_process(
    words: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """The server, until the block ends.

    Args:
        words: Its arguments.
        port: The port where it will listen, on 127.0.0.1.
        folder: Where its log is put.
        environment: Variables for it.
    """
    command = [sys.executable, "-c", "import sys; from vlmguard.cli import main; sys.exit(main())"]
    command += ["serve", "--port", str(port), *words]
    with started(command, port, folder / f"guard-{port}.log", set(), environment):
        yield
