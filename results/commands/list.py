"""`vlmguard list`: the benchmarks, other tasks, defenses and roles that there are."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard list`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "list",
        purpose="measure",
        examples=(
            "vlmguard list",
            "vlmguard list defenses",
            "vlmguard list siuo",
        ),
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
    from vlmguard.results.formats.blocks import blocks

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
        print("\n\n".join(blocks(sheet) for sheet in sheets))
    return 0
