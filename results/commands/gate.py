"""`vlmguard gate`: fail if a measure became worse than the baseline."""

import argparse
import sys
from functools import partial
from typing import Any

from vlmguard.guard.defense_arguments import add_defense
from vlmguard.results.commands.reading_options import add_reading_options


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard gate`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "gate",
        purpose="compare",
        examples=(
            "vlmguard gate logs/ --baseline baseline.json --update",
            "vlmguard gate logs/ --baseline baseline.json --junit gate.xml",
            "vlmguard gate --replay traffic/ --rewriter openai/gpt-4o-mini",
        ),
        help="fail when something became worse than the baseline",
        description=(
            "Compare runs with a baseline, sample by sample. Exit status 0: as good or better; "
            "1: worse; 2: not comparable (unfinished or failed logs, other judge, templates, task "
            "version, data or samples, too much unscored). GitHub's step summary is written where "
            "GITHUB_STEP_SUMMARY is set. With --replay a guard decides about recorded traffic, and "
            "its decisions are compared with the recorded ones, or with a baseline."
        ),
    )
    parser.add_argument("logs", nargs="*", metavar="LOGS", help="logs, or folders of logs")
    parser.add_argument("--baseline", metavar="FILE", help="JSON, or JSON.gz")
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
    _add_replay(parser)
    add_reading_options(parser)
    parser.set_defaults(run=_gate, check=partial(_check_words, parser))


def _add_replay(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recorded traffic")
    group.add_argument(
        "--replay", metavar="DIR", help="recordings of `vlmguard serve --record DIR`, not logs"
    )
    add_defense(group)
    group.add_argument(
        "--on-failure",
        choices=("original", "refuse"),
        help="as for `vlmguard serve` (default: the defense's own)",
    )
    group.add_argument("--limit", type=int, metavar="N", help="that many requests, by chance")
    group.add_argument(
        "--max-connections", type=int, default=10, metavar="N", help="at a time (default: 10)"
    )
    group.add_argument(
        "--cache",
        action="store_true",
        help="keep replies in Inspect's cache, so that a replay that was cut off goes on for free",
    )
    group.add_argument("--changes", metavar="FILE", help="CSV of what is decided otherwise")


def _gate(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.errors import check_number
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.terminal import say_next, shown_path
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
    junit = user_path(arguments.junit) if arguments.junit else None
    if arguments.replay:
        return _replay(arguments, limits, junit)
    baseline = user_path(arguments.baseline)
    if arguments.update:
        print("\n".join(update(read_logs(arguments.logs), baseline, limits)))
        shown = shown_path(baseline)
        say_next(f"commit {shown}, and in CI: vlmguard gate LOGS --baseline {shown}")
        return 0
    return check(
        lambda: read_logs(arguments.logs), baseline, limits, arguments.strict, junit, step_summary()
    )


def _replay(arguments: argparse.Namespace, limits: Any, junit: Any) -> int:
    from vlmguard.guard.errors import check_count
    from vlmguard.guard.outside import options_of, roles_of
    from vlmguard.guard.paths import user_path
    from vlmguard.results.commands.shared import plain_console
    from vlmguard.results.gate.command import step_summary
    from vlmguard.results.gate.replay.asking import NewGuard
    from vlmguard.results.gate.replay.command import Asked, check, update

    check_count("--max-connections", arguments.max_connections, 1)
    if arguments.limit is not None:
        check_count("--limit", arguments.limit, 1)
    guard = NewGuard(
        arguments.defense,
        options_of(arguments),
        roles_of(arguments),
        arguments.on_failure,
        arguments.max_connections,
        arguments.cache,
    )
    asked = Asked(user_path(arguments.replay), guard, limits, arguments.limit)
    baseline = user_path(arguments.baseline) if arguments.baseline else None
    if arguments.update and baseline is not None:
        print("\n".join(update(asked, baseline)))
        return 0
    changes = user_path(arguments.changes) if arguments.changes else None
    return check(asked, baseline, changes, arguments.strict, junit, step_summary(), plain_console())


def _check_words(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with usage and message where words do not go together; argparse cannot say such rules."""
    if arguments.replay:
        if arguments.logs:
            parser.error("--replay is about recorded traffic. Drop the logs")
        if arguments.update and not arguments.baseline:
            parser.error("--replay with --update: say where to, with --baseline FILE")
        return
    if not arguments.logs or not arguments.baseline:
        parser.error("name logs and --baseline FILE, or recorded traffic (--replay DIR)")
    if (given := _of_replays(arguments)) is not None:
        parser.error(f"{given} is about recorded traffic (--replay DIR). Drop it")


def _of_replays(arguments: argparse.Namespace) -> str | None:
    """An option that was given, and has a meaning with --replay alone."""
    given = {
        "-S": arguments.options,
        "--rewriter": arguments.rewriter,
        "--model-role": arguments.model_role,
        "--on-failure": arguments.on_failure,
        "--limit": arguments.limit is not None,
        "--cache": arguments.cache,
        "--changes": arguments.changes,
    }
    return next((name for name, value in given.items() if value), None)


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
