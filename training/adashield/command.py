"""The arguments of `vlmguard pool`, declared without the heavy imports of its work."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare `vlmguard pool`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "pool",
        purpose="build",
        examples=("vlmguard pool logs/pool --out out/pool",),
        help="logs of adashield_pool to a pool of prompts for adashield",
        description=(
            "Write the prompts of logs of vlmguard/adashield_pool as a pool for --solver adashield "
            "-S pool=DIR/pool.jsonl, after comparing the samples that it was made of with the test "
            "sets. DIR/test_ids.txt are the samples of the same benchmark that are left."
        ),
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="logs, or folders of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write; must be new")
    parser.add_argument(
        "--test-sets", metavar="FOLDER", help="folder of test sets (default: $VLMGUARD_DATA)"
    )
    parser.add_argument(
        "--test-set",
        action="append",
        default=[],
        metavar="FILE",
        help="test set of one's own: JSONL with image, prompt, perhaps image_id, pair; repeatable",
    )
    parser.add_argument(
        "--on-leak",
        choices=("stop", "drop", "keep"),
        default="stop",
        help="what to do if a sample is in another test set: stop, drop its prompt, or keep it "
        "(default: stop)",
    )
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder of the benchmark (default: where the logs say)",
    )
    parser.set_defaults(run=_pool)


def _pool(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.data_source import data_root
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.progress import show_status
    from vlmguard.guard.terminal import say_next, shown_path
    from vlmguard.training.adashield.build import build_pool, summary

    show_status("reading logs, and comparing their samples with test sets ...")
    provenance = build_pool(
        [log if "://" in log else user_path(log) for log in arguments.logs],
        user_path(arguments.out),
        test_sets=data_root(arguments.test_sets),
        own_sets=[user_path(file) for file in arguments.test_set],
        on_leak=arguments.on_leak,
        data_dir=user_path(arguments.data_dir) if arguments.data_dir else None,
    )
    print(summary(provenance))
    print(f"Wrote {arguments.out}.")
    pool = shown_path(f"{arguments.out}/pool.jsonl")
    say_next(f"inspect eval TASK --model MODEL --solver adashield -S pool={pool}")
    return 0
