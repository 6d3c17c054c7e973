"""The arguments of `vlmguard train`, declared without the heavy imports of training."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare `vlmguard train`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "train",
        purpose="build",
        examples=(
            "vlmguard train --config qwen2-vl-7b-lora data=out/data output_dir=out/rewriter",
            "vlmguard train --config run.yaml --method grpo learning_rate=1e-6",
        ),
        help="fine-tune the rewriter on an exported data set",
        description=(
            "Fine-tune the rewriter: on exported rewrites (method sft), then on judged answers "
            "(method grpo). Started again, a run goes on from its last complete checkpoint."
        ),
    )
    add_arguments(parser)
    parser.set_defaults(run=_train)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    KEY=VALUE may stand anywhere among them: words that `parse_known_args` does not know belong to
    `set` too, and `run` checks them.

    Args:
        parser: The parser of `vlmguard train`.
    """
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="YAML or JSON file, or a ready one's name"
    )
    parser.add_argument(
        "--method", choices=["sft", "grpo"], help="stage of training (default: the file's)"
    )
    parser.add_argument(
        "--strict-text", action="store_true", help="test texts among the rows block, too"
    )
    parser.add_argument(
        "set", nargs="*", metavar="KEY=VALUE", help="setting that wins over the file's; repeatable"
    )


def _train(arguments: argparse.Namespace) -> int:
    from vlmguard.training.finetune.train import run

    return run(arguments)
