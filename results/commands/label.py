"""`vlmguard label`: a blind sheet for labelling answers by hand."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard label`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "label",
        purpose="compare",
        examples=("vlmguard label logs/guarded.eval --out sheet",),
        help="a blind sheet for labelling answers by hand",
        description="Answers in random order, without model, defense or verdict.",
    )
    parser.add_argument("log", metavar="LOG", help="a log, or a folder with a single one")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="for labels.csv and labels.html"
    )
    parser.add_argument("--n", type=int, default=60, help="number of answers (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing (default: 0)")
    parser.add_argument("--no-images", action="store_true", help="leave images out of the page")
    parser.set_defaults(run=_label)


def _label(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.errors import UserError, check_number
    from vlmguard.guard.paths import user_path
    from vlmguard.results.agreement.sampling import label_sheet
    from vlmguard.results.commands.shared import log_place
    from vlmguard.results.formats.writing import write_files

    folder = user_path(arguments.out)
    if (folder / "labels.csv").exists():
        raise UserError(
            f"{folder / 'labels.csv'} exists and may hold labels. Choose another folder."
        )
    check_number("--n", arguments.n, 1)
    log = log_place(arguments.log)
    sheet, page = label_sheet(log, arguments.n, arguments.seed, not arguments.no_images)
    write_files(folder, {"labels.csv": sheet.encode(), "labels.html": page.encode()})
    print(f"Read {folder / 'labels.html'}, fill in {folder / 'labels.csv'}.")
    return 0
