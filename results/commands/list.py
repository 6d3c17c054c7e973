"""`vlmguard list`: the benchmarks and defenses that there are."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmguard.results.formats.sheets import Sheet


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard list`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "list",
        help="benchmarks and defenses: samples, calls, partners, options",
        description=(
            "All benchmarks and defenses; or all about one of them: its options, license, calls "
            "and measures."
        ),
    )
    parser.add_argument(
        "what", nargs="?", metavar="WHAT", help="benchmarks, defenses, or the name of one of them"
    )
    parser.add_argument("--json", action="store_true", help="JSON, with more of the cards")
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> int:
    import json

    from vlmguard.results.catalogue import BENCHMARKS, DEFENSES, all_about, as_json, as_sheets

    what = arguments.what
    one = what not in (BENCHMARKS, DEFENSES, None)
    sheets = [all_about(what)] if one else as_sheets(what)
    if arguments.json:
        content = as_json(None if one else what)
        if one:
            content = {
                kind: [each for each in of if each["name"] == what] for kind, of in content.items()
            }
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print("\n\n".join(_described(sheet) for sheet in sheets))
    return 0


def _described(sheet: "Sheet") -> str:
    """A block of lines for each row: its name, then its other cells below their headings."""
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    _, *headings = [heading.replace("`", "") for heading in sheet.header]
    blocks = [sheet.title] if sheet.title else []
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
