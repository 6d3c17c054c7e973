"""A Qwen2-VL of 7B's shape with random weights: its speed and memory are those of the real one.

It takes 16 GB on the disk. Tokenizer, chat template and processor are those of the tiny checkpoints
of our tests, so a text has more tokens than with the real tokenizer. No answer ends by itself: all
have the requested length.

    PYTHONPATH=tests python -m bench.gpu.checkpoint
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from bench.gpu.machine import DEVICE, DTYPE, check_device, now
from bench.gpu.scale import Scale, arguments
from support.checkpoints import build_qwen2_vl

NO_TOKEN = 1_000_000
"""Greater than any token id."""


def main() -> None:
    work, scale = arguments()
    start = now()
    folder = build(work, scale)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    print(f"{folder}: {size / 1e9:.3f} GB, {now() - start:.1f} s (it was there if 0)")


def build(work: Path, scale: Scale) -> Path:
    """The checkpoint's folder; made if it is missing."""
    check_device(scale)
    folder = work / scale.name
    if not folder.exists():
        part = work / f"{scale.name}.part"  # or it would look complete after a kill
        shutil.rmtree(part, ignore_errors=True)
        build_qwen2_vl(part)
        _enlarge(part, scale)
        part.rename(folder)
    return folder


def shape(tiny: Path, scale: Scale) -> transformers.Qwen2VLConfig:
    """The configuration: a tiny checkpoint's, with the sizes of the scale."""
    values = transformers.AutoConfig.from_pretrained(tiny).to_dict()
    values["text_config"] |= scale.text
    values["vision_config"] |= scale.vision
    return transformers.Qwen2VLConfig.from_dict(values)


def _enlarge(folder: Path, scale: Scale) -> None:
    config = shape(folder, scale)
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=DTYPE)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    rules = folder / "generation_config.json"
    rules.write_text(json.dumps(json.loads(rules.read_text()) | {"eos_token_id": NO_TOKEN}))
    pictures = folder / "preprocessor_config.json"
    bound = {"max_pixels": scale.max_pixels}
    pictures.write_text(json.dumps(json.loads(pictures.read_text()) | bound))


if __name__ == "__main__":
    main()
