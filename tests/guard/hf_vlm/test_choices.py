"""Several answers to one request: the prompt is read once, and nothing else changes."""

import asyncio
import shutil

import pytest
import transformers
from inspect_ai.model import GenerateConfig
from support.checkpoints import checkpoint

from vlmguard.guard.hf_vlm.batch import Sharing

SAMPLED = GenerateConfig(max_tokens=8, temperature=1.0, seed=5, num_choices=3, logprobs=True)
GREEDY = GenerateConfig(max_tokens=8, num_choices=2, logprobs=True)


async def told(model, *requests):
    """Tokens and log-probabilities of requests that are sent at once."""
    outputs = await asyncio.gather(
        *(model.api.generate(request, [], "auto", config) for request, config in requests)
    )
    tokens = [call.response["tokens"] for _, call in outputs]
    logprobs = [
        [entry.logprob for entry in choice.logprobs.content]
        for output, _ in outputs
        for choice in output.choices
    ]
    return tokens, logprobs


@pytest.fixture
def reads(monkeypatch):
    """The number of prompts that each batch reads first, and of rows made from them."""
    noted = []
    generate = transformers.GenerationMixin.generate

    def counted(self, **inputs):
        rows = len(inputs["stopping_criteria"][0].rows)
        noted.append((inputs["input_ids"].shape[0], rows))
        return generate(self, **inputs)

    monkeypatch.setattr(transformers.GenerationMixin, "generate", counted)
    return noted


async def test_answers_are_those_of_prompts_read_again_and_again(
    any_checkpoint, load, ask, reads, patient
):
    """Different numbers of choices, two sizes of images, several images, no image."""
    model = load(any_checkpoint)
    weights = model.api._replicas.vlms[0].engine.weights
    assert weights.sharing == Sharing(features=True, prompts=True)
    two = ask("What colour? And where is it?", images=[1, 2], size=(120, 60))
    requests = [
        (ask(images=[0]), SAMPLED),
        (two, SAMPLED.model_copy(update={"num_choices": 2})),
        (ask("no", images=[3]), SAMPLED.model_copy(update={"num_choices": 1})),
    ]
    text = (ask("No picture at all", images=[]), SAMPLED)
    greedy = (ask(images=[0], prefix="It is"), GREEDY)
    reads.clear()
    shared = [await told(model, *requests), await told(model, text), await told(model, greedy)]
    assert reads == [(3, 6), (1, 3), (1, 2)]
    weights.sharing = Sharing()
    reads.clear()
    plain = [await told(model, *requests), await told(model, text), await told(model, greedy)]
    assert reads == [(6, 6), (3, 3), (2, 2)]
    for (tokens, logprobs), (want, wanted) in zip(shared, plain, strict=True):
        assert tokens == want
        for row, other in zip(logprobs, wanted, strict=True):
            assert row == pytest.approx(other, abs=1e-4)
    assert len({str(choice) for choice in shared[0][0][0]}) == 3


async def test_equal_requests_that_meet_are_read_once(qwen, load, ask, reads, patient):
    """As `eta` sends them for whole answers, and tasks for several samples of a question."""
    model = load(qwen)
    reads.clear()
    config = GenerateConfig(max_tokens=6, temperature=1.0, logprobs=True)
    requests = [(ask(images=[0]), config.model_copy(update={"seed": seed})) for seed in range(4)]
    tokens, _ = await told(model, *requests)
    assert reads == [(1, 4)]
    alone = [await told(model, request) for request in requests]
    assert tokens == [each[0] for each, _ in alone]


def test_a_cache_that_cannot_be_repeated_is_found_out_at_load(llava, load, ask, monkeypatch):
    def refuse(self, rows):
        raise NotImplementedError

    monkeypatch.setattr(transformers.DynamicCache, "reorder_cache", refuse)
    model = load(llava)
    assert model.api._replicas.vlms[0].engine.weights.sharing == Sharing(
        features=True, prompts=False
    )
    tokens, _ = asyncio.run(told(model, (ask(images=[0]), GREEDY)))
    assert tokens[0][0] == tokens[0][1]


def test_a_wrongly_repeated_cache_is_found_out_at_load(llava, load, monkeypatch):
    repeat = transformers.DynamicCache.reorder_cache
    monkeypatch.setattr(
        transformers.DynamicCache, "reorder_cache", lambda self, rows: repeat(self, rows.flip(0))
    )
    assert not load(llava).api._replicas.vlms[0].engine.weights.sharing.prompts


def test_rules_that_hold_on_to_prompts_keep_every_row_its_own(load, tmp_path):
    folder = tmp_path / "ruled"
    folder.mkdir()
    for file in checkpoint("llava").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = transformers.GenerationConfig.from_pretrained(folder)
    config.encoder_repetition_penalty = 1.5
    config.save_pretrained(folder)
    assert load(folder).api._replicas.vlms[0].engine.weights.sharing == Sharing(
        features=True, prompts=False
    )


async def test_a_repetition_penalty_knows_the_padding_of_each_choice(
    load, ask, tmp_path, reads, patient
):
    """Its rule keeps the padding of each prompt; Qwen2.5-VL's checkpoints have such a penalty."""
    folder = shutil.copytree(checkpoint("qwen2_5_vl"), tmp_path / "ruled")
    config = transformers.GenerationConfig.from_pretrained(folder)
    config.repetition_penalty = 1.3
    config.save_pretrained(folder)
    model = load(folder)
    weights = model.api._replicas.vlms[0].engine.weights
    assert weights.sharing == Sharing(features=True, prompts=True)
    requests = [(ask("no"), GREEDY), (ask("What colour? And where is it, please?"), GREEDY)]
    reads.clear()
    shared, _ = await told(model, *requests)
    assert reads == [(2, 4)]
    weights.sharing = Sharing()
    assert (await told(model, *requests))[0] == shared
