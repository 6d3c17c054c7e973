"""Time of requests that contrast two readings (`coca`), relative to the same without a contrast.

Tiny Qwen2-VL and LLaVA (about 8M parameters, random weights) on the CPU, 16 requests at once with
an image of 224 x 224 each, 16 new tokens. Two passes for each token make it about twice the time;
the image must pass the vision tower once for both readings.

    python tests/bench/contrast.py
"""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
)
from support.checkpoints import data_uri, picture
from support.pairs import pairs, show, verdict
from support.tiny_models import each_model, endless

from vlmguard.guard.contrast import Contrast
from vlmguard.solvers.coca import ALPHA, PRINCIPLE

LIMIT = 2.5
REQUESTS, TOKENS = 16, 16


def measure(folder: Path, name: str) -> bool:
    model, inner = endless(folder)
    images: list[int] = []
    tower = inner.base_model.visual if name.startswith("qwen") else inner.base_model.vision_tower
    tower.register_forward_pre_hook(lambda _, given: images.append(given[0].shape[0]))
    uris = [data_uri(picture(seed, (224, 224))) for seed in range(REQUESTS)]
    plain = GenerateConfig(max_tokens=TOKENS)
    contrast = Contrast(alpha=ALPHA, without=PRINCIPLE).body()
    contrasting = plain.model_copy(update={"extra_body": contrast})
    seen: set[int] = set()

    def run(config: GenerateConfig) -> float:
        model.api._replicas.vlms[0].engine.features.clear()
        images.clear()
        start = time.perf_counter()
        asyncio.run(requests(config))
        seconds = time.perf_counter() - start
        seen.add(sum(images))
        assert len(seen) == 1, f"{seen} images or patches passed the tower"
        return seconds

    async def requests(config: GenerateConfig) -> None:
        async def one(uri: str) -> None:
            asked = [ContentImage(image=uri), ContentText(text="What do you see here?")]
            messages = [ChatMessageSystem(content=PRINCIPLE), ChatMessageUser(content=asked)]
            output, _ = await model.api.generate(messages, [], "auto", config)
            assert output.usage.output_tokens == TOKENS

        await asyncio.gather(*map(one, uris))

    measured = pairs(lambda: run(contrasting), lambda: run(plain))
    parameters = sum(parameter.numel() for parameter in inner.parameters()) / 1e6
    show(
        f"{name}, {parameters:.1f}M parameters, {torch.get_num_threads()} threads: "
        f"{REQUESTS} requests of {TOKENS} tokens",
        {
            "two readings": [our for our, _ in measured],
            "one reading": [their for _, their in measured],
        },
        "s",
    )
    model.api.close()
    ratios = [our / their for our, their in measured]
    return verdict(ratios, LIMIT, at_least=False, what=f"ratio, {name}")


if __name__ == "__main__":
    raise SystemExit(each_model(measure))
