"""Decoding as in ETA: keep one of five candidates for a sentence, then go to the next one.

Each sentence is a separate request, which continues the text so far. Reward model and CLIP are left
out: this is only the target's part. Random weights write hardly any text, so every sentence has its
full length, and the text grows by a fixed line.

    PYTHONPATH=tests python -m bench.gpu.decoding
"""

import asyncio
from pathlib import Path

from bench.gpu.checkpoint import build
from bench.gpu.machine import now, peak, start_peak
from bench.gpu.model import asked, opened
from bench.gpu.scale import Scale, arguments
from inspect_ai.model import ChatMessageAssistant, GenerateConfig, Model

from vlmguard.solvers.eta.decoding import PREFIX, SENTENCE_TOKENS, STOP

CANDIDATES = 5
SENTENCE = " There are blocks of several colours next to each other."


def main() -> None:
    work, scale = arguments()
    asyncio.run(measure(work, scale))


async def measure(work: Path, scale: Scale) -> None:
    """Print tokens/s for each number of answers that are decoded at once."""
    async with opened(build(work, scale), scale) as model:
        for count in scale.guided:
            start_peak()
            start = now()
            tokens = sum(
                await asyncio.gather(*(guided(model, number, scale) for number in range(count)))
            )
            seconds = now() - start
            print(
                f"{count} at a time, {scale.sentences} sentences: {seconds:.1f} s, "
                f"{tokens / seconds:.1f} tokens/s of all candidates; {peak()}",
                flush=True,
            )


async def guided(model: Model, number: int, scale: Scale) -> int:
    """Write one answer; returns the number of tokens of all candidates."""
    config = GenerateConfig(
        num_choices=CANDIDATES,
        temperature=1.5,
        top_k=5,
        max_tokens=SENTENCE_TOKENS,
        stop_seqs=[STOP],
        logprobs=True,
        seed=number,
    )
    text, tokens = PREFIX, 0
    for _ in range(scale.sentences):
        output = await model.generate(
            [asked(number, scale), ChatMessageAssistant(content=text)], config=config
        )
        assert output.usage is not None
        assert len(output.choices) == CANDIDATES
        tokens += output.usage.output_tokens
        text += SENTENCE
    return tokens


if __name__ == "__main__":
    main()
