"""`vlmguard run`: a matrix of benchmarks, defenses and targets."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmguard.results.run.config import Matrix


def add(commands: Any) -> None:
    """Declare the arguments of `vlmguard run`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "run",
        purpose="measure",
        examples=(
            "vlmguard run --suite core --target openai/gpt-4o-mini \\\n"
            "    --role grader=openai/gpt-4o --dry-run",
            "vlmguard run --benchmark figstep --defense none --defense vlmguard \\\n"
            "    --target openai/gpt-4o-mini --role rewriter=openai/gpt-4o-mini \\\n"
            "    --role grader=openai/gpt-4o",
            "vlmguard run --config matrix.yaml --limit 8",
            "vlmguard run --config matrix.yaml --ray auto --shards 8",
        ),
        help="run or resume a matrix of benchmarks, defenses and targets",
        description=(
            "Run benchmarks x defenses x targets as Inspect eval sets, a log folder for each "
            "defense, and all of them under each attack. Run again to resume. Exit status 1 if "
            "anything is unfinished, 2 if something is missing (--dry-run lists it), 130 after "
            "Ctrl-C. Ready configurations: paper_main, paper_generalization, paper_ablation, "
            "field, ablations, nightly, pull_request. Ready "
            "suites of benchmarks: core, over_refusal, utility_quick, paper, full; and red_team, "
            "attacks on a guard."
        ),
    )
    parser.add_argument(
        "--suite",
        metavar="NAME",
        help="ready benchmarks (core is the one to start with), with --target, --defense and "
        "--role, or those of a --config (prices: alone will do), where flags win",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file, or the name of a ready one")
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
        help="without a configuration, or with a suite: the model of a role (repeatable)",
    )
    parser.add_argument(
        "--attack",
        action="append",
        default=[],
        metavar="NAME",
        help="under this attack, and without one: of the configuration or a new one, as for "
        "-T attack (repeatable; vlmguard attack list)",
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
    parser.add_argument(
        "--ray",
        metavar="CLUSTER",
        help="run the cells of the matrix on a Ray cluster: local (this machine, for this run), "
        "auto (the running one), or HOST:PORT of its head",
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="with --ray: split each benchmark into N by a hash of its samples' ids",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan of calls, tokens and cost, and what is missing; counts need no data",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.terminal import say_error, say_next, shown_path
    from vlmguard.results.commands.shared import plain_console
    from vlmguard.results.formats.console import print_sheets
    from vlmguard.results.run.cluster.driver import run_on_ray
    from vlmguard.results.run.cluster.plan import cluster_plan
    from vlmguard.results.run.latency import latency_matrix
    from vlmguard.results.run.matrix import run, shards_alone
    from vlmguard.results.run.parts import left_out
    from vlmguard.results.run.plan import Planned, plan, problems
    from vlmguard.results.run.plan_sheets import matrix_sheet, plan_sheet, summary
    from vlmguard.results.sanitize import one_line

    matrix = _matrix(arguments)
    parts = [matrix]
    if arguments.latency is not None:
        parts.append(latency_matrix(matrix, arguments.latency))
    if arguments.dry_run:
        plans = [(each, plan(each)) for each in parts]
        for each, lines in plans:
            sheets = [matrix_sheet(lines, len(each.targets)), plan_sheet(lines)]
            print_sheets(sheets, plain_console())
        print("".join(f"{one_line(line)}\n" for line in left_out(matrix)), end="")
        lacking = dict.fromkeys(line for planned in plans for line in problems(*planned))
        if arguments.ray is None and matrix.shards > 1:
            lacking[shards_alone(matrix)] = None
        if arguments.ray is not None:
            said, lacking_there = cluster_plan(parts, arguments.ray)
            print("".join(f"{one_line(line)}\n" for line in said), end="")
            lacking |= dict.fromkeys(lacking_there)
        for line in lacking:
            say_error(f"{one_line(line)}.")
        return 2 if lacking else 0

    def announce(lines: list[Planned]) -> None:
        print_sheets([matrix_sheet(lines, len(matrix.targets))], plain_console())
        said = [*summary(lines), *left_out(matrix)]
        print("\n".join(map(one_line, said)), flush=True)

    try:
        if arguments.ray is None:
            each_finished = [run(each, announce) for each in parts]
            finished = all(each_finished)
        else:
            finished = run_on_ray(parts, arguments.ray, announce)
        _tell_attacks(matrix)
        place = shown_path(matrix.log_dir)
        if finished:
            say_next(_next(matrix, place))
        else:
            say_next("the same command again: it goes on with what is unfinished")
        return 0 if finished else 1
    except KeyboardInterrupt:
        say_error(
            f"stopped. What is finished is kept below {matrix.log_dir}: run the same command "
            f"again to go on."
        )
        return 130


def _next(matrix: "Matrix", place: str) -> str:
    """The command that reads what was run: rows of a synthesis are no answers to compare."""
    from vlmguard.results.logs.answers import bare

    if all(bare(step.name) == "synthesize" for step in matrix.benchmarks):
        return f"vlmguard export {place} --out out/data"
    return f"vlmguard leaderboard {place} --out out/board"


def _tell_attacks(matrix: "Matrix") -> None:
    """Print what the attacks of a matrix achieve, by all logs in its folder."""
    from vlmguard.results.leaderboard.red_team_tables import red_team_lines_of
    from vlmguard.results.logs.frame import read_results
    from vlmguard.results.sanitize import one_line

    if not any(each.chosen for each in matrix.attacks):
        return
    for line in red_team_lines_of(read_results([matrix.log_dir])):
        print(f"{one_line(line)}.")


def _matrix(arguments: argparse.Namespace) -> "Matrix":
    """The matrix that is asked for: of a file, a suite, or flags alone."""
    from vlmguard.guard.errors import UserError, check_number
    from vlmguard.results.run.chosen import (
        config_path,
        from_flags,
        read_config,
        read_config_for,
        read_suite,
        select,
        with_attacks,
    )
    from vlmguard.results.run.config import Step, log_folder

    targets, benchmarks, defenses = arguments.target, arguments.benchmark, arguments.defense
    if arguments.config and arguments.suite:
        path = config_path(arguments.config)
        whole = read_config_for(arguments.suite, path, targets, defenses, arguments.role)
        matrix = select(whole, [], benchmarks, [])
    elif arguments.config:
        if arguments.role:
            raise UserError(
                "--role goes without --config, or with a --suite beside it: write roles: into the "
                "configuration."
            )
        matrix = read_config(config_path(arguments.config))
        matrix = select(matrix, targets, benchmarks, defenses)
    elif arguments.suite:
        ready = read_suite(arguments.suite)
        whole = from_flags(targets, ready.benchmarks, defenses, arguments.role, ready.attacks)
        matrix = select(whole, [], benchmarks, [])
        matrix.log_dir = f"logs/{arguments.suite}"
    else:
        steps = [Step(name=name) for name in benchmarks]
        matrix = from_flags(targets, steps, defenses, arguments.role)
    matrix = with_attacks(matrix, arguments.attack)
    if arguments.log_dir:
        matrix.log_dir = log_folder(arguments.log_dir)
    if arguments.limit is not None:
        check_number("--limit", arguments.limit, 1)
        matrix.limit = arguments.limit
    if arguments.shards is not None:
        check_number("--shards", arguments.shards, 1)
        matrix.shards = arguments.shards
    return matrix
