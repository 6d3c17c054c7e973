r"""Train the rewriter: `vlmguard train --config FILE [KEY=VALUE ...]`.

    vlmguard train --config qwen2-vl-7b-lora data=out/data output_dir=out/rewriter
    accelerate launch --config_file training/configs/accelerate/fsdp.yaml \
        -m vlmguard.training.finetune.train --config FILE

`method: sft` imitates the exported rewrites with TRL's `SFTTrainer`; the loss is on the reply only,
and the vision tower is not trained. `method: grpo` (`grpo.py`) continues from there with judged
answers. If it is started again, a run continues from its last complete checkpoint.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmguard.guard.errors import UserError
from vlmguard.guard.terminal import say_error, say_next
from vlmguard.training.finetune.command import add_arguments
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.config_file import config_values, load_config, read_value
from vlmguard.training.finetune.export_folder import export_folder
from vlmguard.training.finetune.trl_options import trl_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    Args:
        argv: Words after `vlmguard train`; those of the process if None.

    Returns:
        Exit status: 0, or 2 after an error that the user can correct.
    """
    parser = argparse.ArgumentParser(prog="vlmguard train", description=str(__doc__).split("\n")[0])
    add_arguments(parser)
    arguments, rest = parser.parse_known_args(argv)
    arguments.set += rest  # argparse itself takes only one unbroken group of these
    try:
        return run(arguments)
    except UserError as error:
        say_error(error)  # as `vlmguard train` does
        return 2


def run(arguments: argparse.Namespace) -> int:
    """Run the command with parsed arguments.

    Args:
        arguments: As declared by `add_arguments`.

    Returns:
        Exit status 0.

    Raises:
        UserError: No export in `data` (found before TRL is imported); else as for `train`.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    overrides = dict(_pair(word) for word in arguments.set)
    if arguments.method:
        overrides["method"] = arguments.method
    if arguments.strict_text:
        overrides["strict_text"] = True
    data = config_values(arguments.config, overrides).get("data")
    if isinstance(data, str) and data:  # other faults are reported with those of the configuration
        export_folder(data)
    train(load_config(arguments.config, overrides))
    return 0


def train(config: TrainConfig) -> dict[str, float]:
    """Train, and save the result in `output_dir`.

    Returns:
        TRL's metrics of this start (`train_loss`, `train_samples_per_second`, ...); empty if the
        run was already complete.

    Raises:
        UserError: Bad data, leaks, rows that the model cannot take, an adapter for another base,
            checkpoints of another run or an older version in `output_dir`, a full disk, too many
            failed calls, a hub that refuses the result, and so on; the message says what to do.
    """
    from vlmguard.training.finetune.checkpoints import (
        CARD_FILE,
        RUN_FILE,
        begin,
        checkpoint_step,
        put_card,
        put_result,
    )
    from vlmguard.training.finetune.hub import upload
    from vlmguard.training.finetune.model_card import eval_command, model_card
    from vlmguard.training.finetune.resume import check_resumable
    from vlmguard.training.finetune.told import no_bars_in_pipes, show_lines
    from vlmguard.training.finetune.traindata import load_training_data

    no_bars_in_pipes()
    arguments = trl_arguments(config)
    evaluated = arguments.eval_strategy != "no"
    data = load_training_data(config, evaluated=evaluated)
    output_dir = Path(arguments.output_dir)
    last = begin(
        output_dir,
        config,
        data.sha256,
        rows_per_step=arguments.train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size,
        main=arguments.process_index == 0,
    )
    done = checkpoint_step(Path(last)) if last else 0
    trainer = build_trainer(config, arguments, data)
    show_lines(trainer)
    if last:
        check_resumable(trainer, Path(last))
    metrics: dict[str, float] = trainer.train(resume_from_checkpoint=last).metrics
    result = put_result(trainer, output_dir, data.prompt)
    if trainer.state.global_step == done:  # complete already: metrics of no steps
        metrics = {}
    rows = {"train": len(data.train)}
    if data.validation is not None:
        rows["validation"] = len(data.validation)
    card = model_card(
        config,
        provenance=data.provenance,
        rows=rows,
        targets=data.targets,
        metrics=metrics,
        history=trainer.state.log_history,
        arguments=config.trainer | {"learning_rate": arguments.learning_rate},
    )
    if trainer.is_world_process_zero():
        put_card(output_dir, card)
        command, role = eval_command(config, data.targets, data.prompt, config.output_dir)
        say_next(f"{command} --model MODEL --model-role grader=JUDGE {role}")
        if arguments.push_to_hub:
            upload(output_dir, [*result, CARD_FILE, RUN_FILE], trainer.hub_model_id, arguments)
    return metrics


def build_trainer(config: TrainConfig, arguments: Any, data: Any) -> Any:
    """The trainer for a method, with model, processor and rows.

    Args:
        config: The run.
        arguments: TRL's configuration object.
        data: The `TrainingData`.

    Returns:
        A `RewriterTrainer` (sft) or a `GRPOTrainer`.

    Raises:
        UserError: As for `train`.
    """
    from vlmguard.training.finetune.base_model import load_model, load_processor, lora_config
    from vlmguard.training.finetune.rewrite_quality import RewriterTrainer, pick_rows
    from vlmguard.training.finetune.row_limits import check_rows
    from vlmguard.training.finetune.traindata import as_inference_shows

    maker = load_processor(config)
    shown = as_inference_shows(maker.control_tokens, drop_reasoning=data.drop_reasoning)
    max_length = arguments.max_length if config.method == "sft" else None
    for split in (data.train, data.validation):
        if split is not None:
            check_rows(split, maker, shown, max_length)
    model = load_model(config, bf16=arguments.bf16)
    fresh_lora = config.peft == "lora" and config.adapter is None
    validation = data.validation.with_transform(shown) if data.validation is not None else None
    common = {
        "model": model,
        "args": arguments,
        "train_dataset": data.train.with_transform(shown),
        "eval_dataset": validation,
        "peft_config": lora_config(model, config) if fresh_lora else None,
    }
    if config.method == "grpo":
        from vlmguard.training.finetune.grpo import build_grpo_trainer

        return build_grpo_trainer(config, maker, common)
    quality = None
    if data.validation is not None and config.quality_rows:
        quality = pick_rows(data.validation, config.quality_rows, arguments.world_size)
    return RewriterTrainer(
        maker=maker,
        quality=quality,
        shown=shown,
        quality_batch_size=config.quality_batch_size,
        quality_max_tokens=config.quality_max_tokens,
        **common,
    )


def _pair(word: str) -> tuple[str, Any]:
    key, sign, value = word.partition("=")
    if not sign or not key or key.startswith("-"):
        raise UserError(
            f"{word!r}: settings on the command line are KEY=VALUE, e.g. learning_rate=1e-4; the "
            "only flags are --config, --method and --strict-text."
        )
    return key, read_value(value)


if __name__ == "__main__":
    sys.exit(main())
