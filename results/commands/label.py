"""`vlmguard label`: a blind sheet for labelling answers by hand."""

import argparse
from typing import Any

from vlmguard.results.commands.reading_options import add_reading_options


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard label`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "label",
        purpose="compare",
        examples=(
            "vlmguard label logs/guarded.eval --out sheet",
            "vlmguard label logs/guarded.eval --out both --merge ann.csv --merge bob.csv",
        ),
        help="a blind sheet for labelling answers by hand",
        description="Answers in random order, without model, defense or verdict.",
    )
    parser.add_argument("log", metavar="LOG", help="a log, or a folder with a single run")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="for labels.csv and labels.html"
    )
    parser.add_argument("--n", type=int, default=60, help="number of answers (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing (default: 0)")
    parser.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="CSV",
        help=(
            "sheets of two raters or more, filled in: one sheet of what they agree in, and what "
            "they differ in left open for them to settle (repeatable)"
        ),
    )
    parser.add_argument("--no-images", action="store_true", help="leave images out of the page")
    add_reading_options(parser)
    parser.set_defaults(run=_label)


def _label(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.errors import UserError, check_number
    from vlmguard.guard.paths import existing, user_path
    from vlmguard.guard.progress import show_status
    from vlmguard.guard.terminal import say_next, shown_path
    from vlmguard.results.agreement.labelling import label_sheet, merged_sheet, open_labels
    from vlmguard.results.commands.shared import log_place
    from vlmguard.results.formats.writing import write_files

    folder = user_path(arguments.out)
    if (folder / "labels.csv").exists():
        raise UserError(
            f"{folder / 'labels.csv'} exists and may hold labels. Choose another folder."
        )
    check_number("--n", arguments.n, 1)
    log = log_place(arguments.log)
    show_status("reading answers from the log ...")
    raters = [existing(each) for each in arguments.merge]
    sheet = merged_sheet(log, raters) if raters else label_sheet(log, arguments.n, arguments.seed)
    page = sheet.page(not arguments.no_images)
    write_files(folder, {"labels.csv": sheet.csv().encode(), "labels.html": page.encode()})
    if raters:
        left = ", ".join(f"{name} {count}" for name, count in open_labels(sheet).items())
        print(f"Merged {len(raters)} sheets. Open, as raters differ or one is missing: {left}.")
        print(f"Settle them in {folder / 'labels.html'}, or in {folder / 'labels.csv'}.")
    else:
        print(f"Label in {folder / 'labels.html'}, or fill in {folder / 'labels.csv'}.")
    labels = shown_path(folder / "labels.csv")
    say_next(
        f"vlmguard agreement {shown_path(log)} {labels}",
        f"vlmguard leaderboard {shown_path(log)} --labels {labels}",
    )
    return 0
