"""Tiny random checkpoints of real architectures, built on the spot and saved as the hub has them.

Each builder writes a folder with `config.json`, weights, `tokenizer.json`, `chat_template.jinja`,
`preprocessor_config.json` and `processor_config.json`, so that they are loaded like downloaded
checkpoints. Nothing is fetched. Weights are random but seeded, with a spread wide enough that the
greedy answer depends on the image and on the text.

    from support.checkpoints import build_llava, checkpoint_fixture
    tiny_llava = checkpoint_fixture("llava")          # a session fixture, built once per process
"""

import base64
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from support.chat_templates import (
    CHATML_TEMPLATE,
    GEMMA_TEMPLATE,
    IDEFICS_TEMPLATE,
    LLAVA_TEMPLATE,
)
from support.tiny_tokenizers import bpe_tokenizer, spm_tokenizer

IMAGE_MEAN = [0.48, 0.46, 0.41]
IMAGE_STD = [0.27, 0.26, 0.28]


def build_qwen2_vl(
    folder: Path, *, hidden: int = 64, layers: int = 2, vision: int = 32, seed: int = 0
) -> Path:
    """Qwen2-VL: byte-level BPE, ChatML, images of any size, a processor with a video part."""
    return _build_qwen(folder, hidden, layers, vision, seed)


def build_qwen2_5_vl(
    folder: Path, *, hidden: int = 64, layers: int = 2, vision: int = 32, seed: int = 0
) -> Path:
    """Qwen2.5-VL: as Qwen2-VL, with windowed attention in the vision tower."""
    return _build_qwen(folder, hidden, layers, vision, seed, two_five=True)


def build_llava(
    folder: Path,
    *,
    hidden: int = 64,
    layers: int = 2,
    vision: int = 32,
    image_size: int = 56,
    seed: int = 0,
) -> Path:
    """LLaVA-1.5: SentencePiece-like BPE, CLIP tower, a processor without a video part.

    Its processor loads without torchvision, so `transformers serve` can serve it.
    """
    tokenizer = spm_tokenizer(
        ["<image>", "<pad>"], bos="<s>", eos="</s>", pad="<pad>", image_token="<image>"
    )
    config = transformers.LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": vision,
            "intermediate_size": 2 * vision,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": image_size,
            "patch_size": 14,
            "projection_dim": vision,
        },
        text_config=_llama(tokenizer, hidden, layers),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(image_size // 14) ** 2,
        vision_feature_layer=-1,
    )
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": image_size},
        "do_center_crop": True,
        "crop_size": {"height": image_size, "width": image_size},
        "do_convert_rgb": True,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    processor = {
        "processor_class": "LlavaProcessor",
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    return save(folder, config, tokenizer, LLAVA_TEMPLATE, images, processor, seed)


def build_internvl(folder: Path, *, hidden: int = 64, layers: int = 2, seed: int = 0) -> Path:
    """InternVL: ChatML, images cut into tiles, a processor with a video part."""
    tokenizer = bpe_tokenizer(
        ["<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = transformers.InternVLConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": [56, 56],
            "patch_size": [14, 14],
            "layer_scale_init_value": 1.0,
        },
        text_config=_qwen2_text(tokenizer, hidden, layers) | {"model_type": "qwen2"},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    images = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "size": {"height": 56, "width": 56},
        "crop_to_patches": False,
        "min_patches": 1,
        "max_patches": 4,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    template = CHATML_TEMPLATE.replace("IMAGE_MARK", "<IMG_CONTEXT>\n")
    processor = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    return save(folder, config, tokenizer, template, images, processor, seed)


def build_idefics3(folder: Path, *, hidden: int = 64, layers: int = 2, seed: int = 0) -> Path:
    """Idefics3: images split into rows and columns, padded per conversation."""
    tokenizer = bpe_tokenizer(
        ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
        + [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)],
        eos="<end_of_utterance>",
    )
    config = transformers.Idefics3Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config=_llama(tokenizer, hidden, layers),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    images = {
        "image_processor_type": "Idefics3ImageProcessor",
        "size": {"longest_edge": 112},
        "max_image_size": {"longest_edge": 56},
        "do_image_splitting": True,
        "do_convert_rgb": True,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": 4}
    return save(folder, config, tokenizer, IDEFICS_TEMPLATE, images, processor, seed)


def build_gemma3(folder: Path, *, hidden: int = 64, layers: int = 2, seed: int = 0) -> Path:
    """Gemma 3: SigLIP tower, sliding windows, a template that moves the system turn itself."""
    tokenizer = spm_tokenizer(
        [
            "<start_of_turn>",
            "<end_of_turn>",
            "<start_of_image>",
            "<end_of_image>",
            "<image_soft_token>",
            "<pad>",
        ],
        bos="<bos>",
        eos="<end_of_turn>",
        pad="<pad>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    text = _llama(tokenizer, hidden, layers) | {
        "model_type": "gemma3_text",
        "head_dim": hidden // 4,
        "query_pre_attn_scalar": hidden // 4,
        "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"] * (layers // 2),
    }
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,  # tied random weights repeat one token for ever
    )
    images = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": 56, "width": 56},
        "do_convert_rgb": True,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    processor = {"processor_class": "Gemma3Processor", "image_seq_length": 4}
    return save(folder, config, tokenizer, GEMMA_TEMPLATE, images, processor, seed)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "qwen2_vl": build_qwen2_vl,
    "qwen2_5_vl": build_qwen2_5_vl,
    "llava": build_llava,
    "internvl": build_internvl,
    "idefics3": build_idefics3,
    "gemma3": build_gemma3,
}
"""Name -> builder, for tests that run over all architectures."""


@cache
def checkpoint(name: str) -> Path:
    """The checkpoint of this architecture, built on first use in this process.

    Args:
        name: A key of `BUILDERS`.

    Returns:
        Its folder, which lives as long as the process. Copy it before changing a file.
    """
    folder = tempfile.TemporaryDirectory(prefix=f"tiny-{name}-")
    _FOLDERS.append(folder)
    return BUILDERS[name](Path(folder.name))


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def checkpoint_fixture(name: str) -> Any:
    """A session fixture for a conftest.py or a test file: `tiny = checkpoint_fixture("llava")`."""

    def fixture() -> Path:
        return checkpoint(name)

    return pytest.fixture(fixture, scope="session")


def picture(seed: int = 0, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A picture of coarse coloured blocks; another seed gives a clearly different one."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (4, 4, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(blocks.numpy()).resize(size, Image.Resampling.NEAREST)


def data_uri(image: Image.Image, kind: str = "PNG") -> str:
    """The image as the data URI that Inspect hands to a provider."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _build_qwen(
    folder: Path, hidden: int, layers: int, vision: int, seed: int, two_five: bool = False
) -> Path:
    tokenizer = bpe_tokenizer(
        ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    )
    text = _qwen2_text(tokenizer, hidden, layers) | {
        # The three sections share half of a head's dimension.
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [hidden // 32, hidden // 32 + hidden // 64, 0],
            "rope_theta": 10000.0,
        }
    }
    sections = text["rope_parameters"]["mrope_section"]
    sections[2] = hidden // 8 - sum(sections)
    common = {
        "depth": 2,
        "num_heads": 4,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
    }
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    if two_five:
        config: Any = transformers.Qwen2_5_VLConfig(
            text_config=text,
            vision_config=common
            | {
                "hidden_size": vision,
                "intermediate_size": 2 * vision,
                "out_hidden_size": hidden,
                "window_size": 56,
                "fullatt_block_indexes": [1],
            },
            **ids,
        )
    else:
        config = transformers.Qwen2VLConfig(
            text_config=text,
            vision_config=common | {"embed_dim": vision, "hidden_size": hidden, "mlp_ratio": 2},
            **ids,
        )
    images = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": 56 * 56,
        "max_pixels": 112 * 112,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    name = "Qwen2_5_VLProcessor" if two_five else "Qwen2VLProcessor"
    template = CHATML_TEMPLATE.replace("IMAGE_MARK", "<|vision_start|><|image_pad|><|vision_end|>")
    return save(folder, config, tokenizer, template, images, {"processor_class": name}, seed)


def _qwen2_text(tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
    return _llama(tokenizer, hidden, layers) | {"model_type": "qwen2_vl_text"}


def _llama(tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def save(
    folder: Path,
    config: Any,
    tokenizer: Any,
    template: str,
    images: dict[str, Any],
    processor: dict[str, Any],
    seed: int,
) -> Path:
    """Write a checkpoint with random weights as the hub has it.

    Args:
        folder: Where to.
        config: Of the model.
        tokenizer: Its tokenizer.
        template: Its chat template.
        images: Settings of the image processor.
        processor: Settings of the processor, with `processor_class`.
        seed: Of the weights.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForImageTextToText.from_config(config)
        # The usual spread (0.02) gives nearly flat logits: the image would not change the answer,
        # and a test of batches could not find a mistake. Norms and biases stay unchanged.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.2 / parameter.shape[-1] ** 0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(images | {"processor_class": processor["processor_class"]}, indent=2)
    )
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2))
    return folder
