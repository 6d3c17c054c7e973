"""The subcommands of `vlmguard` that make and read logs, one file each.

Each declares its arguments with argparse only and imports its work when it runs, so that `vlmguard
--help` is quick.
"""

from typing import Any

from vlmguard.results.commands import (
    agreement,
    calibrate,
    diff,
    gate,
    label,
    leaderboard,
    list,
    new,
    power,
    run,
)


def add(commands: Any) -> None:
    """Add the subcommands to what `add_subparsers` returned."""
    for command in (run, list, leaderboard, diff, gate, label, agreement, power, calibrate, new):
        command.add(commands)
