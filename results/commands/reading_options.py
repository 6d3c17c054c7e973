"""The option of all commands that read logs."""

import argparse

__all__ = ["add_reading_options"]


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--no-cache`, which `vlmguard` itself heeds (`cli`)."""
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help=(
            "read all logs anew and keep nothing of them (by default, what was read of a log is "
            "kept in the user's cache until the log changes)"
        ),
    )
