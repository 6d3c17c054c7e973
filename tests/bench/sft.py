"""SFT samples/s: `vlmguard train` over TRL alone, with the same model, rows, batch and settings.

TRL alone means code as one would write it by hand: `SFTTrainer` on the same rows, processor, LoRA
layers and arguments. Ours adds the transform of rows, careful saving and its trainer class;
evaluation is off on both sides. Each figure is the trainer's own report of its loop.

    python tests/bench/sft.py
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datasets
import torch
import transformers
import trl
from support.checkpoints import build_qwen2_vl
from support.pairs import pairs, show, verdict
from support.training_data import write_export

from vlmguard.training.finetune.base_model import load_processor, lora_config
from vlmguard.training.finetune.config_file import from_dict
from vlmguard.training.finetune.train import train

LIMIT = 0.95
ROWS = 96
SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 1,
    "learning_rate": 1e-4,
    "gradient_checkpointing": False,
    "eval_strategy": "no",
    "save_strategy": "no",
    "logging_steps": 10,
    "disable_tqdm": True,
    "max_length": None,
    # Both sides run on the CPU, even if the machine has a GPU.
    "use_cpu": True,
    "bf16": False,
    "seed": 1,
}


def main() -> int:
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory()
    work = Path(folder.name)
    base = build_qwen2_vl(work / "base", hidden=128, layers=4, vision=64)
    rows = write_export(work / "rows", train=ROWS, validation=1)

    def config() -> Any:
        out = str(work / "out")
        return from_dict({"model": str(base), "data": str(rows), "output_dir": out, **SETTINGS})

    def ours() -> float:
        shutil.rmtree(work / "out", ignore_errors=True)
        return train(config())["train_samples_per_second"]

    def bare() -> float:
        model = transformers.AutoModelForImageTextToText.from_pretrained(base)
        trainer = trl.SFTTrainer(
            model,
            trl.SFTConfig(str(work / "bare"), **SETTINGS),
            train_dataset=datasets.load_from_disk(str(rows / "train")),
            processing_class=load_processor(config()).processor,
            peft_config=lora_config(model, config()),
        )
        speed: float = trainer.train().metrics["train_samples_per_second"]
        return speed

    measured = pairs(ours, bare)
    folder.cleanup()
    show(
        f"SFT with LoRA, tiny Qwen2-VL, {ROWS} rows, batch 8",
        {
            "vlmguard train": [our for our, _ in measured],
            "TRL alone": [their for _, their in measured],
        },
        "rows/s",
    )
    return 0 if verdict([our / their for our, their in measured], LIMIT, at_least=True) else 1


if __name__ == "__main__":
    sys.exit(main())
