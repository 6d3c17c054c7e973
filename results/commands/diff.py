"""`vlmguard diff`: how two runs differ."""

import argparse
from typing import Any, Final

from vlmguard.results.commands.reading_options import add_reading_options

_SHOWN: Final = 10
"""Number of flips that are printed without `--all`."""


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard diff`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "diff",
        purpose="compare",
        examples=(
            "vlmguard diff logs/plain.eval logs/guarded.eval",
            "vlmguard diff logs/plain.eval logs/guarded.eval --html flips.html",
        ),
        help="how two runs differ, and which samples flipped",
        description=(
            "Difference, interval and test of each measure; samples that flipped (safe, helpful, "
            "refused), the worst first, with prompts and answers."
        ),
    )
    parser.add_argument(
        "a", metavar="LOG_A", help="a log, or the folder of a run in shards: what is compared with"
    )
    parser.add_argument("b", metavar="LOG_B", help="the log or folder that is compared with it")
    parser.add_argument("--all", action="store_true", help="print all flips, not the ten worst")
    parser.add_argument("--csv", metavar="FILE", help="write all flips with whole texts as CSV")
    parser.add_argument("--html", metavar="FILE", help="write a page with texts and images")
    parser.add_argument("--no-images", action="store_true", help="leave images out of the page")
    add_reading_options(parser)
    parser.set_defaults(run=_diff)


def _diff(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.progress import show_status
    from vlmguard.results.changes import change_sheet
    from vlmguard.results.commands.shared import log_place, plain_console, say_again
    from vlmguard.results.diff import as_csv, as_html, diff, flips_as_text, intro
    from vlmguard.results.formats.console import print_sheets
    from vlmguard.results.formats.writing import write_file

    console = plain_console()
    show_status("comparing both logs ...")
    found = diff(log_place(arguments.a), log_place(arguments.b))
    print(f"{intro(found)}\n")
    print_sheets([change_sheet(found.changes)], console)
    print(flips_as_text(found, console.width, None if arguments.all else _SHOWN))
    if arguments.csv:
        write_file(user_path(arguments.csv), as_csv(found))
    if arguments.html:
        write_file(user_path(arguments.html), as_html(found, not arguments.no_images))
    else:
        say_again(arguments, "--html", "flips.html")
    return 0
