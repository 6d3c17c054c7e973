"""The arguments that choose a defense, its options and its models, for commands without Inspect."""

import argparse

__all__ = ["add_defense"]


def add_defense(parser: argparse._ActionsContainer) -> None:
    """Declare the options that choose a defense, its options and its models.

    Args:
        parser: A parser, or a group of its arguments.
    """
    parser.add_argument(
        "--defense",
        default="vlmguard",
        metavar="NAME",
        help="`vlmguard list` has all (default: vlmguard)",
    )
    parser.add_argument(
        "-S",
        dest="options",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the defense, see `vlmguard list NAME`; repeatable",
    )
    parser.add_argument("--rewriter", metavar="MODEL", help="model for the role rewriter")
    parser.add_argument(
        "--model-role",
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="model for a role, as in inspect eval; repeatable",
    )
