"""`vlmguard list`: the benchmarks, other tasks, defenses and roles that there are."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmguard.results.formats.sheets import Sheet


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard list`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "list",
        help="tasks, defenses, roles, guard formats: samples, calls, partners, options",
        description=(
            "All benchmarks, other tasks, defenses and roles of models (formats of guard models: "
            "`formats`); or all about one of them: its options and what they do, license, calls "
            "and measures, or who asks a role."
        ),
    )
    parser.add_argument(
        "what",
        nargs="?",
        metavar="WHAT",
        help="benchmarks, tasks, defenses, roles, formats, or the name of one of them",
    )
    parser.add_argument("--json", action="store_true", help="JSON, with more of the cards")
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> int:
    import json

    from vlmguard.results.catalogue import KINDS, all_about, as_json, as_sheets

    what = arguments.what
    one = what not in (*KINDS, None)
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


def _wrapped(text: str, width: int, indent: int) -> str:
    import textwrap

    return textwrap.fill(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _described(sheet: "Sheet") -> str:
    """A block of lines for each row: its name, then its other cells below their headings."""
    import shutil

    width = shutil.get_terminal_size().columns
    _, *headings = [heading.replace("`", "") for heading in sheet.header]
    blocks = [sheet.title] if sheet.title else []
    for row in sheet.rows:
        name, *cells = [cell.replace("`", "") for cell in row]
        lines = [name]
        for heading, cell in zip(headings, cells, strict=True):
            # A list stands below its heading, an entry a line.
            parts = cell.split("\n")
            if len(parts) > 1 or heading.startswith("options ("):
                lines += [f"  {heading}:", *(_wrapped(part, width, 4) for part in parts if part)]
            elif cell:
                lines.append(_wrapped(f"{heading}: {cell}", width, 2))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
