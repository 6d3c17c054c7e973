"""The `vlmguard` command: one subcommand for each thing that Inspect has no command for."""

import argparse
import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.paths import user_path
from vlmguard.guard.streams import redacted_output
from vlmguard.results.commands import add as add_results
from vlmguard.training.microworld.use.commands import add as add_microworld


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        Exit status: that of the subcommand, 2 for a mistake in the arguments, or 130 for Ctrl-C.
    """
    with redacted_output():
        return _main(argv)


def _main(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="vlmguard", description="Tools around the safety evaluation of VLMs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_data(commands)
    _add_export(commands)
    _add_train(commands)
    add_results(commands)
    add_microworld(commands)
    arguments, rest = parser.parse_known_args(argv)
    if "set" in arguments:  # the KEY=VALUE of `train`, which argparse takes in one group only
        arguments.set += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(arguments.run(arguments))
    except UserError as error:
        print(f"vlmguard: {error}", file=sys.stderr)
        return 2
    except Exception:
        # As Python itself would end, but with secrets hidden.
        traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        print("vlmguard: stopped.", file=sys.stderr)
        return 130


def _add_data(commands: Any) -> None:
    parser = commands.add_parser(
        "data",
        help="benchmark data: where to get them, what is here, is it complete",
        description=(
            "For each benchmark: license, gated or not, where to get it, what is on this machine, "
            "and whether it is complete (counts, every image decodes, checksums). Exit status 0 "
            "if everything that is here is complete; with names, if those are here and complete; "
            "1 otherwise."
        ),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark (default: all)")
    parser.add_argument(
        "--data-dir",
        metavar="ROOT",
        help="folder with a folder for each benchmark (default: VLMGUARD_DATA, or none)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_data)


def _data(arguments: argparse.Namespace) -> int:
    # Imported on demand: other subcommands need no tasks.
    from vlmguard.tasks.data.check import CARDS, check, describe
    from vlmguard.tasks.data.source import DATA_ROOT

    for name in arguments.names:
        check_choice("benchmark", name, tuple(CARDS))
    typed = arguments.data_dir or os.environ.get(DATA_ROOT)
    # Without a folder, it is told where to get the data.
    root = user_path(typed) if typed else None
    if root and not root.is_dir():
        raise UserError(f"{root} is no folder. Name one with --data-dir, or set {DATA_ROOT}.")
    reports = [check(CARDS[name], root) for name in arguments.names or CARDS]
    if arguments.json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print("\n\n".join(describe(report) for report in reports))
    complete = all(
        report.state == "complete" if arguments.names else report.sound for report in reports
    )
    return 0 if complete else 1


def _add_export(commands: Any) -> None:
    from vlmguard.training.dataset import export

    parser = commands.add_parser(
        "export",
        help="synthesis logs to a data set for fine-tuning",
        description=(
            "Write the kept rows of synthesis logs as a data set that TRL takes as it is, after "
            "comparing them with the test sets."
        ),
    )
    export.add_arguments(parser)
    parser.set_defaults(run=export.main)


def _add_train(commands: Any) -> None:
    from vlmguard.training.finetune import train

    parser = commands.add_parser(
        "train",
        help="fine-tune the rewriter on an exported data set",
        description=(
            "Fine-tune the rewriter: on exported rewrites (method sft), then on judged answers "
            "(method grpo). Started again, a run goes on from its last complete checkpoint."
        ),
    )
    train.add_arguments(parser)
    parser.set_defaults(run=train.run)
