"""Tokens per second of the model API relative to raw `model.generate` on prepared batches of 32.

Tiny Qwen2-VL and LLaVA (about 8M parameters, random weights) on the CPU, 128 images of 224 x 224,
32 new tokens each. Ours: requests with data URIs, through the queue; 32 at a time and one process
with the weights, and all at once and two such processes (`-M replicas=2`), which on two cores have
one each. With 32 at a time, nothing is left to prepare while a batch is generated: the old limit of
0.9 stands. Raw: conversations put into batches of 32 beforehand, with decoded images; processor,
then `generate`, in this process, with both cores. The table also has `generate` alone, on prepared
tensors. One process is shown with other numbers of concurrent requests too, measured once each.

    python tests/bench/throughput.py
"""

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from inspect_ai.model import (
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
)
from support.checkpoints import data_uri, picture
from support.pairs import pairs, show, verdict
from support.tiny_models import each_model, endless_apart, two_apart

LIMITS = {1: 0.9, 2: 1.0}
"""By the number of processes."""

REQUESTS, BATCH, TOKENS = 128, 32, 32
CONCURRENT = (1, 8, 32, 128)


def measure(folder: Path, name: str) -> bool:
    one, inner, processor = endless_apart(folder)
    models = {1: one, 2: two_apart(folder)}
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

    def ours(processes: int, at_once: int) -> float:
        return asyncio.run(requests(models[processes].api, at_once))

    async def requests(api: ModelAPI, at_once: int) -> float:
        config = GenerateConfig(max_tokens=TOKENS)
        limit = asyncio.Semaphore(at_once)
        # One at a time, a quarter of them is enough.
        count = REQUESTS if at_once > 1 else REQUESTS // 4

        async def one(uri: str, text: str) -> int:
            content = [ContentImage(image=uri), ContentText(text=text)]
            async with limit:
                answered = await api.generate(
                    [ChatMessageUser(content=content)], [], "auto", config
                )
            output, _ = cast(tuple[ModelOutput, ModelCall], answered)
            assert output.usage is not None
            return output.usage.output_tokens

        start = time.perf_counter()
        counts = await asyncio.gather(*map(one, uris[:count], texts[:count]))
        assert counts == [TOKENS] * count
        return count * TOKENS / (time.perf_counter() - start)

    alone = pairs(lambda: ours(1, BATCH), raw)
    # Unmeasured runs of `raw` came first in each.
    without = generating[1:]
    together = pairs(lambda: ours(2, REQUESTS), raw)
    parameters = sum(parameter.numel() for parameter in inner.parameters()) / 1e6
    show(
        f"{name}, {parameters:.1f}M parameters, {torch.get_num_threads()} threads: "
        f"{REQUESTS} requests, {TOKENS} tokens each",
        {
            "hf-vlm/, 32 concurrent requests": [our for our, _ in alone],
            "hf-vlm/ with replicas=2, 128 concurrent": [our for our, _ in together],
            "processor + model.generate, batches of 32": [their for _, their in alone + together],
            "model.generate alone, tensors ready": without,
        },
        "tokens/s",
    )
    each = ", ".join(f"{ours(1, at_once):.0f} at {at_once}" for at_once in CONCURRENT)
    print(f"  hf-vlm/, tokens/s by concurrent requests: {each}")
    strict = statistics.median(our for our, _ in alone) / statistics.median(without)
    print(f"  against model.generate alone: {strict:.3f}")
    good = True
    for processes, measured in ((1, alone), (2, together)):
        models[processes].api.close()
        what = f"ratio, {name}, {'one process' if processes == 1 else 'two processes'}"
        ratios = [our / their for our, their in measured]
        good &= verdict(ratios, LIMITS[processes], at_least=True, what=what)
    return good


if __name__ == "__main__":
    raise SystemExit(each_model(measure))
