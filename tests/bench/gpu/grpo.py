"""GRPO with the shipped configuration: seconds per step of one group, and peak memory.

A group is eight rewrites of one request. Random weights write no usable rewrite, so every rewrite
gets the penalty, and neither target nor judge is asked: this is only the rewriter's part. It starts
from new LoRA layers.

    PYTHONPATH=tests python -m bench.gpu.grpo
"""

from bench.gpu.checkpoint import build
from bench.gpu.scale import arguments
from bench.gpu.training import NOTHING_BESIDE, measure, training_rows

from vlmguard.training.finetune.config_file import load_config


def main() -> None:
    work, scale = arguments()
    _, steps = scale.steps
    run = {
        "model": str(build(work, scale)),
        "data": str(training_rows(work, scale)),
        "output_dir": str(work / "grpo"),
        "adapter": None,
        "target": "mockllm/model",
        "grader": "mockllm/model",
        "max_steps": steps,
        "logging_steps": steps,
        "max_completion_length": scale.completion,
    }
    one_group = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    changes = NOTHING_BESIDE | scale.training | one_group
    logged = measure("GRPO", "rewrites", load_config("qwen2-vl-7b-grpo", run | changes))
    print(
        f"GRPO: rewrites of {logged['completions/mean_length']:.0f} tokens, "
        f"reward {logged['reward']}, unusable verdicts {logged['unusable_verdicts']}"
    )


if __name__ == "__main__":
    main()
