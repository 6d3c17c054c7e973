"""Loading, and tokens/s by the number of concurrent requests, beside raw `generate`.

Ours: requests with a data URI each, through Inspect's model. Raw: batches of that size on the same
weights and processor, with decoded pictures; `generate` alone, and with preparing them.

    PYTHONPATH=tests python -m bench.gpu.inference
"""

import asyncio
from pathlib import Path
from typing import Any

import torch
import transformers
from bench.gpu.checkpoint import build
from bench.gpu.machine import DEVICE, DTYPE, held, now, peak, start_peak
from bench.gpu.model import asked, opened, text_of
from bench.gpu.scale import Scale, arguments
from inspect_ai.model import GenerateConfig, Model
from support.checkpoints import picture

from vlmguard.guard.hf_vlm.processor import PromptMaker

FULL_BATCH = 32
"""The most rows that `hf-vlm/` generates together by default."""


def main() -> None:
    work, scale = arguments()
    folder = build(work, scale)
    ours = asyncio.run(by_requests(folder, scale))
    print(f"closed: {held()}", flush=True)
    raw = by_batches(folder, scale)
    shares = ", ".join(f"{size}: {ours[size] / speed:.2f}" for size, speed in raw.items())
    print(f"hf-vlm/ over raw generate with preparing, by requests at a time: {shares}")


async def by_requests(folder: Path, scale: Scale) -> dict[int, float]:
    """Tokens/s of `hf-vlm/` by the number of requests at a time."""
    async with opened(folder, scale) as model:
        await crowd(model, scale, 1, 1)  # kernels and workspaces
        found = {}
        for size, count in scale.crowds:
            start_peak()
            tokens, seconds = await crowd(model, scale, size, count)
            found[size] = tokens / seconds
            print(
                f"hf-vlm/, {size:2} at a time: {found[size]:7.1f} tokens/s "
                f"({count} requests, {tokens} tokens, {seconds:.1f} s); {peak()}",
                flush=True,
            )
    return found


async def crowd(model: Model, scale: Scale, size: int, count: int) -> tuple[int, float]:
    """Tokens and seconds of `count` requests, at most `size` of them at a time."""
    # Inspect's own limit is the same for all sizes: the first call sets it.
    config = GenerateConfig(
        max_tokens=scale.new_tokens, max_connections=max(size for size, _ in scale.crowds)
    )
    requests = [asked(number, scale) for number in range(count)]
    limit = asyncio.Semaphore(size)

    async def one(number: int) -> int:
        async with limit:
            output = await model.generate([requests[number]], config=config)
        assert output.usage is not None
        return output.usage.output_tokens

    start = now()
    counts = await asyncio.gather(*map(one, range(count)))
    seconds = now() - start
    assert counts == [scale.new_tokens] * count, counts
    return sum(counts), seconds


def by_batches(folder: Path, scale: Scale) -> dict[int, float]:
    """Tokens/s of raw `generate`, with preparing, by the size of the batch."""
    start = now()
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        folder, dtype=DTYPE, device_map={"": DEVICE}
    )
    print(f"transformers loads in {now() - start:.1f} s; {held()}", flush=True)
    # Our processor on both sides: without torchvision, transformers has none for this architecture.
    processor = PromptMaker(str(folder), {}, None, scale.max_pixels).processor
    batch(model, processor, 1, scale)  # kernels and workspaces
    found = {}
    for size in (size for size, _ in scale.crowds if size <= FULL_BATCH):
        start_peak()
        preparing, generating, prompt = batch(model, processor, size, scale)
        tokens = size * scale.new_tokens
        found[size] = tokens / (preparing + generating)
        print(
            f"raw, batch of {size:2}:    {tokens / generating:7.1f} tokens/s, "
            f"{found[size]:.1f} with preparing ({prompt} tokens a prompt); {peak()}",
            flush=True,
        )
    return found


def batch(model: Any, processor: Any, size: int, scale: Scale) -> tuple[float, float, int]:
    """One batch: seconds to prepare, seconds of `generate`, and tokens of a prompt."""
    images = [[picture(number, scale.picture)] for number in range(size)]
    texts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": text_of(number)}],
                }
            ],
            tokenize=False,
            add_generation_prompt=True,
        )
        for number in range(size)
    ]
    start = now()
    inputs = processor(
        text=texts, images=images, return_tensors="pt", padding=True, padding_side="left"
    ).to(DEVICE, DTYPE)
    ready = now()
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=scale.new_tokens, do_sample=False)
    end = now()
    prompt = inputs["input_ids"].shape[1]
    assert tokens.shape[1] - prompt == scale.new_tokens
    return ready - start, end - ready, prompt


if __name__ == "__main__":
    main()
