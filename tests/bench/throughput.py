"""Tokens per second of the model API relative to raw `model.generate` on prepared batches of 32.

Tiny Qwen2-VL and LLaVA (about 8M parameters, random weights) on the CPU, 128 images of 224 x 224,
32 new tokens each. Ours: at most 32 concurrent requests with data URIs, through the queue. Raw:
conversations put into batches of 32 beforehand, with decoded images; processor, then `generate`,
in this process. The table also has `generate` alone, on prepared tensors. Ours is shown with other
numbers of concurrent requests too, measured once each.

    python tests/bench/throughput.py
"""

import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig
from support.checkpoints import data_uri, picture
from support.pairs import pairs, show, verdict
from support.tiny_models import each_model, endless_apart

LIMIT = 1.0
REQUESTS, BATCH, TOKENS = 128, 32, 32
CONCURRENT = (1, 8, 32, 128)


def measure(folder: Path, name: str) -> bool:
    model, inner, processor = endless_apart(folder)
    images = [picture(seed, (224, 224)) for seed in range(REQUESTS)]
    texts = [f"Describe picture {seed % 7}, then say what you see" for seed in range(REQUESTS)]
    uris = [data_uri(image) for image in images]
    prompts = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for text in texts
    ]

    generating: list[float] = []

    def raw() -> float:
        start, alone = time.perf_counter(), 0.0
        for first in range(0, REQUESTS, BATCH):
            inputs = processor(
                text=prompts[first : first + BATCH],
                images=[[image] for image in images[first : first + BATCH]],
                return_tensors="pt",
                padding=True,
                padding_side="left",
            )
            ready = time.perf_counter()
            with torch.inference_mode():
                tokens = inner.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
            assert tokens.shape[1] - inputs["input_ids"].shape[1] == TOKENS
            alone += time.perf_counter() - ready
        generating.append(REQUESTS * TOKENS / alone)
        return REQUESTS * TOKENS / (time.perf_counter() - start)

    def ours(at_once: int = BATCH) -> float:
        return asyncio.run(requests(at_once))

    async def requests(at_once: int) -> float:
        config = GenerateConfig(max_tokens=TOKENS)
        limit = asyncio.Semaphore(at_once)
        # One at a time, a quarter of them is enough.
        count = REQUESTS if at_once > 1 else REQUESTS // 4

        async def one(uri: str, text: str) -> int:
            content = [ContentImage(image=uri), ContentText(text=text)]
            async with limit:
                output, _ = await model.api.generate(
                    [ChatMessageUser(content=content)], [], "auto", config
                )
            return output.usage.output_tokens

        start = time.perf_counter()
        counts = await asyncio.gather(*map(one, uris[:count], texts[:count]))
        assert counts == [TOKENS] * count
        return count * TOKENS / (time.perf_counter() - start)

    measured = pairs(ours, raw)
    parameters = sum(parameter.numel() for parameter in inner.parameters()) / 1e6
    show(
        f"{name}, {parameters:.1f}M parameters, {torch.get_num_threads()} threads: "
        f"{REQUESTS} requests, {BATCH} at a time, {TOKENS} tokens each",
        {
            "hf-vlm/, 32 concurrent requests": [our for our, _ in measured],
            "processor + model.generate, batches of 32": [their for _, their in measured],
            "model.generate alone, tensors ready": generating[1:],
        },
        "tokens/s",
    )
    each = ", ".join(f"{ours(at_once):.0f} at {at_once}" for at_once in CONCURRENT)
    print(f"  hf-vlm/, tokens/s by concurrent requests: {each}")
    strict = statistics.median(our for our, _ in measured) / statistics.median(generating[1:])
    print(f"  against model.generate alone: {strict:.3f}")
    model.api.close()
    ratios = [our / their for our, their in measured]
    return verdict(ratios, LIMIT, at_least=True, what=f"ratio, {name}")


if __name__ == "__main__":
    raise SystemExit(each_model(measure))
