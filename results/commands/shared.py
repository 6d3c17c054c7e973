"""Shared by the subcommands: reading the user's logs, and the console.

They import this module when they run, since it loads Inspect.
"""

from rich.console import Console
from rich.progress import Progress

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path
from vlmguard.results.logs.frame import Results, find_logs, gathered, read_each
from vlmguard.results.sanitize import one_line


def read_logs(logs: list[str]) -> Results:
    """Read logs with a progress bar; an error if none is usable."""
    paths = [log_place(each) for each in logs]
    with Progress(console=plain_console(stderr=True), transient=True) as progress:
        found = find_logs(paths)
        results = gathered(progress.track(read_each(found), len(found), description="reading logs"))
    if not results.runs:
        reasons = "\n".join(
            f"  {one_line(f'{path}: {reason}')}" for path, reason in results.left_out.items()
        )
        raise UserError(f"none of {len(results.left_out)} logs can be used:\n{reasons}")
    return results


def log_place(typed: str) -> str:
    """A log's path from the user's folder, or its URL (`s3://...`) unchanged."""
    return typed if "://" in typed else str(user_path(typed))


def plain_console(stderr: bool = False) -> Console:
    """A console that prints text unchanged: no colours, no markup, no added line breaks."""
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
