"""The arguments of `vlmguard export`, declared without the heavy imports of an export."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare `vlmguard export`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "export",
        purpose="build",
        examples=(
            "vlmguard export logs/synthesis --out out/data",
            "vlmguard export logs/synthesis --out out/data --test-sets data --on-leak drop",
        ),
        help="synthesis logs to a data set for fine-tuning",
        description=(
            "Write the kept rows of synthesis logs as a data set that TRL takes as it is, after "
            "comparing them with the test sets."
        ),
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="synthesis logs, or folders of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write; must be new")
    parser.add_argument(
        "--targets",
        choices=("reasoning", "direct"),
        default="reasoning",
        help="teach reasoning and request, or the request alone (default: reasoning)",
    )
    parser.add_argument(
        "--prompt",
        type=int,
        choices=(1, 2),
        default=2,
        help="version of the rewriter's prompt that the rows show (default: 2)",
    )
    parser.add_argument(
        "--validation",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of rows to hold out (default: 0.05)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (default: 0)")
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
        "--leak-key",
        choices=("image", "pair"),
        default="image",
        help="what may not be in a test set: the image, or only image and text together "
        "(default: image)",
    )
    parser.add_argument("--strict-text", action="store_true", help="the text alone blocks, too")
    parser.add_argument(
        "--on-leak",
        choices=("stop", "drop", "keep"),
        default="stop",
        help="stop; drop the rows; or keep them, so that `vlmguard train` refuses the data "
        "(default: stop)",
    )
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.data_source import data_root
    from vlmguard.guard.paths import user_path
    from vlmguard.guard.progress import show_status
    from vlmguard.guard.terminal import say_next, shown_path
    from vlmguard.training.dataset.export import export, summary

    show_status("reading logs, and comparing their rows with test sets ...")
    provenance = export(
        [log if "://" in log else user_path(log) for log in arguments.logs],
        user_path(arguments.out),
        targets=arguments.targets,
        prompt=arguments.prompt,
        validation=arguments.validation,
        seed=arguments.seed,
        test_sets=data_root(arguments.test_sets),
        own_sets=[user_path(file) for file in arguments.test_set],
        leak_key=arguments.leak_key,
        strict_text=arguments.strict_text,
        on_leak=arguments.on_leak,
    )
    print(summary(provenance))
    print(f"Written to {arguments.out}.")
    data = shown_path(user_path(arguments.out))
    say_next(
        f"vlmguard train --config qwen2-vl-7b-lora data={data} output_dir=out/rewriter",
    )
    return 0
