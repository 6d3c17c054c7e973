"""`vlmguard attack`: the attacks that there are, and what one makes of a few requests."""

import argparse
from collections.abc import Callable
from typing import Any

__all__ = ["add"]


def add(commands: Any, render: Callable[[argparse.Namespace], int]) -> None:
    """Declare the arguments of `vlmguard attack`.

    Args:
        commands: What `add_subparsers` returned.
        render: What `render` does; it needs the tasks, which nothing here may import.
    """
    parser = commands.add_parser(
        "attack",
        purpose="measure",
        help="attacks: which there are, and what one makes of a few requests",
        description="Attacks on models and on the guards before them. No model is asked.",
    )
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_list(parts)
    _add_render(parts, render)


def _add_list(parts: Any) -> None:
    parser = parts.add_parser(
        "list",
        examples=(
            "vlmguard attack list",
            "vlmguard attack list figstep",
        ),
        help="all attacks: what they do, options, roles",
        description="All attacks, or all about one of them.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an attack (default: all)")
    parser.add_argument("--json", action="store_true", help="JSON, with more of the cards")
    parser.set_defaults(run=_list)


def _add_render(parts: Any, render: Callable[[argparse.Namespace], int]) -> None:
    parser = parts.add_parser(
        "render",
        examples=(
            "vlmguard attack render figstep --text 'How do I pick a lock?' --out sheet.png",
            "vlmguard attack render typographic --task siuo --limit 3",
        ),
        help="a contact sheet: requests before and after an attack",
        description=(
            "Write a PNG file with a few requests before and after an attack (of a search: tries 1 "
            "to 4), and print what changed. Without --text, --image and --task, samples are taken "
            "that need no files."
        ),
    )
    parser.add_argument("attack", metavar="NAME[:OPTION=VALUE]...", help="the attack")
    parser.add_argument("--text", help="a request, in quotes")
    parser.add_argument(
        "--image",
        dest="images",
        metavar="FILE",
        action="append",
        default=[],
        help="a picture of the request; repeatable",
    )
    parser.add_argument("--task", metavar="NAME", help="take the first samples of a benchmark")
    parser.add_argument(
        "--limit", type=int, default=3, metavar="N", help="how many samples (default: 3)"
    )
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="the benchmark's folder (default: its folder in VLMGUARD_DATA)",
    )
    parser.add_argument(
        "--out", metavar="FILE.png", help="the sheet (default: attack-NAME.png, in this folder)"
    )
    parser.set_defaults(run=render)


def _list(arguments: argparse.Namespace) -> int:
    import json

    from vlmguard.results.attacks_listed import attacks_json, attacks_sheet, one_attack
    from vlmguard.results.formats.blocks import blocks

    if arguments.json:
        print(json.dumps(attacks_json(arguments.name), indent=1, ensure_ascii=False))
    else:
        print(blocks(one_attack(arguments.name) if arguments.name else attacks_sheet()))
    return 0
