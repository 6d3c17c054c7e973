"""`vlmguard leaderboard`: tables, a page and figures from logs."""

import argparse
from typing import Any

from vlmguard.guard.garbage import rarely_collected
from vlmguard.results.commands.reading_options import add_reading_options


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard leaderboard`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "leaderboard",
        purpose="compare",
        examples=(
            "vlmguard leaderboard logs/",
            "vlmguard leaderboard logs/ --out out/board --labels sheet/labels.csv",
            "vlmguard leaderboard logs/ --out out/board --samples --no-images",
        ),
        help="logs to a leaderboard: tables, a page, figures",
        description=(
            "Compare runs from any Inspect logs of our tasks: a row for each target and defense, "
            "paired differences to the undefended target, cost. Exit status 0 if there is "
            "anything to compare, 2 if not."
        ),
    )
    parser.add_argument("logs", nargs="+", metavar="LOGS", help="logs, or folders of logs")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="also write leaderboard.md, .csv, .json, .tex, .html and figures into DIR",
    )
    parser.add_argument(
        "--samples",
        action="store_true",
        help=(
            "also write pages of all samples into DIR/samples: request, pictures, answers of every "
            "defense side by side, verdicts with reasons; harmful content is blurred until asked"
        ),
    )
    parser.add_argument(
        "--no-images",
        action="store_true",
        help=(
            "leave all pictures out of the pages of samples, for publishing; requests, prompts of "
            "defenses, answers and judges' reasons still are in them"
        ),
    )
    parser.add_argument(
        "--intersect",
        action="store_true",
        help="where runs hold different samples, use those that all share",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="recompute the cost of each run from its model calls (slow: reads whole logs)",
    )
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="CSV",
        help=(
            "also show means and differences corrected by a sheet of vlmguard label that people "
            "filled in (repeatable: other logs, other raters; not with --intersect)"
        ),
    )
    parser.add_argument("--published", action="store_true", help="also print what others published")
    parser.add_argument(
        "--layout",
        choices=("full", "paper"),
        default="full",
        help="paper: the paper's tables, our numbers beside the published ones (default: full)",
    )
    parser.add_argument(
        "--intervals",
        action="store_true",
        help=(
            "also show differences and their 95 %% intervals below the means in leaderboard.tex, "
            "and intervals in the first table of leaderboard.md (the paper layout has intervals)"
        ),
    )
    add_reading_options(parser)
    parser.set_defaults(run=_leaderboard)


def _leaderboard(arguments: argparse.Namespace) -> int:
    with rarely_collected():
        return _made(arguments)


def _made(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.errors import UserError
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.progress import show_status
    from vlmguard.results.agreement.calibrated import calibrated_sheet
    from vlmguard.results.commands.sample_pages import name_logs, write_samples
    from vlmguard.results.commands.shared import plain_console, read_logs, say_again
    from vlmguard.results.formats.console import WIDE, print_sheets
    from vlmguard.results.leaderboard import tables
    from vlmguard.results.leaderboard.extras import Extras
    from vlmguard.results.leaderboard.kept_board import kept_build
    from vlmguard.results.leaderboard.paper import by_benchmark, paper_sheets
    from vlmguard.results.leaderboard.publish import board_sheets, published_for, write_leaderboard
    from vlmguard.results.leaderboard.terminal import terminal_sheets
    from vlmguard.results.logs.verify import verify_sheet
    from vlmguard.results.sanitize import one_line

    if arguments.samples and not arguments.out:
        raise UserError("--samples goes with --out DIR: its pages are files in DIR/samples.")
    if arguments.no_images and not arguments.samples:
        raise UserError("--no-images goes with --samples: no other page has pictures of samples.")
    if arguments.intervals and not arguments.out:
        raise UserError(
            "--intervals goes with --out DIR: a terminal shows intervals if it is wide."
        )
    console = plain_console()
    labels = [user_path(each) for each in arguments.labels]
    if labels and arguments.intersect:
        raise UserError(
            "--labels goes without --intersect: labels correct the mean over all answers of a log."
        )
    results = read_logs(arguments.logs)
    show_status("comparing runs ...")
    board = kept_build(results, arguments.intersect)
    labelled = [calibrated_sheet(board, results, labels)] if labels else []
    published = published_for(board)
    paper = arguments.layout == "paper"
    shown = paper_sheets(board) if paper else board_sheets(board)
    checked = [verify_sheet(results)] if arguments.verify else []
    files: list[str] = []
    # Before anything is printed: whoever reads that may stop early, as `head` does.
    if arguments.out:
        show_status("drawing figures and writing files ...")
        folder = user_path(arguments.out)
        name_logs(board, folder)
        pages = write_samples(board, folder, not arguments.no_images) if arguments.samples else 0
        intervals = paper or arguments.intervals
        whole = shown if paper else [tables.main_sheet(board, intervals), *shown]
        extras = Extras(sheets=labelled)
        files = write_leaderboard(board, folder, extras, [*whole, *checked], intervals)
    for note in board.notes:
        console.print(f"Note: {one_line(note)}\n")
    said = terminal_sheets(board)
    if paper:
        narrow = console.width < WIDE
        said = [part for each in shown if each.rows for part in by_benchmark(each, narrow)]
    print_sheets([*said, *labelled, *checked], console)
    if arguments.published and published:
        print_sheets([tables.published_sheet(published)], console)
    elif arguments.published:
        print("Nothing published is known for these benchmarks.\n")
    elif published:
        print(f"{len(published)} published rows for these benchmarks: --published.\n")
    print_sheets([tables.left_out_sheet(board)], console)
    if not arguments.out:
        say_again(arguments, "--out", "out/board")
        return 0
    print(f"Wrote {len(files)} files to {arguments.out}: open leaderboard.html.")
    if pages:
        print(f"Wrote {pages} files to {arguments.out}/samples: open samples/index.html.")
    elif not arguments.samples:
        say_again(arguments, "--samples")
    return 0
