"""`vlmguard agreement`: do judges agree, with each other or with people."""

import argparse
from typing import Any

from vlmguard.results.commands.reading_options import add_reading_options


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard agreement`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "agreement",
        purpose="compare",
        examples=(
            "vlmguard agreement logs/guarded.eval sheet/labels.csv",
            "vlmguard agreement people.csv:label judges.csv:gpt-4o --cluster image",
        ),
        help="do judges agree, with each other or with people",
        description=(
            "Each judge against the first person (else the first judge): sensitivity, "
            "specificity, precision, F1 and Cohen's kappa with 95 % intervals over images, and "
            "Krippendorff's alpha. Sources are logs and sheets of labels; or columns of any CSV "
            "files, the reference first, rows matched by their order."
        ),
    )
    parser.add_argument(
        "sources", nargs="+", metavar="LOG|CSV|CSV:COLUMN", help="two raters or more (CSV:*: all)"
    )
    parser.add_argument(
        "--unsafe",
        action="append",
        metavar="WORD",
        help="first word of a verdict in a column that means unsafe (repeatable; default: unsafe)",
    )
    parser.add_argument(
        "--cluster", metavar="COLUMN", help="column that says which image a row is about"
    )
    add_reading_options(parser)
    parser.set_defaults(run=_agreement)


def _agreement(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.errors import UserError
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.progress import show_status
    from vlmguard.results.agreement.agree import agree
    from vlmguard.results.agreement.columns import UNSAFE, agree_columns, is_column
    from vlmguard.results.agreement.sheets import agreement_sheets
    from vlmguard.results.commands.shared import log_place, plain_console
    from vlmguard.results.formats.console import print_sheets

    show_status("comparing raters ...")
    if any(map(is_column, arguments.sources)):
        sources = [str(user_path(source)) for source in arguments.sources]
        found, remarks = agree_columns(sources, arguments.unsafe or UNSAFE, arguments.cluster)
    elif arguments.unsafe or arguments.cluster:
        raise UserError("--unsafe and --cluster are for columns of CSV files (FILE.csv:COLUMN).")
    else:
        found, remarks = agree([log_place(source) for source in arguments.sources]), []
    print_sheets(agreement_sheets(found, remarks), plain_console())
    return 0
