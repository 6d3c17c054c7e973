"""FSDP 2 on two CPU processes: rewriting during evaluation neither fails nor waits forever.

Accelerate shards only on accelerators, so the model is sharded here as accelerate would do it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from support.checkpoints import checkpoint
from support.training_data import export_row
from torch.distributed.fsdp import fully_shard

from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.training.finetune.rewrite_quality import rewrite_batch


@pytest.mark.slow
def test_processes_that_end_at_different_lengths_rewrite_together() -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", __file__]
    done = subprocess.run(
        [sys.executable, *command, str(checkpoint("qwen2_vl"))],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Two processes write, perhaps on one line.
    assert done.stdout.count("equal") == 2


def one_process(base: str) -> None:
    """Rewrite one row, with another length on each process, between two training steps."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    model = transformers.AutoModelForImageTextToText.from_pretrained(base)
    maker = PromptMaker(base, {})
    row = export_row(rank)
    batch = {"prompt": [row["prompt"]], "images": [row["images"]]}
    length = 2 if rank == 0 else 6
    unsharded = rewrite_batch(model.eval(), maker, batch, length)

    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    for module in model.modules():
        if type(module).__name__ in ("Qwen2VLDecoderLayer", "Qwen2VLVisionBlock"):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    step = {"input_ids": torch.tensor([[5, 6, 7]]), "labels": torch.tensor([[5, 6, 7]])}
    for _ in range(2):
        model.train()
        model(**step).loss.backward()
        model.zero_grad()  # the weights stay, so that the rewrites can be compared
        if rewrite_batch(model.eval(), maker, batch, length) == unsharded:
            continue
        raise AssertionError("sharded and unsharded rewrites differ")
    print("equal")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    one_process(sys.argv[1])
