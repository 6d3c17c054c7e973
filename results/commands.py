"""The subcommands of `vlmguard` that read logs: their arguments, and what they print.

Everything heavy is imported when a command runs, so that `vlmguard --help` is quick.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from vlmguard.guard.errors import UserError, check_number
from vlmguard.guard.paths import user_path
from vlmguard.results.sanitize import one_line

_FLIPS = 10

if TYPE_CHECKING:
    from rich.console import Console

    from vlmguard.results.logs.frame import Results


def add(commands: Any) -> None:
    """Add the subcommands to a parser.

    Args:
        commands: What `add_subparsers` returned.
    """
    _add_run(commands)
    _add_leaderboard(commands)
    _add_gate(commands)
    _add_diff(commands)
    _add_agreement(commands)
    _add_label(commands)
    _add_power(commands)


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run or resume a matrix of benchmarks, defenses and targets",
        description=(
            "Run benchmarks x defenses x targets as Inspect eval sets, a log folder for each "
            "defense. Run again to resume. Exit status 1 if anything is unfinished, 130 after "
            "Ctrl-C."
        ),
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file")
    for option, metavar in (("target", "MODEL"), ("benchmark", "TASK"), ("defense", "SOLVER")):
        parser.add_argument(
            f"--{option}",
            action="append",
            default=[],
            metavar=metavar,
            help=f"only this {option} of the configuration, or without one: run it (repeatable)",
        )
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ROLE=MODEL",
        help="without a configuration: the model of a role (repeatable)",
    )
    parser.add_argument("--log-dir", metavar="DIR", help="instead of the configuration's")
    parser.add_argument("--limit", type=int, metavar="N", help="samples a benchmark, for a trial")
    parser.add_argument(
        "--latency",
        type=int,
        metavar="N",
        help="then also time N samples of each benchmark at one connection, unjudged, in logs of "
        "their own",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan of calls and cost")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vlmguard.results.formats.console import print_sheets
    from vlmguard.results.run.config import from_flags, read_config, select
    from vlmguard.results.run.latency import latency_matrix
    from vlmguard.results.run.matrix import run
    from vlmguard.results.run.plan import plan, plan_sheet

    chosen = (arguments.target, arguments.benchmark, arguments.defense)
    if arguments.config:
        if arguments.role:
            raise UserError("--role goes without --config: write roles: into the configuration.")
        matrix = select(read_config(user_path(arguments.config)), *chosen)
    else:
        matrix = from_flags(*chosen, arguments.role)
    if arguments.log_dir:
        matrix.log_dir = arguments.log_dir
    if arguments.limit is not None:
        check_number("--limit", arguments.limit, 1)
        matrix.limit = arguments.limit
    parts = [matrix]
    if arguments.latency is not None:
        parts.append(latency_matrix(matrix, arguments.latency))
    if arguments.dry_run:
        print_sheets([plan_sheet(plan(each)) for each in parts], _console())
        return 0
    try:
        finished = [run(each) for each in parts]
        return 0 if all(finished) else 1
    except KeyboardInterrupt:
        print(
            f"vlmguard: stopped. What is finished is kept below {matrix.log_dir}: run the same "
            f"command again to go on.",
            file=sys.stderr,
        )
        return 130


def _add_leaderboard(commands: Any) -> None:
    parser = commands.add_parser(
        "leaderboard",
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
        help="paper: the tables of VLMGuard-R1, our numbers beside the published ones",
    )
    parser.set_defaults(run=_leaderboard)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from vlmguard.results.agreement.calibrated import calibrated_sheet
    from vlmguard.results.formats import sheets
    from vlmguard.results.formats.console import print_sheets
    from vlmguard.results.leaderboard.build import build
    from vlmguard.results.leaderboard.extras import Extras
    from vlmguard.results.leaderboard.paper import paper_sheets
    from vlmguard.results.leaderboard.publish import board_sheets, published_for, write_leaderboard
    from vlmguard.results.logs.verify import verify_sheet

    console = _console()
    labels = [user_path(each) for each in arguments.labels]
    if labels and arguments.intersect:
        raise UserError(
            "--labels goes without --intersect: labels correct the mean over all answers of a log."
        )
    results = _read(arguments.logs)
    board = build(results, arguments.intersect)
    labelled = [calibrated_sheet(board, results, labels)] if labels else []
    published = published_for(board)
    paper = arguments.layout == "paper"
    tables = paper_sheets(board) if paper else board_sheets(board)
    checked = [verify_sheet(results)] if arguments.verify else []
    for note in board.notes:
        print(f"Note: {one_line(note)}\n")
    print_sheets([*tables, *labelled, *checked], console)
    if arguments.published:
        print_sheets([sheets.published_sheet(published)], console)
    elif published:
        print(f"{len(published)} published rows for these benchmarks: --published.\n")
    print_sheets([sheets.left_out_sheet(board)], console)
    if arguments.out:
        whole = tables if paper else [sheets.main_sheet(board), *tables]
        extras = Extras(sheets=labelled)
        files = write_leaderboard(board, user_path(arguments.out), extras, [*whole, *checked])
        print(f"Wrote {len(files)} files to {arguments.out}: open leaderboard.html.")
    return 0


def _add_gate(commands: Any) -> None:
    parser = commands.add_parser(
        "gate",
        help="fail when something became worse than the baseline",
        description=(
            "Compare runs with a baseline, sample by sample. Exit status 0: as good or better; "
            "1: worse; 2: not comparable (unfinished or failed logs, other judge, templates, task "
            "version, data or samples, too much unscored). GitHub's step summary is written where "
            "GITHUB_STEP_SUMMARY is set."
        ),
    )
    parser.add_argument("logs", nargs="+", metavar="LOGS", help="logs, or folders of logs")
    parser.add_argument("--baseline", required=True, metavar="FILE", help="JSON, or JSON.gz")
    parser.add_argument(
        "--update",
        action="store_true",
        help=(
            "put the runs into the baseline; others in it stay (to drop one, delete the file). "
            "Where two runs of a thing are given and agree sample by sample, it is deterministic: "
            "then every loss above the tolerance fails"
        ),
    )
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="MEASURE=LOSS",
        help="loss to put up with, e.g. safety=0.3 or helpful=0.05 (default: 2 %% of the range)",
    )
    parser.add_argument(
        "--max-unscored",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="answers without a value to put up with, for each measure (default: 0.1)",
    )
    parser.add_argument(
        "--max-failures",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="samples with unusable output of the guard to put up with (default: 0.2)",
    )
    parser.add_argument("--intersect", action="store_true", help="compare the samples both have")
    parser.add_argument("--strict", action="store_true", help="a loss that may be chance: status 2")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    parser.set_defaults(run=_gate)


def _gate(arguments: argparse.Namespace) -> int:
    from vlmguard.results.gate.command import check, step_summary, update
    from vlmguard.results.gate.comparable import Limits

    check_number("--max-unscored", arguments.max_unscored, 0, 1)
    check_number("--max-failures", arguments.max_failures, 0, 1)
    limits = Limits(
        _tolerances(arguments.tolerance),
        arguments.max_unscored,
        arguments.max_failures,
        arguments.intersect,
    )
    baseline = user_path(arguments.baseline)
    if arguments.update:
        print("\n".join(update(_read(arguments.logs), baseline, limits)))
        return 0
    junit = user_path(arguments.junit) if arguments.junit else None
    return check(
        lambda: _read(arguments.logs), baseline, limits, arguments.strict, junit, step_summary()
    )


def _add_diff(commands: Any) -> None:
    parser = commands.add_parser(
        "diff",
        help="how two runs differ, and which samples flipped",
        description=(
            "Difference, interval and test of each measure; samples that flipped (safe, helpful, "
            "refused), the worst first, with prompts and answers."
        ),
    )
    parser.add_argument("a", metavar="LOG_A")
    parser.add_argument("b", metavar="LOG_B")
    parser.add_argument("--all", action="store_true", help="print all flips, not the ten worst")
    parser.add_argument("--csv", metavar="FILE", help="write all flips with whole texts as CSV")
    parser.add_argument("--html", metavar="FILE", help="write a page with texts and images")
    parser.add_argument("--no-images", action="store_true", help="leave images out of the page")
    parser.set_defaults(run=_diff)


def _diff(arguments: argparse.Namespace) -> int:
    from vlmguard.results.changes import change_sheet
    from vlmguard.results.diff import as_csv, as_html, diff, flips_as_text, intro
    from vlmguard.results.formats.console import print_sheets
    from vlmguard.results.formats.writing import write_file

    console = _console()
    found = diff(_place(arguments.a), _place(arguments.b))
    print(f"{intro(found)}\n")
    print_sheets([change_sheet(found.changes)], console)
    print(flips_as_text(found, console.width, None if arguments.all else _FLIPS))
    if arguments.csv:
        write_file(user_path(arguments.csv), as_csv(found))
    if arguments.html:
        write_file(user_path(arguments.html), as_html(found, not arguments.no_images))
    return 0


def _add_agreement(commands: Any) -> None:
    parser = commands.add_parser(
        "agreement",
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
    parser.set_defaults(run=_agreement)


def _agreement(arguments: argparse.Namespace) -> int:
    from vlmguard.results.agreement.columns import UNSAFE, agree_columns, is_column
    from vlmguard.results.agreement.raters import agree
    from vlmguard.results.agreement.sheets import agreement_sheets
    from vlmguard.results.formats.console import print_sheets

    if any(map(is_column, arguments.sources)):
        sources = [str(user_path(source)) for source in arguments.sources]
        found, remarks = agree_columns(sources, arguments.unsafe or UNSAFE, arguments.cluster)
    elif arguments.unsafe or arguments.cluster:
        raise UserError("--unsafe and --cluster are for columns of CSV files (FILE.csv:COLUMN).")
    else:
        found, remarks = agree([_place(source) for source in arguments.sources]), []
    print_sheets(agreement_sheets(found, remarks), _console())
    return 0


def _add_label(commands: Any) -> None:
    parser = commands.add_parser(
        "label",
        help="a blind sheet for labelling answers by hand",
        description="Answers in random order, without model, defense or verdict.",
    )
    parser.add_argument("log", metavar="LOG")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="for labels.csv and labels.html"
    )
    parser.add_argument("--n", type=int, default=60, help="number of answers (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing")
    parser.add_argument("--no-images", action="store_true", help="leave images out of the page")
    parser.set_defaults(run=_label)


def _label(arguments: argparse.Namespace) -> int:
    from vlmguard.results.agreement.raters import label_sheet
    from vlmguard.results.formats.writing import write_files

    folder = user_path(arguments.out)
    if (folder / "labels.csv").exists():
        raise UserError(
            f"{folder / 'labels.csv'} exists and may hold labels. Choose another folder."
        )
    check_number("--n", arguments.n, 1)
    log = _place(arguments.log)
    sheet, page = label_sheet(log, arguments.n, arguments.seed, not arguments.no_images)
    write_files(folder, {"labels.csv": sheet.encode(), "labels.html": page.encode()})
    print(f"Read {folder / 'labels.html'}, fill in {folder / 'labels.csv'}.")
    return 0


def _add_power(commands: Any) -> None:
    parser = commands.add_parser(
        "power",
        help="how many samples show a difference, in tables and to the gate",
        description=(
            "Samples (and labels by people, for calibrated rates) that show a difference of so "
            "many points: from two pilot logs, or from assumed labels (--agreement)."
        ),
    )
    parser.add_argument("logs", nargs="*", metavar="LOG", help="two pilot logs")
    parser.add_argument(
        "--difference",
        type=float,
        required=True,
        metavar="POINTS",
        help="true difference, in percent of the measure's range (5: 0.5 of safety 0-10)",
    )
    parser.add_argument("--power", type=float, default=0.8, metavar="SHARE", help="default: 0.8")
    parser.add_argument(
        "--comparisons",
        type=int,
        default=1,
        metavar="N",
        help="differences of the primary endpoint in the table: defenses x targets x benchmarks",
    )
    parser.add_argument(
        "--agreement",
        type=float,
        metavar="SHARE",
        help="without logs: samples that have the same label in both runs",
    )
    parser.add_argument(
        "--rate", type=float, metavar="SHARE", help="without logs: rate of the first run"
    )
    for option in ("sensitivity", "specificity"):
        parser.add_argument(
            f"--{option}", type=float, metavar="SHARE", help="of the judge: also count labels"
        )
    parser.set_defaults(run=_power)


def _power(arguments: argparse.Namespace) -> int:
    from vlmguard.results.formats.console import print_sheets
    from vlmguard.results.power import Aim, assumed
    from vlmguard.results.power_sheets import from_assumption, from_logs, label_sheet

    check_number("--comparisons", arguments.comparisons, 1)
    aim = Aim(arguments.difference / 100, arguments.power, arguments.comparisons)
    judge = (arguments.rate, arguments.sensitivity, arguments.specificity)
    if arguments.logs:
        if len(arguments.logs) != 2 or any(
            each is not None for each in (arguments.agreement, *judge)
        ):
            raise UserError("power: name two pilot logs, or none and --agreement and the like.")
        first, second = arguments.logs
        print_sheets([from_logs(_place(first), _place(second), aim)], _console())
        return 0
    if arguments.agreement is None:
        raise UserError("power: name two pilot logs, or --agreement (and --rate) without logs.")
    if arguments.rate is not None:
        check_number("--rate", arguments.rate, 0, 1 - aim.difference)
    pilot = assumed(arguments.agreement, aim.difference)
    sheets = [from_assumption(pilot, aim)]
    if arguments.sensitivity is not None or arguments.specificity is not None:
        if None in judge:
            raise UserError("power: labels need --rate, --sensitivity and --specificity.")
        check_number("--sensitivity", arguments.sensitivity, 0, 1)
        check_number("--specificity", arguments.specificity, 0, 1)
        sheets.append(label_sheet(pilot, aim, *judge))
    print_sheets(sheets, _console())
    return 0


def _tolerances(given: list[str]) -> dict[str, float]:
    tolerances = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            tolerances[name] = float(value)
        except ValueError as error:
            raise UserError(f"--tolerance {each}: write MEASURE=LOSS, e.g. safety=0.3.") from error
        check_number(f"--tolerance {name}", tolerances[name], 0, sys.float_info.max)
    return tolerances


def _read(logs: list[str]) -> "Results":
    """Read logs with a progress bar; an error if none is usable."""
    from rich.progress import Progress

    from vlmguard.results.logs.frame import read_results

    paths = [_place(each) for each in logs]
    with Progress(console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading logs", total=None)
        results = read_results(
            paths, lambda done, of: progress.update(task, completed=done, total=of)
        )
    if not results.runs:
        reasons = "\n".join(
            f"  {one_line(f'{path}: {reason}')}" for path, reason in results.left_out.items()
        )
        raise UserError(f"none of {len(results.left_out)} logs can be used:\n{reasons}")
    return results


def _place(typed: str) -> str:
    """A log's path from the user's folder, or its URL (`s3://...`) as it stands."""
    return typed if "://" in typed else str(user_path(typed))


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
