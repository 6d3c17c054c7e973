"""Six architectures, loaded like downloaded ones, against plain `model.generate`."""

import asyncio

import pytest
import torch
import transformers
from inspect_ai.model import GenerateConfig
from support.checkpoints import BUILDERS, checkpoint, picture


def plain_generate(model, maker, conversations, max_tokens):
    """The road that a user without Inspect takes: processor, then `generate`."""
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
    [want] = plain_generate(own, model.api._maker, [(turns("What colour?"), [picture(3)])], 12)
    output, call = await model.api.generate(
        ask("What colour?", images=[3]), [], "auto", GenerateConfig(max_tokens=12)
    )
    assert call.response["tokens"][0] == want
    assert output.completion == model.api._maker.tokenizer.decode(want, skip_special_tokens=True)


async def test_a_batch_gives_what_single_requests_give(any_checkpoint, load, ask):
    """Text of several lengths, none to three images of several sizes, a system turn."""
    model = load(any_checkpoint)
    requests = [
        ask("What colour?", images=[1]),
        ask("Describe the picture in one sentence.", images=[2], size=(120, 60)),
        ask("first and second", images=[3, 4], system="Be brief"),
        ask("And in the third image?", images=[5, 6, 7], size=(90, 100)),
        ask("No picture at all", images=[]),
        ask("no", images=[]),
    ]
    config = GenerateConfig(max_tokens=10, logprobs=True)
    alone = [await model.generate(request, config=config) for request in requests]
    together = await asyncio.gather(*(model.generate(r, config=config) for r in requests))
    assert [o.completion for o in together] == [o.completion for o in alone]
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(
            one.choices[0].logprobs.content, other.choices[0].logprobs.content, strict=True
        ):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
    assert len({output.completion for output in alone}) == len(alone)


async def test_the_order_of_images_matters_and_is_kept(any_checkpoint, load, ask):
    model = load(any_checkpoint)
    own = transformers.AutoModelForImageTextToText.from_pretrained(any_checkpoint)
    pictures = [picture(8), picture(9)]
    conversations = [(turns("which?", 2), pictures), (turns("which?", 2), pictures[::-1])]
    want = plain_generate(own, model.api._maker, conversations, 16)
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
    """Where it differs, whole batches are prepared, with the same result."""
    model = load(checkpoint(name))
    assert not model.api._maker.whole_batches
    config = GenerateConfig(max_tokens=8)
    requests = [ask("one", images=[1]), ask("two or three", images=[2], size=(100, 70))]
    want = [await model.generate(request, config=config) for request in requests]
    model.api.close()
    monkeypatch.setattr("vlmguard.hf_vlm.processor.collate", lambda requests, pad: requests[0])
    model = load(checkpoint(name))
    assert model.api._maker.whole_batches
    got = await asyncio.gather(*(model.generate(request, config=config) for request in requests))
    assert [output.completion for output in got] == [output.completion for output in want]
