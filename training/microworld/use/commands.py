"""The subcommands `vlmguard microworld ...`: their arguments and output.

Everything heavy is imported when a command runs, so that `vlmguard --help` is quick.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the subcommands to what `add_subparsers` returned."""
    parser = commands.add_parser(
        "microworld",
        purpose="measure",
        help="the small synthetic world: build its models, draw training rows",
        description="Tools of the microworld, which needs no network, no key and no GPU.",
    )
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_build(parts)
    _add_rows(parts)
    _add_flags(parts)
    _add_demo(parts)
    _add_matrix(parts)


def _add_build(commands: Any) -> None:
    parser = commands.add_parser(
        "build",
        examples=("vlmguard microworld build rewriter --out out/weights --effort 0.1",),
        help="train the tiny models",
        description=(
            "Train models that are missing or out of date. An interrupted build goes on with the "
            "next unfinished model."
        ),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a model (default: all)")
    parser.add_argument("--out", metavar="DIR", help="instead of the package's own weights")
    parser.add_argument("--force", action="store_true", help="also models that are there and fit")
    parser.add_argument(
        "--effort",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the training steps, to try things out (default: 1)",
    )
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="models at a time (default: 2)"
    )
    parser.set_defaults(run=_build)


def _build(arguments: argparse.Namespace) -> int:
    from vlmguard.training.microworld.models.build import NAMES, build
    from vlmguard.training.microworld.models.workers import log_progress

    log_progress()
    names = arguments.names or list(NAMES)
    build(
        names,
        _root(arguments.out),
        force=arguments.force,
        effort=arguments.effort,
        jobs=arguments.jobs,
    )
    return 0


def _add_rows(commands: Any) -> None:
    parser = commands.add_parser(
        "rows",
        examples=("vlmguard microworld rows --out out/rows --drawings 2",),
        help="raw rows for `inspect eval vlmguard/synthesize -T data=DIR/rows.jsonl`",
        description=(
            "Write rows with a careful and a careless answer, their drawings, and held_out.jsonl: "
            "the pairs that `vlmguard export --test-set` keeps out."
        ),
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="train",
        help="whose pairs of picture and request (default: train)",
    )
    parser.add_argument(
        "--drawings",
        type=int,
        default=1,
        metavar="N",
        help="draw each pair N times as often as usual (default: 1)",
    )
    parser.set_defaults(run=_rows)


def _rows(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.paths import user_path
    from vlmguard.training.microworld.world.raw_rows import ROWS, write_rows

    out = user_path(arguments.out)
    count = write_rows(out, arguments.split, arguments.drawings)
    print(
        f"Wrote {out / ROWS}: {count['hazardous']} hazardous and {count['benign']} benign rows; "
        f"{count['held_out']} pairs are held out."
    )
    return 0


def _add_flags(commands: Any) -> None:
    parser = commands.add_parser(
        "flags",
        examples=(
            "vlmguard microworld flags eta",
            "inspect eval vlmguard/microworld --solver eta $(vlmguard microworld flags eta)",
        ),
        help="the -S options with which a defense uses the microworld's auxiliary models",
        description=(
            "Print options for `inspect eval --solver SOLVER`: paths of the auxiliary models and "
            "their calibrated thresholds. Nothing for defenses that use none."
        ),
    )
    parser.add_argument("solver", metavar="SOLVER", help="name of the defense")
    parser.add_argument("--weights", metavar="DIR", help="instead of the package's own weights")
    parser.set_defaults(run=_flags)


def _flags(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.cards import cards
    from vlmguard.guard.errors import UserError, check_choice
    from vlmguard.guard.paths import existing
    from vlmguard.results.logs.answers import bare
    from vlmguard.training.microworld.use.flags import solver_options

    check_choice("SOLVER", bare(arguments.solver), tuple(cards().defenses))
    if arguments.weights:
        existing(arguments.weights, "folder")
    options = solver_options(arguments.solver, _root(arguments.weights))
    words = [f"{name}={_from_here(value)}" for name, value in options.items()]
    # A shell splits the output of $(...) at each space, and ignores quotes in it.
    if any(" " in word for word in words):
        by_hand = " ".join(f"-S {shlex.quote(word)}" for word in words)
        raise UserError(
            f"A path holds a space, which $(...) would split. Run this in a folder below which the "
            f"weights lie, or type the options: {by_hand}"
        )
    print(" ".join(f"-S {word}" for word in words))
    return 0


def _from_here(value: str | float | bool) -> str | float | bool:
    """A path below the current folder, relative to it; anything else unchanged."""
    here = Path.cwd()
    if isinstance(value, str) and Path(value).is_relative_to(here):
        return str(Path(value).relative_to(here))
    return value


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        examples=("vlmguard microworld demo --target llava --limit 20",),
        help="all defenses and two controls on one tiny target",
        description=(
            "Run all defenses on one target, print tables with intervals, and write the "
            "leaderboard. Run again to resume."
        ),
    )
    parser.add_argument("--target", default="qwen2-vl", help="a tiny target (default: qwen2-vl)")
    parser.add_argument("--level", default="low", help="its level of competence (default: low)")
    _add_places(parser, "logs/microworld-demo")
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    return _run_all([arguments.target], [arguments.level], arguments)


def _add_matrix(commands: Any) -> None:
    parser = commands.add_parser(
        "matrix",
        examples=("vlmguard microworld matrix --targets llava gemma3 --levels low --jobs 2",),
        help="the same on all five targets, at two levels of competence",
        description="As `demo`, on several targets and levels. Run again to resume.",
    )
    parser.add_argument("--targets", nargs="+", metavar="TARGET", help="default: all five")
    parser.add_argument("--levels", nargs="+", metavar="LEVEL", help="default: low high")
    parser.add_argument(
        "--attacks",
        nargs="*",
        metavar="ATTACK",
        help="on the first target at the first level (default: those on the guard itself; none "
        "without a name)",
    )
    _add_places(parser, "logs/microworld-matrix")
    parser.set_defaults(run=_matrix)


def _matrix(arguments: argparse.Namespace) -> int:
    from vlmguard.training.microworld.models.api import TARGETS
    from vlmguard.training.microworld.use.matrix import ATTACKS
    from vlmguard.training.microworld.world.levels import LEVELS

    targets: list[str] = arguments.targets or [*TARGETS]
    attacks = ATTACKS if arguments.attacks is None else arguments.attacks
    return _run_all(targets, arguments.levels or list(LEVELS), arguments, attacks)


def _add_places(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--out", default=default, metavar="DIR", help=f"for logs and page (default: {default})"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="samples a run, for a trial")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (default: 2)")


def _run_all(
    targets: list[str],
    levels: list[str],
    arguments: argparse.Namespace,
    attacks: Sequence[str] = (),
) -> int:
    from rich.console import Console

    from vlmguard.guard.paths import user_path
    from vlmguard.training.microworld.use.matrix import log_folder, plan, run_all
    from vlmguard.training.microworld.use.report import report

    # A pipe has any width that is needed.
    width = None if sys.stdout.isatty() else 140
    console = Console(highlight=False, markup=False, width=width)
    out = user_path(arguments.out)
    runs = plan(targets, levels, out / "logs", arguments.limit, attacks)
    console.print(f"{len(runs)} runs; what is done already is not done again.")
    run_all(runs, arguments.jobs, console.print)
    # Only these runs: the folder may hold earlier ones with another target, or other models.
    report([log_folder(matrix) for matrix in runs], out, console)
    console.print(f"The leaderboard: {out / 'leaderboard.html'}", soft_wrap=True)
    return 0


def _root(typed: str | None) -> Path:
    from vlmguard.guard.paths import user_path
    from vlmguard.training.microworld.models.api import WEIGHTS

    return user_path(typed) if typed else WEIGHTS
