"""`vlmguard list`: the benchmarks and defenses that there are."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard list`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "list",
        help="benchmarks and defenses: options, calls, measures",
        description="All benchmarks and defenses, with their options, calls and measures.",
    )
    parser.add_argument("kind", nargs="?", choices=("benchmarks", "defenses"), help="default: both")
    parser.add_argument("--json", action="store_true", help="JSON, with more of the cards")
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> int:
    import json

    from vlmguard.results.catalogue import as_json, as_sheets
    from vlmguard.results.commands.shared import plain_console
    from vlmguard.results.formats.console import print_sheets

    if arguments.json:
        print(json.dumps(as_json(arguments.kind), indent=1, ensure_ascii=False))
    else:
        sheets = as_sheets(arguments.kind)
        for sheet in sheets:
            # Marks of a page, which a terminal shows as they are.
            sheet.header, *sheet.rows = [
                [cell.replace("`", "") for cell in row] for row in (sheet.header, *sheet.rows)
            ]
        print_sheets(sheets, plain_console())
    return 0
