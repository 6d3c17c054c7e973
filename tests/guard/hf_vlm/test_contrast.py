"""Two readings of a conversation, combined token by token, against a loop written by hand."""

import asyncio
import json
import shutil
import threading

import pytest
import torch
import transformers
from inspect_ai.model import ChatMessageUser, GenerateConfig

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm import engine
from vlmguard.guard.hf_vlm.batch import Sharing
from vlmguard.guard.hf_vlm.choices import contrasted
from vlmguard.guard.hf_vlm.messages import to_conversation

MIND = "Mind the fire, and say what could go wrong."
PAIR = {"contrast": {"alpha": 4.0, "without": MIND}}
CONTRAST = GenerateConfig(max_tokens=10, extra_body=PAIR)
PLAIN = GenerateConfig(max_tokens=10)


@pytest.fixture(params=["llava", "qwen"])
def model(request, load):
    return load(request.getfixturevalue(request.param))


def config(alpha=4.0, **settings):
    return CONTRAST.model_copy(
        update={"extra_body": {"contrast": {"alpha": alpha, "without": MIND}}, **settings}
    )


async def told(model, *requests):
    """Tokens of requests that are sent at once, by request."""
    outputs = await asyncio.gather(
        *(model.api.generate(request, [], "auto", settings) for request, settings in requests)
    )
    return [call.response["tokens"] for _, call in outputs]


async def one(model, request, settings):
    [[tokens]] = await told(model, (request, settings))
    return tokens


def by_hand(model, given, without, alpha, count, penalty=1.0):
    """Greedy tokens by two whole passes a token, without a cache; and their log-probabilities."""
    maker, inner = (
        model.api._replicas.vlms[0].maker,
        model.api._replicas.vlms[0].engine.weights.model,
    )
    readings = []
    for messages in (given, without):
        conversation = to_conversation(
            messages, system_turns=maker.system_turns, control_tokens=maker.control_tokens
        )
        readings.append(dict(maker.prepare(conversation).inputs))
    tokens, logprobs = [], []
    for _ in range(count):
        with torch.no_grad():
            one, other = (inner(**inputs).logits[0, -1] for inputs in readings)
        scores = one + alpha * (one - other)
        seen = readings[0]["input_ids"][0].unique()
        scores[seen] = torch.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
        tokens.append(int(scores.argmax()))
        logprobs.append(float(scores.log_softmax(-1).max()))
        for inputs in readings:
            shape = inputs["input_ids"].shape
            for name, value in inputs.items():
                if value.shape == shape:
                    last = {"input_ids": tokens[-1], "attention_mask": 1}.get(name, 0)
                    inputs[name] = torch.cat([value, torch.tensor([[last]])], -1)
    return tokens, logprobs


@pytest.mark.parametrize("images", [[0], [1, 2], []])
async def test_it_is_the_loop_written_by_hand(model, ask, images):
    given, without = ask(images=images, system=MIND), ask(images=images)
    want, wanted = by_hand(model, given, without, 4.0, 10)
    output, call = await model.api.generate(given, [], "auto", config(logprobs=True))
    [tokens] = call.response["tokens"]
    assert tokens == want[: len(tokens)]
    found = [entry.logprob for entry in output.choices[0].logprobs.content]
    assert found == pytest.approx(wanted[: len(tokens)], abs=1e-2)
    # It is neither reading's own answer, so that the test can fail.
    assert tokens != await one(model, given, PLAIN)
    assert tokens != await one(model, without, PLAIN)


async def test_alpha_0_is_plain_decoding_with_the_text(model, ask):
    for images in ([0], []):
        given = ask(images=images, system=MIND)
        assert await one(model, given, config(0.0)) == await one(model, given, PLAIN)


async def test_alpha_minus_1_is_plain_decoding_without_it(model, ask):
    """Whatever Inspect, a template or a wrapper put around the text goes with it."""
    for given, without in (
        (ask(system=MIND), ask()),
        (ask(system=f"Be brief.\n\n{MIND}\nEnglish."), ask(system="Be brief.\n\nEnglish.")),
        (ask(system=f"{MIND}\nBe brief."), ask(system="Be brief.")),
        (ask(f"{MIND}\n\nWhat?"), ask("What?")),
        (ask(f"What?\n\n{MIND}"), ask("What?")),
        (ask(MIND), [ChatMessageUser(content=ask()[0].content[:1])]),
        (ask("What?", system=MIND, prefix="It is"), ask("What?", prefix="It is")),
    ):
        _, call = await model.api.generate(given, [], "auto", config(-1.0))
        _, plain = await model.api.generate(without, [], "auto", PLAIN)
        assert call.request["prompt_without"] == plain.request["prompt"]
        assert call.response["tokens"] == plain.response["tokens"]


async def test_together_they_answer_as_alone(model, ask, patient):
    """Other lengths, images, prefixes, choices, limits and seeds; all in one batch."""
    drawn = {"temperature": 1.0, "seed": 3}
    requests = [
        (ask(images=[0], system=MIND), config(num_choices=3, **drawn)),
        (ask("no", images=[1], system=MIND), config(num_choices=2, **drawn)),
        (ask(f"What?\n\n{MIND}", images=[2, 3], prefix="I see"), config(**drawn)),
        (ask("Which colour, please?", images=[0], size=(120, 60), system=MIND), config(**drawn)),
    ]
    alone = [(await told(model, request))[0] for request in requests]
    assert len({str(choice) for choice in alone[0]}) == 3
    assert await told(model, *requests) == alone
    model.api._replicas.vlms[0].engine.weights.sharing = Sharing()
    assert await told(model, *requests) == alone


@pytest.fixture
def batches(monkeypatch):
    """The number of prompts and of answers of each batch."""
    noted = []
    generate = transformers.GenerationMixin.generate

    def counted(self, **inputs):
        answers = len(inputs["stopping_criteria"][0].rows)
        noted.append((inputs["input_ids"].shape[0], answers))
        return generate(self, **inputs)

    monkeypatch.setattr(transformers.GenerationMixin, "generate", counted)
    return noted


async def test_rows_with_and_without_it_never_share_a_batch(model, ask, batches, patient):
    given = ask(system=MIND)
    requests = [(given, PLAIN), (given, config()), (given, config(2.0)), (given, PLAIN)]
    requests.append((ask(images=[1], system=MIND), config()))
    alone = [(await told(model, request))[0] for request in requests]
    batches.clear()
    assert await told(model, *requests) == alone
    assert sorted(batches) == [(1, 2), (2, 1), (4, 2)]


async def test_two_rows_count_for_each_answer(llava, load, ask, batches, patient):
    model = load(llava, max_batch_size=4)
    requests = [(ask(images=[seed], system=MIND), config()) for seed in range(5)]
    alone = [(await told(model, request))[0] for request in requests]
    batches.clear()
    assert await told(model, *requests) == alone
    assert sorted(batches) == [(2, 1), (4, 2), (4, 2)]
    single = load(llava, max_batch_size=1)
    assert (await told(single, requests[0]))[0] == alone[0]


async def test_a_batch_that_is_too_large_is_halved(llava, load, ask, monkeypatch, patient):
    model = load(llava)
    requests = [(ask(images=[seed], system=MIND), config()) for seed in range(4)]
    alone = [(await told(model, request))[0] for request in requests]
    generate, tried = engine.generate_batch, []

    def small(model, tokenizer, inputs, rows, *rest):
        tried.append(len(rows))
        if len(rows) > 1:
            raise torch.OutOfMemoryError
        generate(model, tokenizer, inputs, rows, *rest)

    monkeypatch.setattr(engine, "generate_batch", small)
    assert await told(model, *requests) == alone
    assert tried == [4, 2, 1, 1, 2, 1, 1]


async def test_an_abandoned_answer_leaves_its_neighbour_alone(llava, load, ask, patient):
    model = load(llava)
    running = model.api._replicas.vlms[0].engine.batcher
    model.api._replicas.vlms[
        0
    ].engine.weights.model.generation_config.eos_token_id = 1_000_000  # no such token
    kept, gone = ask(images=[1], system=MIND), ask(images=[2], system=MIND)
    long = config(max_tokens=50)
    alone = await one(model, kept, long)
    going = threading.Event()

    def held(*_):
        going.wait(60)

    hook = model.api._replicas.vlms[0].engine.weights.model.register_forward_pre_hook(held)
    tasks = [asyncio.ensure_future(one(model, request, long)) for request in (gone, kept)]
    async with asyncio.timeout(60):
        while len(running._running) < 2:
            await asyncio.sleep(0.001)
        rows = running._running  # in the order in which they were prepared, which is left open
        tasks[0].cancel()
        while not (dropped := [row for row in rows if row.abandoned]):
            await asyncio.sleep(0.001)
    going.set()
    assert await tasks[1] == alone
    hook.remove()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert all(row.future.done() for row in rows)
    assert "abandoned" in str(dropped[0].future.exception())


async def test_a_seed_fixes_the_draws_and_a_stop_string_ends_them(model, ask):
    given = ask(system=MIND)
    drawn = config(temperature=2.0, num_choices=3, seed=5)
    output = await model.generate(given, config=drawn)
    again = await model.generate(given, config=drawn)
    texts = [choice.message.text for choice in output.choices]
    assert texts == [choice.message.text for choice in again.choices]
    assert len(set(texts)) == 3
    stop = texts[0][2:4]
    stopped = await model.generate(
        given, config=drawn.model_copy(update={"stop_seqs": [stop], "num_choices": 1})
    )
    assert stopped.completion == texts[0][: texts[0].index(stop) + 2]
    assert stopped.metadata["finish"] == ["stop_string"]


async def test_an_image_is_read_once_and_none_for_another(model, ask):
    inner = model.api._replicas.vlms[0].engine.weights.model.base_model
    qwen = "visual" in dict(inner.named_children())
    tower = inner.visual if qwen else inner.vision_tower
    seen = []
    tower.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[0]))
    requests = [(ask(images=[seed], system=MIND), config()) for seed in (0, 1)]
    plain = [(ask(images=[seed]), PLAIN) for seed in (0, 1)]
    first = await told(model, *requests, *plain)
    assert await told(model, *requests, *plain) == first
    assert await told(model, *requests[::-1], *plain[::-1]) == [first[n] for n in (1, 0, 3, 2)]
    assert sum(seen) == 2 * (16 if qwen else 1)  # patches, or images
    assert first[0] != first[1]
    model.api._replicas.vlms[0].engine.features.limit = 0
    model.api._replicas.vlms[0].engine.features.clear()
    assert await told(model, *requests, *plain) == first


async def test_the_rules_of_a_checkpoint_see_the_combined_scores(llava, load, ask, tmp_path):
    """A penalty on one reading would be multiplied for the words that the text alone has."""
    folder = shutil.copytree(llava, tmp_path / "ruled")
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"repetition_penalty": 0.5}))
    model = load(folder)
    given = ask(system=MIND)
    want, _ = by_hand(model, given, ask(), 4.0, 10, penalty=0.5)
    tokens = await one(model, given, config())
    assert tokens == want[: len(tokens)]
    assert want != by_hand(model, given, ask(), 4.0, 10)[0]


def test_what_a_reading_rules_out_stays_out():
    low = -torch.inf
    given = torch.tensor([[1.0, low, 2.0, low], [1.0, 1.0, 1.0, 1.0]])
    without = torch.tensor([[0.0, 1.0, low, low], [1.0, 0.5, 2.0, 1.0]])
    found = contrasted(torch.cat([given, without]), 4.0)
    assert found.tolist() == [[5.0, low, low, low], [1.0, 3.0, -3.0, 1.0]]
    assert contrasted(torch.tensor([[torch.nan], [1.0]]), 4.0).isnan().all()


async def test_the_log_and_the_usage_tell_of_both_readings(llava, load, ask):
    model = load(llava)
    output, call = await model.api.generate(
        ask(system=MIND), [], "auto", config(logprobs=True, num_choices=2)
    )
    with_it = await model.generate(ask(system=MIND), config=PLAIN)
    without = await model.generate(ask(), config=PLAIN)
    assert output.usage.input_tokens == with_it.usage.input_tokens + without.usage.input_tokens
    assert output.usage.output_tokens == sum(map(len, call.response["tokens"]))
    assert call.request["settings"]["contrast"] == 4.0
    assert MIND in call.request["prompt"]
    assert call.request["prompt_without"] == call.request["prompt"].replace(f"{MIND} ", "", 1)
    assert any("combined scores" in note for note in output.metadata["notes"])


async def test_the_context_must_hold_the_longer_reading(llava, load, ask):
    model = load(llava)
    full = ask("one two three " * 600, system=MIND)
    output = await model.generate(full, config=config())
    assert (output.stop_reason, output.completion) == ("model_length", "")


async def test_inspects_cache_tells_contrasts_apart(llava, load, ask, monkeypatch, tmp_path):
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path))
    model, given = load(llava), ask(system=MIND)
    for settings in (PLAIN, config(), config(8.0)):
        plain = await model.generate(given, config=settings)
        cached = [await model.generate(given, config=settings, cache=True) for _ in range(2)]
        assert [each.completion for each in cached] == [plain.completion] * 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"alpha": "4", "without": MIND}, "contrast.alpha"),
        ({"alpha": True, "without": MIND}, "contrast.alpha"),
        ({"alpha": float("inf"), "without": MIND}, "contrast.alpha"),
        ({"without": MIND}, "contrast.alpha"),
        ({"alpha": 1, "without": " "}, "contrast.without"),
        ({"alpha": 1, "without": MIND, "beta": 1}, "contrast.beta"),
        (4.0, "contrast: "),
        ({"alpha": 1, "without": "never said"}, "stands there 0 times: 'never said'"),
        ({"alpha": 1, "without": "i"}, r"stands there \d+ times"),
        ({"alpha": 1, "without": "a prefix"}, "stands there 0 times"),
    ],
)
async def test_a_malformed_contrast_is_refused(llava, load, ask, asked, said):
    model = load(llava)
    settings = GenerateConfig(max_tokens=2, extra_body={"contrast": asked})
    with pytest.raises(UserError, match=said):
        await model.api.generate(ask(system=MIND, prefix="a prefix"), [], "auto", settings)


async def test_a_user_turn_is_not_left_empty(llava, load, ask):
    with pytest.raises(UserError, match="a user turn would be empty"):
        await load(llava).api.generate(ask(MIND, images=[]), [], "auto", config())


async def test_other_keys_of_extra_body_are_named_once(llava, load, ask, caplog):
    model = load(llava)
    settings = config(extra_body={**PAIR, "top_k": -1})
    for _ in range(2):
        await model.generate(ask(system=MIND), config=settings)
    assert caplog.text.count("extra_body.top_k is not supported") == 1
    assert "extra_body.contrast" not in caplog.text


async def test_a_model_that_cannot_combine_is_refused(llava, load, ask, tmp_path):
    folder = shutil.copytree(llava, tmp_path / "ruled")
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"guidance_scale": 1.5}))
    model = load(folder)
    with pytest.raises(UserError, match="cannot be combined"):
        await model.api.check_contrast()
    with pytest.raises(UserError, match="cannot be combined"):
        await model.api.generate(ask(system=MIND), [], "auto", config())
