"""`vlmguard list`: the benchmarks and defenses that there are."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmguard.results.formats.sheets import Sheet


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

    if arguments.json:
        print(json.dumps(as_json(arguments.kind), indent=1, ensure_ascii=False))
    else:
        print("\n\n".join(_described(sheet) for sheet in as_sheets(arguments.kind)))
    return 0


def _described(sheet: "Sheet") -> str:
    """A block of lines for each row: its name, then its other cells below their headings."""
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    _, *headings = [heading.replace("`", "") for heading in sheet.header]
    blocks = [sheet.title]
    for row in sheet.rows:
        name, *cells = [cell.replace("`", "") for cell in row]
        lines = [name]
        for heading, cell in zip(headings, cells, strict=True):
            if cell:
                lines += textwrap.wrap(
                    f"{heading}: {cell}",
                    width,
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
