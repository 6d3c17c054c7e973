"""SFT with LoRA and the shipped configuration: seconds per step, and peak memory.

PYTHONPATH=tests python -m bench.gpu.sft
"""

from bench.gpu.checkpoint import build
from bench.gpu.scale import arguments
from bench.gpu.training import NOTHING_BESIDE, measure, training_rows

from vlmguard.training.finetune.config_file import load_config


def main() -> None:
    work, scale = arguments()
    steps, _ = scale.steps
    run = {
        "model": str(build(work, scale)),
        "data": str(training_rows(work, scale)),
        "output_dir": str(work / "sft"),
        "max_steps": steps,
        "logging_steps": steps,
    }
    config = load_config("qwen2-vl-7b-lora", run | NOTHING_BESIDE | scale.training)
    logged = measure("SFT", "rows", config)
    print(f"SFT: {logged['num_tokens'] / steps:.0f} tokens a step, loss {logged['loss']}")


if __name__ == "__main__":
    main()
