"""The subcommands of `vlmguard` that make and read logs, one file each.

Each declares its arguments with argparse alone and imports the work when it runs: `vlmguard --help`
is quick.
"""

from typing import Any

from vlmguard.results.commands import (
    agreement,
    calibrate,
    diff,
    gate,
    label,
    leaderboard,
    power,
    run,
)


def add(commands: Any) -> None:
    """Add the subcommands to a parser.

    Args:
        commands: What `add_subparsers` returned.
    """
    for command in (run, leaderboard, gate, diff, agreement, label, power, calibrate):
        command.add(commands)
