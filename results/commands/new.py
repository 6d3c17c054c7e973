"""`vlmguard new`: the first version of a defense or benchmark, and its test."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard new`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "new",
        purpose="build",
        examples=(
            "vlmguard new defense second_look",
            "vlmguard new benchmark my_set",
        ),
        help="write a working defense or benchmark to start from, and its test",
        description=(
            "Write solvers/NAME.py or tasks/NAME.py and its test into a clone of the repository, "
            "the folder that you are in."
        ),
    )
    parser.add_argument("kind", choices=("defense", "benchmark"), help="what to write")
    parser.add_argument("name", metavar="NAME", help="small letters, digits and _")
    parser.set_defaults(run=_new)


def _new(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from vlmguard.results.scaffold import next_steps, write_new

    for file in write_new(arguments.kind, arguments.name, Path.cwd()):
        print(f"wrote {file}")
    print("Fill them in, and to ship it")
    # The numbers of CONTRIBUTING.md: the two files were steps 1 and 2.
    for number, step in enumerate(next_steps(arguments.kind, arguments.name), start=3):
        print(f"  {number}. {step}")
    return 0
