"""Six architectures, loaded like downloaded ones, against plain `model.generate`."""

import asyncio

import pytest
import torch
import transformers
from inspect_ai.model import GenerateConfig
from support.checkpoints import BUILDERS, checkpoint, picture

from vlmguard.guard.hf_vlm.generate import generate_batch


def plain_generate(model, maker, conversations, max_tokens):
    """The way of a user without Inspect: processor, then `generate`."""
    processor = maker.processor
    texts = [
        processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        for turns, _ in conversations
    ]
    images = [images for _, images in conversations]
    inputs = processor(
        text=texts,
        images=images if any(images) else None,
        return_tensors="pt",
        padding=True,
        padding_side="left",
    )
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
    return [row.tolist() for row in tokens[:, inputs["input_ids"].shape[1] :]]


def turns(text, images=1, system=None):
    content = [{"type": "image"}] * images + [{"type": "text", "text": text}]
    first = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return [*first, {"role": "user", "content": content}]


async def test_greedy_tokens_are_those_of_plain_generate(any_checkpoint, load, ask):
    model = load(any_checkpoint)
    own = transformers.AutoModelForImageTextToText.from_pretrained(any_checkpoint)
    [want] = plain_generate(
        own, model.api._replicas.vlms[0].maker, [(turns("What colour?"), [picture(3)])], 12
    )
    output, call = await model.api.generate(
        ask("What colour?", images=[3]), [], "auto", GenerateConfig(max_tokens=12)
    )
    assert call.response["tokens"][0] == want
    assert output.completion == model.api._replicas.vlms[0].maker.tokenizer.decode(
        want, skip_special_tokens=True
    )


@pytest.fixture
def batches(monkeypatch, patient):
    """The number of rows of each batch."""
    sizes = []

    def noted(model, tokenizer, inputs, *rest):
        sizes.append(inputs["input_ids"].shape[0])
        return generate_batch(model, tokenizer, inputs, *rest)

    monkeypatch.setattr("vlmguard.guard.hf_vlm.engine.generate_batch", noted)
    return sizes


def mixed(ask, number):
    """One of 32 requests; they differ in length of text, and number, size and order of images."""
    text = ["What colour?", "Describe the picture in one sentence.", "no", "And then?"][number % 4]
    size = [(64, 64), (120, 60), (90, 100)][number % 3]
    images = [[number], [number, 99], [99, number]][number % 3]
    system = "Be brief" if number % 5 == 0 else None
    return ask(f"{text} {number}", images=images, size=size, system=system)


async def test_a_batch_gives_what_single_requests_give(any_checkpoint, load, ask, batches):
    """Batches of 2, 8 and 32 rows in several mixes; rows without images have separate batches."""
    model = load(any_checkpoint)
    config = GenerateConfig(max_tokens=8, logprobs=True)
    requests = [mixed(ask, number) for number in range(32)]
    requests += [ask("No picture at all", images=[]), ask("no", images=[])]

    async def answer(number):
        output, call = await model.api.generate(requests[number], [], "auto", config)
        logprobs = [entry.logprob for entry in output.choices[0].logprobs.content]
        return call.response["tokens"][0], logprobs

    alone = [await answer(number) for number in range(34)]
    assert batches == [1] * 34
    assert len({str(tokens) for tokens, _ in alone}) > 24
    mixes = [[5, 1], [30, 7], range(8), range(31, 23, -1), range(32)]
    mixes.append([33, *range(29, -1, -1), 32])
    for numbers in mixes:
        batches.clear()
        together = await asyncio.gather(*map(answer, numbers))
        assert sorted(batches) == ([2, 30] if 33 in numbers else [len(numbers)])
        for number, (tokens, logprobs) in zip(numbers, together, strict=True):
            assert tokens == alone[number][0]
            assert logprobs == pytest.approx(alone[number][1], abs=1e-4)


async def test_the_order_of_images_matters_and_is_kept(any_checkpoint, load, ask):
    model = load(any_checkpoint)
    own = transformers.AutoModelForImageTextToText.from_pretrained(any_checkpoint)
    pictures = [picture(8), picture(9)]
    conversations = [(turns("which?", 2), pictures), (turns("which?", 2), pictures[::-1])]
    want = plain_generate(own, model.api._replicas.vlms[0].maker, conversations, 16)
    got = await asyncio.gather(
        *(
            model.api.generate(
                ask("which?", images=order), [], "auto", GenerateConfig(max_tokens=16)
            )
            for order in ([8, 9], [9, 8])
        )
    )
    assert [call.response["tokens"][0] for _, call in got] == want
    assert want[0] != want[1]


@pytest.mark.parametrize("name", BUILDERS)
async def test_putting_together_is_checked_against_the_processor(name, load, ask, monkeypatch):
    """If the results would differ, whole batches are prepared, with the same result."""
    model = load(checkpoint(name))
    assert not model.api._replicas.vlms[0].maker.whole_batches
    config = GenerateConfig(max_tokens=8)
    requests = [ask("one", images=[1]), ask("two or three", images=[2], size=(100, 70))]
    want = [await model.generate(request, config=config) for request in requests]
    model.api.close()
    monkeypatch.setattr("vlmguard.guard.hf_vlm.processor.collate", lambda given, pad: given[0])
    model = load(checkpoint(name))
    assert model.api._replicas.vlms[0].maker.whole_batches
    got = await asyncio.gather(*(model.generate(request, config=config) for request in requests))
    assert [output.completion for output in got] == [output.completion for output in want]
