"""The sizes of everything: on a GPU, and in the tiny mode, which runs the same code on a CPU."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Scale:
    """The sizes of one mode.

    Attributes:
        name: Folder of the checkpoint.
        text: Changes to the configuration of Qwen2-VL's language model.
        vision: Changes to that of its vision tower.
        picture: Width and height of a request's picture, in pixels.
        max_pixels: Bound of the processor for requests.
        new_tokens: Tokens of each answer.
        crowds: Pairs of concurrent requests and of requests in all.
        sentences: Sentences of a guided answer.
        guided: Number of answers that are decoded at once, in each round.
        training_picture: Width and height of a training row's picture, in pixels.
        steps: Optimizer steps of SFT and of GRPO, the first of which is not counted (>= 2).
        completion: Most tokens of a rewrite that GRPO samples.
        training: Changes of the ready configurations for training.
    """

    name: str
    text: dict[str, Any]
    vision: dict[str, Any]
    picture: tuple[int, int]
    max_pixels: int
    new_tokens: int
    crowds: tuple[tuple[int, int], ...]
    sentences: int
    guided: tuple[int, ...]
    training_picture: tuple[int, int]
    steps: tuple[int, int]
    completion: int
    training: dict[str, Any]

    @property
    def needs_gpu(self) -> bool:
        """Whether a CPU would take hours."""
        return self is not TINY


FULL = Scale(
    name="qwen2-vl-7b",
    text={
        # The real model's vocabulary, since logits take most of the memory of training.
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
        "layer_types": ["full_attention"] * 28,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [16, 24, 24],
            "rope_theta": 1_000_000.0,
        },
    },
    vision={"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4},
    picture=(896, 672),
    max_pixels=1_003_520,
    new_tokens=128,
    crowds=((1, 2), (8, 16), (32, 64), (64, 96)),
    sentences=4,
    guided=(1, 8),
    training_picture=(1120, 896),
    steps=(5, 3),
    completion=256,
    training={},
)

TINY = Scale(
    name="qwen2-vl-tiny",
    text={"vocab_size": 1024, "hidden_size": 128, "intermediate_size": 192}
    | {
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [4, 6, 6],
            "rope_theta": 10_000.0,
        }
    },
    vision={"depth": 1, "embed_dim": 32, "hidden_size": 128},
    picture=(84, 56),
    max_pixels=7_056,
    new_tokens=4,
    crowds=((1, 1), (4, 4)),
    sentences=2,
    guided=(2,),
    training_picture=(56, 84),
    steps=(2, 2),
    completion=8,
    training={
        "max_pixels": 7_056,
        "bf16": False,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "dataloader_num_workers": 0,
    },
)


def arguments() -> tuple[Path, Scale]:
    """Read the arguments of a part.

    Returns:
        The folder for checkpoint, rows and results (absolute), and the scale.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=Path("out/bench-gpu"))
    parser.add_argument("--tiny", action="store_true", help="seconds, on a CPU")
    given = parser.parse_args()
    return given.work.absolute(), TINY if given.tiny else FULL
