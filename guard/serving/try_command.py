"""The arguments of `vlmguard try`, declared without the heavy imports of its work."""

import argparse
import sys
from typing import Any

from vlmguard.guard.defense_arguments import add_defense

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare `vlmguard try`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "try",
        purpose="serve",
        examples=(
            "vlmguard try",
            "vlmguard try photo.jpg 'What is on this shelf?' --target openai/gpt-4o-mini \\\n"
            "    --rewriter openai/gpt-4o-mini",
        ),
        help="one request, answered without a guard and behind it",
        description=(
            "Show the guard's reasoning, what it sends instead or that it blocks, and the answers "
            "without it and behind it. Without arguments a scene of the microworld is drawn, and "
            "its tiny models answer: no key, network or GPU. Exit status 0 if both were answered "
            "or blocked, 2 if not."
        ),
    )
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="a picture's file")
    parser.add_argument("request", nargs="?", metavar="REQUEST", help="the request, in quotes")
    parser.add_argument(
        "--target", metavar="MODEL", help="the model to guard (default: a tiny model)"
    )
    add_defense(parser)
    parser.set_defaults(run=_try)


def _try(arguments: argparse.Namespace) -> int:
    # Imports and models take many seconds.
    print("vlmguard try: loading ...", file=sys.stderr, flush=True)
    from vlmguard.guard.serving.trying import try_once

    return try_once(arguments)
