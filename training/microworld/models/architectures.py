"""Five real architectures in small: the files of a checkpoint folder before any training.

All are transformers classes, with processors and chat templates as on the hub. A drawing of 64 x 64
pixels is 16 tokens in each.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vlmguard.training.microworld.models.tokenizer import CHAT_TEMPLATE, IMAGE, build_tokenizer
from vlmguard.training.microworld.world.drawing import SIZE

HIDDEN: Final = 128
LAYERS: Final = 4
VISION: Final = 64
VISION_LAYERS: Final = 3
PATCH: Final = 8
IMAGE_TOKENS: Final = 16
CONTEXT: Final = 512

_COLOURS: Final = {"image_mean": [0.7, 0.7, 0.7], "image_std": [0.3, 0.3, 0.3]}


@dataclass(frozen=True)
class Parts:
    """The parts of a checkpoint folder.

    Attributes:
        config: Configuration of the model.
        tokenizer: The world's tokenizer, with the architecture's special tokens.
        mark: The chat template's text for an image.
        images: Settings of the image processor.
        processor: Settings of the processor.
    """

    config: Any
    tokenizer: Any
    mark: str
    images: dict[str, Any]
    processor: dict[str, Any]


def create(name: str, folder: Path, seed: int) -> Any:
    """Write a folder with everything but trained weights.

    Args:
        name: A key of `ARCHITECTURES`.
        folder: The folder to write.
        seed: Seed of the first weights.

    Returns:
        The untrained model, in float32.
    """
    import torch
    import transformers

    parts = ARCHITECTURES[name]()
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = transformers.AutoModelForImageTextToText.from_config(parts.config)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=parts.tokenizer.eos_token_id, pad_token_id=parts.tokenizer.pad_token_id
    )
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("IMAGE", parts.mark))
    kind = {"processor_class": parts.processor["processor_class"]}
    _write(folder / "preprocessor_config.json", parts.images | kind)
    _write(folder / "processor_config.json", parts.processor)
    return model


def qwen2_vl() -> Parts:
    """Qwen2-VL: ViT with 2D rotary positions, patches merged by four, multimodal RoPE."""
    return _qwen(two_five=False)


def qwen2_5_vl() -> Parts:
    """Qwen2.5-VL: windowed attention in the vision tower."""
    return _qwen(two_five=True)


def llava() -> Parts:
    """LLaVA-1.5: CLIP tower, two-layer projector, Llama."""
    import transformers

    tokenizer = build_tokenizer(image_token=IMAGE)
    config = transformers.LlavaConfig(
        vision_config=_tower("clip_vision_model", 2 * PATCH) | {"projection_dim": VISION},
        text_config=_text(tokenizer, "llama"),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIZE},
        "crop_size": {"height": SIZE, "width": SIZE},
        **_COLOURS,
    }
    processor = {
        "processor_class": "LlavaProcessor",
        "patch_size": 2 * PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    return Parts(config, tokenizer, IMAGE, images, processor)


def internvl() -> Parts:
    """InternVL: pixel shuffle, Qwen2 as language model."""
    import transformers

    tokenizer = build_tokenizer(
        ["<img>", "</img>", "<video>"],
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token=IMAGE,
        video_token="<video>",
    )
    tower = _tower("internvl_vision", PATCH)
    config = transformers.InternVLConfig(
        vision_config=tower
        | {
            "image_size": [SIZE, SIZE],
            "patch_size": [PATCH, PATCH],
            "layer_scale_init_value": 1.0,
        },
        text_config=_text(tokenizer, "qwen2"),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=IMAGE_TOKENS,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )
    images = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "size": {"height": SIZE, "width": SIZE},
        "crop_to_patches": False,
        **_COLOURS,
    }
    processor = {"processor_class": "InternVLProcessor", "image_seq_length": IMAGE_TOKENS}
    return Parts(config, tokenizer, IMAGE, images, processor)


def gemma3() -> Parts:
    """Gemma 3: SigLIP tower, pooled image tokens that see each other, sliding windows."""
    import transformers

    begin, end = "<image_begin>", "<image_end>"
    tokenizer = build_tokenizer([begin, end], boi_token=begin, eoi_token=end, image_token=IMAGE)
    text = _text(tokenizer, "gemma3_text") | {
        "head_dim": HIDDEN // 4,
        "query_pre_attn_scalar": HIDDEN // 4,
        "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2),
    }
    # The configuration has no parameter for it, but generation reads it here.
    special = {"eos_token_id": tokenizer.eos_token_id}
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config=_tower("siglip_vision_model", PATCH),
        mm_tokens_per_image=IMAGE_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        boi_token_index=tokenizer.convert_tokens_to_ids(begin),
        eoi_token_index=tokenizer.convert_tokens_to_ids(end),
        tie_word_embeddings=True,
        **special,
    )
    images = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": SIZE, "width": SIZE},
        **_COLOURS,
    }
    processor = {"processor_class": "Gemma3Processor", "image_seq_length": IMAGE_TOKENS}
    return Parts(config, tokenizer, begin, images, processor)


ARCHITECTURES: Final[dict[str, Callable[[], Parts]]] = {
    "qwen2-vl": qwen2_vl,
    "qwen2.5-vl": qwen2_5_vl,
    "llava": llava,
    "internvl": internvl,
    "gemma3": gemma3,
}
"""The five targets, as many as in the paper."""


def _qwen(two_five: bool) -> Parts:
    import transformers

    special = ["<vision_start>", "<vision_end>", "<video>"]
    tokenizer = build_tokenizer(special, image_token=IMAGE, video_token="<video>")
    kind = "qwen2_5_vl_text" if two_five else "qwen2_vl_text"
    text = _text(tokenizer, kind) | {
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [4, 6, 6],
            "rope_theta": 10000.0,
        }
    }
    vision = {
        "depth": VISION_LAYERS,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
    }
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE),
        "video_token_id": tokenizer.convert_tokens_to_ids("<video>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<vision_start>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<vision_end>"),
        "tie_word_embeddings": True,
    }
    if two_five:
        own = {
            "hidden_size": VISION,
            "intermediate_size": 2 * VISION,
            "out_hidden_size": HIDDEN,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [VISION_LAYERS - 1],
        }
        config: Any = transformers.Qwen2_5_VLConfig(
            text_config=text, vision_config=vision | own, **ids
        )
    else:
        own = {"embed_dim": VISION, "hidden_size": HIDDEN, "mlp_ratio": 2}
        config = transformers.Qwen2VLConfig(text_config=text, vision_config=vision | own, **ids)
    images = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": SIZE * SIZE,
        "max_pixels": SIZE * SIZE,
        **_COLOURS,
    }
    processor = {"processor_class": "Qwen2_5_VLProcessor" if two_five else "Qwen2VLProcessor"}
    mark = f"<vision_start>{IMAGE}<vision_end>"
    return Parts(config, tokenizer, mark, images, processor)


def _tower(kind: str, patch: int) -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": VISION,
        "intermediate_size": 2 * VISION,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": patch,
    }


def _text(tokenizer: Any, kind: str) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")
