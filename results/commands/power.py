"""`vlmguard power`: how many samples show a difference."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard power`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "power",
        purpose="compare",
        examples=(
            "vlmguard power logs/plain.eval logs/guarded.eval --difference 5",
            "vlmguard power --agreement 0.8 --difference 5",
        ),
        help="how many samples show a difference, in tables and to the gate",
        description=(
            "Samples (and labels by people, for calibrated rates) that show a difference of so "
            "many points: from two pilot logs, or from assumed labels (--agreement)."
        ),
    )
    parser.add_argument(
        "logs", nargs="*", metavar="LOG", help="two pilot logs, or folders of runs in shards"
    )
    parser.add_argument(
        "--difference",
        type=float,
        required=True,
        metavar="POINTS",
        help="true difference, in percent of the measure's range (5: 0.5 of safety 0-10)",
    )
    parser.add_argument(
        "--power", type=float, default=0.8, metavar="SHARE", help="chance to see it (default: 0.8)"
    )
    parser.add_argument(
        "--comparisons",
        type=int,
        default=1,
        metavar="N",
        help="differences of the primary endpoint in the table: defenses x targets x benchmarks "
        "(default: 1)",
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
    from vlmguard.guard.errors import UserError, check_number
    from vlmguard.results.commands.shared import log_place, plain_console
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
        print_sheets([from_logs(log_place(first), log_place(second), aim)], plain_console())
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
    print_sheets(sheets, plain_console())
    return 0
