"""`vlmguard calibrate`: thresholds of a defense at a given rate of false alarms."""

import argparse
from typing import Any

from vlmguard.results.commands.reading_options import add_reading_options


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard calibrate`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "calibrate",
        purpose="build",
        examples=(
            "vlmguard calibrate eta logs/ --false-alarms 0.05 --out eta.yaml",
            "inspect eval vlmguard/siuo --solver eta --solver-config eta.yaml",
        ),
        help="set a defense's thresholds at a rate of false alarms, from logs of harmless requests",
        description=(
            "Set the thresholds of a defense so that at most a given share of harmless samples "
            "(expected: comply) raises an alarm, from the scores in the records of its logs, and "
            "write them for inspect eval --solver DEFENSE --solver-config FILE. Thresholds belong "
            "to one model and wording: name logs of one configuration, on the targets that it is "
            "for."
        ),
        epilog=(
            "A defense with several checks is run so that every check is made on every answer: "
            "where that was not done, the message says which options do it. A prompted model in "
            "place of a checkpoint has no threshold."
        ),
    )
    parser.add_argument("defense", metavar="DEFENSE", help="a solver whose checks have thresholds")
    parser.add_argument("logs", nargs="+", metavar="LOG", help="logs, or folders of logs")
    parser.add_argument(
        "--false-alarms",
        type=float,
        default=0.05,
        metavar="RATE",
        help="share of harmless samples that may raise an alarm (default: 0.05)",
    )
    parser.add_argument("--out", metavar="FILE", help="file to write (default: DEFENSE.yaml)")
    add_reading_options(parser)
    parser.set_defaults(run=_calibrate)


def _calibrate(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.errors import check_number
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.terminal import say_next, shown_path
    from vlmguard.results.calibrate import as_text, calibrate, card_with_checks, solver_config
    from vlmguard.results.commands.shared import read_logs
    from vlmguard.results.formats.writing import write_file

    check_number("--false-alarms", arguments.false_alarms, 0.001, 0.5)
    # A name takes no time to check, and logs take some to read.
    card_with_checks(arguments.defense)
    found = calibrate(arguments.defense, read_logs(arguments.logs), arguments.false_alarms)
    out = arguments.out or f"{arguments.defense}.yaml"
    write_file(user_path(out), solver_config(found))
    print(as_text(found))
    print(f"Wrote {out}.")
    solver = f"--solver {found.defense} --solver-config {shown_path(out)}"
    say_next(f"inspect eval TASK --model MODEL {solver}")
    return 0
