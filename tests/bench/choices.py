"""Time of ETA's sentence decoding with five candidates, relative to one, for as many sentences.

Tiny Qwen2-VL and LLaVA (about 8M parameters, random weights) on the CPU, one image of 224 x 224.
Only the requests of `eta` are made: two sentences of 70 tokens, each a request with `num_choices`
that continues the answer so far (the model's "." and end of text are switched off, so that all have
the same length). The image must pass the vision tower once in the whole run.

    python tests/bench/choices.py
"""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
)
from support.checkpoints import data_uri, picture
from support.pairs import pairs, show, verdict
from support.tiny_models import each_model, endless

from vlmguard.solvers.eta.decoding import PREFIX, SENTENCE_TOKENS, STOP

LIMIT = 1.5
SENTENCES, CANDIDATES = 2, 5


def measure(folder: Path, name: str) -> bool:
    model, inner = endless(folder)
    tokenizer = model.api._replicas.vlms[0].maker.tokenizer
    inner.generation_config.suppress_tokens = [
        token for token in range(len(tokenizer)) if STOP in tokenizer.decode([token])
    ] + tokenizer.all_special_ids
    passes: list[int] = []
    tower = inner.base_model.visual if name.startswith("qwen") else inner.base_model.vision_tower
    tower.register_forward_pre_hook(lambda _, given: passes.append(1))

    def run(n: int) -> float:
        model.api._replicas.vlms[0].engine.features.clear()
        before = len(passes)
        start = time.perf_counter()
        asyncio.run(decode(model, n))
        seconds = time.perf_counter() - start
        assert len(passes) - before == 1, f"{len(passes) - before} passes through the tower"
        return seconds

    measured = pairs(lambda: run(CANDIDATES), lambda: run(1))
    parameters = sum(parameter.numel() for parameter in inner.parameters()) / 1e6
    show(
        f"{name}, {parameters:.1f}M parameters, {torch.get_num_threads()} threads: "
        f"{SENTENCES} sentences of {SENTENCE_TOKENS} tokens",
        {
            f"eta, n={CANDIDATES}": [our for our, _ in measured],
            "eta, n=1": [their for _, their in measured],
        },
        "s",
    )
    model.api.close()
    ratios = [our / their for our, their in measured]
    return verdict(ratios, LIMIT, at_least=False, what=f"ratio, {name}")


async def decode(model: Model, n: int) -> None:
    """Decode sentence after sentence, with the settings of `eta`; keep the first candidate."""
    image = data_uri(picture(0, (224, 224)))
    asked = ChatMessageUser(
        content=[ContentImage(image=image), ContentText(text="What do you see here?")]
    )
    config = GenerateConfig(
        num_choices=n, temperature=1.5, top_k=5, max_tokens=SENTENCE_TOKENS, stop_seqs=[STOP]
    )
    text = PREFIX
    for _ in range(SENTENCES):
        output = await model.generate([asked, ChatMessageAssistant(content=text)], config=config)
        assert output.usage is not None
        assert output.usage.output_tokens == n * SENTENCE_TOKENS
        text += output.choices[0].message.text


if __name__ == "__main__":
    raise SystemExit(each_model(measure))
