"""The `vlmguard` command: one subcommand for each thing that Inspect has no command for.

Arguments are declared with argparse only, beside the code that uses them. A subcommand imports what
it needs, mainly Inspect, when it runs. So `vlmguard --help` is quick.
"""

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

from vlmguard.guard.command_line import CommandParser
from vlmguard.guard.progress import show_status
from vlmguard.guard.serving.command import add as add_serve
from vlmguard.guard.serving.try_command import add as add_try
from vlmguard.guard.streams import command_output
from vlmguard.guard.terminal import say_error
from vlmguard.results.commands import add as add_results
from vlmguard.results.commands.attack import add as add_attack
from vlmguard.training.adashield.command import add as add_pool
from vlmguard.training.dataset.command import add as add_export
from vlmguard.training.finetune.command import add as add_train
from vlmguard.training.microworld.use.commands import add as add_microworld


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        Exit status: that of the subcommand, 2 for a mistake in the arguments, or 130 for Ctrl-C.

    Raises:
        SystemExit: `--help`, a mistake in the arguments, or the reader of the output left (141).
    """
    with command_output():
        return _main(argv)


def _main(argv: list[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    parser = command_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
        from vlmguard.guard.completion import complete

        complete(parser)
    if not words:
        # Status 2 as for other mistakes: in CI, `vlmguard $UNSET` must not pass for a check.
        parser.print_usage(sys.stderr)
        path = parser.format_examples("The usual path:")
        print(f"\n{path}\n\n`vlmguard --help` names all commands.", file=sys.stderr)
        return 2
    if words[:2] == ["data", "fetch"]:  # `data` itself takes names, so it has no subcommands
        words = ["data fetch", *words[2:]]
    arguments, rest = parser.parse_known_args(words)
    if "set" in arguments:  # the KEY=VALUE of `train`: argparse takes them in one group only
        arguments.set += rest
    elif rest:
        parser.named(words).error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.words = words  # to say the same command with an option more
    if "check" in arguments:  # rules that argparse cannot state, before anything heavy is imported
        arguments.check(arguments)
    try:
        return _run(arguments)
    except Exception:
        # End as Python itself would, but with secrets hidden.
        traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        say_error("stopped.")
        return 130


def _run(arguments: argparse.Namespace) -> int:
    show_status("loading ...")
    # Imported here: the error's base class is Inspect's, which takes seconds to import.
    from vlmguard.guard.errors import UserError

    try:
        if "no_cache" in arguments and arguments.no_cache:
            from vlmguard.results.logs.cache_folder import without_cache

            with without_cache():
                return int(arguments.run(arguments))
        return int(arguments.run(arguments))
    except UserError as error:
        say_error(error)
        return 2


_USUAL_PATH: Final = (
    "vlmguard data fetch figstep --data-dir data         # a benchmark's data",
    "inspect eval vlmguard/microworld --solver vlmguard  # needs no data and no key",
    "vlmguard leaderboard logs/ --out out/board          # tables, a page, figures",
    "vlmguard diff LOG_A LOG_B --html flips.html         # which samples changed",
    "vlmguard gate logs/ --baseline baseline.json        # did it become worse?",
)

_COMPLETION: Final = """\
completion with the Tab key (in ~/.bashrc, ~/.zshrc, or fish's config.fish):
  bash, zsh  eval "$(register-python-argcomplete vlmguard)"
  fish       register-python-argcomplete --shell fish vlmguard | source"""


class _Version(argparse.Action):
    """Prints the versions that a report of a fault should name, and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        python = platform.python_version()
        inspect = version("inspect_ai")
        print(f"vlmguard {version('vlmguard')} (inspect_ai {inspect}, Python {python})")
        parser.exit()


def command_parser() -> CommandParser:
    """The parser of `vlmguard`, with those of all subcommands."""
    parser = CommandParser(
        prog="vlmguard",
        description=(
            "Tools around the safety evaluation of vision-language models. Benchmarks, defenses "
            "and judges run in Inspect (`inspect eval`); these commands are for what comes before "
            "and after."
        ),
        epilog=_COMPLETION,
        examples=_USUAL_PATH,
    )
    parser.add_argument(
        "--version", action=_Version, help="say the versions of vlmguard, Inspect and Python"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    # In the order in which help lists them, below each purpose.
    _add_data(commands)
    _add_fetch(commands)
    add_results(commands)
    add_attack(commands, _render)
    add_microworld(commands)
    add_export(commands)
    add_train(commands)
    add_pool(commands)
    add_serve(commands)
    add_try(commands)
    return parser


def _add_data(commands: Any) -> None:
    # Declared here and not in tasks/, since importing from tasks/ registers all tasks with Inspect.
    parser = commands.add_parser(
        "data",
        purpose="measure",
        examples=(
            "vlmguard data",
            "vlmguard data figstep siuo --data-dir data",
        ),
        help="benchmark data: where to get them, what is here, is it complete",
        description=(
            "For each benchmark: license, gated or not, where to get it, what is on this machine, "
            "and whether it is complete (counts, every image decodes, checksums). Exit status 0 "
            "if everything that is here is complete; with names, if those are here and complete; "
            "1 otherwise. `vlmguard data fetch NAME` gets what may be fetched."
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


def _add_fetch(commands: Any) -> None:
    parser = commands.add_parser(
        "data fetch",
        purpose="measure",
        examples=(
            "vlmguard data fetch figstep --data-dir data",
            "vlmguard data fetch siuo --data-dir data --accept-license siuo --dry-run",
        ),
        help="get benchmark data from their authors",
        description=(
            "Fetch the data of benchmarks from their authors' git repositories, the Hugging Face "
            "hub and the links in their files, each into ROOT/NAME; then check them as `vlmguard "
            "data NAME` does. A second call fetches what is still missing; a file that is there is "
            "never replaced. Commits and dead links are written to ROOT/NAME/"
            "vlmguard-fetched.json. Exit status 0 if all is there; 1 if something is missing or "
            "altered; 2 if a source refused or failed."
        ),
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="a benchmark")
    parser.add_argument(
        "--data-dir",
        metavar="ROOT",
        help="folder with a folder for each benchmark, made if needed (default: VLMGUARD_DATA)",
    )
    parser.add_argument(
        "--accept-license",
        metavar="NAME",
        action="append",
        default=[],
        help="accept the license of this benchmark, if gated or non-commercial (repeatable)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")
    parser.set_defaults(run=_fetch)


def _fetch(arguments: argparse.Namespace) -> int:
    from vlmguard.tasks.data.fetch.command import run

    return run(arguments.names, arguments.data_dir, arguments.accept_license, arguments.dry_run)


def _data(arguments: argparse.Namespace) -> int:
    from vlmguard.tasks.data.command import run

    return run(arguments.names, arguments.data_dir, arguments.json)


def _render(arguments: argparse.Namespace) -> int:
    from vlmguard.tasks.attack_render import Wanted, render

    names = ("attack", "text", "images", "task", "limit", "data_dir", "out")
    return render(Wanted(**{name: vars(arguments)[name] for name in names}))
