"""What `vlmguard leaderboard` adds for who looks closer: pages of samples, places of logs."""

from pathlib import Path

from rich.progress import Progress

from vlmguard.guard.redaction import redact_text
from vlmguard.results.commands.shared import plain_console
from vlmguard.results.explorer.publish import samples_in, write_explorer
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.run_facts import LOG, log_place_from

__all__ = ["name_logs", "write_samples"]


def name_logs(board: Leaderboard, folder: Path) -> None:
    """Note in the facts of each row where its log is, seen from the folder of the board."""
    for part in (board, board.attacked):
        for entry in part.entries if part else ():
            entry.facts[LOG] = redact_text(log_place_from(entry.run.place, folder))


def write_samples(board: Leaderboard, folder: Path, images: bool) -> int:
    """Write the pages of samples with a progress bar; returns the number of files."""
    with Progress(console=plain_console(stderr=True), transient=True) as progress:
        task = progress.add_task("writing samples", total=samples_in(board))
        return write_explorer(board, folder, images, lambda read: progress.advance(task, read))
