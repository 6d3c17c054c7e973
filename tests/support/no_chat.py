"""Tiny checkpoints of classes that take images and text, but no conversation.

All have a chat template in their folder, as if the user had written it.

    from support.no_chat import NO_CHAT
    folder = NO_CHAT["blip"](tmp_path / "blip")
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from support.chat_templates import CHATML_TEMPLATE
from support.checkpoints import IMAGE_MEAN, IMAGE_STD, save
from support.tiny_tokenizers import bpe_tokenizer

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = SMALL | {"intermediate_size": 64, "image_size": 56, "patch_size": 14}
IMAGES = {
    "image_processor_type": "BlipImageProcessor",
    "size": {"height": 56, "width": 56},
    "image_mean": IMAGE_MEAN,
    "image_std": IMAGE_STD,
}


def build_blip(folder: Path) -> Path:
    """BLIP: captions and short answers, with its own `generate`."""
    tokenizer = bpe_tokenizer(["<image>"])
    config = transformers.BlipConfig(
        text_config=_text(tokenizer) | {"encoder_hidden_size": 32, "projection_dim": 32},
        vision_config=VISION | {"projection_dim": 32},
        projection_dim=32,
        image_text_hidden_size=32,
    )
    return _saved(folder, config, tokenizer, "BlipProcessor")


def build_git(folder: Path) -> Path:
    """GIT: a decoder after the image, which has no place in the text."""
    tokenizer = bpe_tokenizer(["<image>"])
    config = transformers.GitConfig(vision_config=VISION, **_text(tokenizer))
    images = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 56}}
    images |= {"crop_size": {"height": 56, "width": 56}}
    return _saved(folder, config, tokenizer, "GitProcessor", images)


def build_pix2struct(folder: Path) -> Path:
    """Pix2Struct: an encoder for rendered pages, a decoder for their text."""
    tokenizer = bpe_tokenizer(["<image>"])
    tower = {"hidden_size": 32, "d_kv": 8, "d_ff": 64}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = transformers.Pix2StructConfig(
        text_config=tower
        | ids
        | {"vocab_size": len(tokenizer), "num_layers": 2, "num_heads": 4}
        | {"decoder_start_token_id": tokenizer.pad_token_id},
        vision_config=tower | SMALL | {"patch_embed_hidden_size": 32},
    )
    images = {"image_processor_type": "Pix2StructImageProcessor", "max_patches": 64}
    return _saved(folder, config, tokenizer, "Pix2StructProcessor", images)


def build_instructblip(folder: Path) -> Path:
    """InstructBLIP: one instruction about one image, with its own `generate`."""
    tokenizer = bpe_tokenizer(["<image>"])
    text = _text(tokenizer)
    config = transformers.InstructBlipConfig(
        vision_config=VISION,
        qformer_config=text | {"encoder_hidden_size": 32},
        text_config=text | {"model_type": "llama"},
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    _saved(folder, config, tokenizer, "InstructBlipProcessor", more={"num_query_tokens": 4})
    tokenizer.save_pretrained(folder / "qformer_tokenizer")
    return folder


def build_janus(folder: Path) -> Path:
    """Janus: reads and draws, with its own `generate`."""
    marks = {
        "image_token": "<image>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    tokenizer = bpe_tokenizer([*marks.values()], **marks)
    config = transformers.JanusConfig(
        text_config=_text(tokenizer) | {"model_type": "llama"},
        vision_config=VISION
        | {"projection_dim": 32, "mlp_ratio": 2.0, "depth": 2, "num_image_tokens": 16},
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 16,
            "base_channels": 32,
            "num_res_blocks": 1,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
            "hidden_size": 32,
            "channel_multiplier": [1, 1],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = IMAGES | {"image_processor_type": "JanusImageProcessor", "min_size": 14}
    return _saved(folder, config, tokenizer, "JanusProcessor", images)


NO_CHAT: dict[str, Callable[[Path], Path]] = {
    "blip": build_blip,
    "git": build_git,
    "pix2struct": build_pix2struct,
    "instructblip": build_instructblip,
    "janus": build_janus,
}
"""Name -> builder."""


def _text(tokenizer: Any) -> dict[str, Any]:
    return SMALL | {
        "vocab_size": len(tokenizer),
        "intermediate_size": 64,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "sep_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _saved(
    folder: Path,
    config: Any,
    tokenizer: Any,
    processor: str,
    images: dict[str, Any] = IMAGES,
    more: dict[str, Any] | None = None,
) -> Path:
    template = CHATML_TEMPLATE.replace("IMAGE_MARK", "<image>")
    known = {"processor_class": processor, **(more or {})}
    return save(folder, config, tokenizer, template, images, known, 0)
