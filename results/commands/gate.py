"""`vlmguard gate`: fail if a measure became worse than the baseline."""

import argparse
import sys
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard gate`, on what `add_subparsers` returned."""
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
    from vlmguard.guard.errors import check_number
    from vlmguard.guard.paths import user_path
    from vlmguard.results.commands.shared import read_logs
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
        print("\n".join(update(read_logs(arguments.logs), baseline, limits)))
        return 0
    junit = user_path(arguments.junit) if arguments.junit else None
    return check(
        lambda: read_logs(arguments.logs), baseline, limits, arguments.strict, junit, step_summary()
    )


def _tolerances(given: list[str]) -> dict[str, float]:
    from vlmguard.guard.errors import UserError, check_number

    tolerances = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            tolerances[name] = float(value)
        except ValueError as error:
            raise UserError(f"--tolerance {each}: write MEASURE=LOSS, e.g. safety=0.3.") from error
        check_number(f"--tolerance {name}", tolerances[name], 0, sys.float_info.max)
    return tolerances
