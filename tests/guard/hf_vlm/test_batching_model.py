"""The queue with a real model: failures, cancelled requests, and which requests wait."""

import asyncio
import threading

import anyio
import pytest
import torch
from inspect_ai.model import GenerateConfig

from vlmguard.guard.errors import UserError


@pytest.fixture
def model(load, llava):
    return load(llava)


def wrap_generate(model, monkeypatch, before):
    """Call `before(number of rows)` ahead of every `model.generate`."""
    inner = model.api._replicas.vlms[0].engine.weights.model
    generate = inner.generate

    def wrapped(**inputs):
        before(len(inputs["input_ids"]))
        return generate(**inputs)

    monkeypatch.setattr(inner, "generate", wrapped)


async def gather(*calls):
    return await asyncio.gather(*calls)


async def test_real_answers_survive_out_of_memory(model, monkeypatch, ask):
    config = GenerateConfig(max_tokens=6)
    requests = [ask(images=[seed]) for seed in range(9)]
    want = [(await model.generate(request, config=config)).completion for request in requests]

    def fail(rows):
        if rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    wrap_generate(model, monkeypatch, fail)
    got = await gather(*(model.generate(request, config=config) for request in requests))
    assert [output.completion for output in got] == want


@pytest.mark.usefixtures("patient")
async def test_a_seeded_answer_survives_a_repeated_batch(model, ask):
    """Memory runs out after some tokens: the halves begin with the same random numbers."""
    config = GenerateConfig(max_tokens=12, temperature=1.0)
    seeded = [config.model_copy(update={"seed": 7}) for _ in range(4)]
    requests = [ask(images=[seed]) for seed in range(4)]

    async def answers():
        outputs = await gather(
            *(model.generate(r, config=c) for r, c in zip(requests, seeded, strict=True))
        )
        return [output.completion for output in outputs]

    want = await answers()
    steps = []

    def step(_, args, kwargs):
        steps.append(len(kwargs["input_ids"]))
        if steps == [4] * 6:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = model.api._replicas.vlms[0].engine.weights.model.register_forward_pre_hook(
        step, with_kwargs=True
    )
    got = await answers()
    hook.remove()
    assert steps[:7] == [4] * 6 + [2]
    assert got == want


@pytest.mark.parametrize(
    "config", [{}, {"temperature": 1.0}, {"logprobs": True}], ids=["greedy", "sampled", "logprobs"]
)
async def test_scores_that_are_no_numbers_fail_their_row_only(model, ask, config):
    """Half precision overflows for some prompts: this gives no garbage and no crash of the GPU."""
    inner = model.api._replicas.vlms[0].engine.weights.model
    steps = []

    def overflow(_, args, output):
        steps.append(1)
        if len(steps) == 3:
            output.logits[0, -1, 5] = torch.nan

    hook = inner.register_forward_hook(overflow)
    config = GenerateConfig(max_tokens=6, **config)
    outputs = await asyncio.gather(
        *(model.generate(ask(images=[i]), config=config) for i in range(2)), return_exceptions=True
    )
    hook.remove()
    failed = [output for output in outputs if isinstance(output, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], UserError)
    assert "new token 3" in str(failed[0])
    assert "in float32: use -M dtype=bfloat16" in str(failed[0])
    assert [o.usage.output_tokens for o in outputs if o not in failed] == [6]


async def test_a_generate_without_our_stopping_criteria_is_refused(model, ask, monkeypatch):
    """As in some checkpoints with their own code: it is refused, and nothing waits for it."""
    inner = model.api._replicas.vlms[0].engine.weights.model
    generate = inner.generate

    def own(**inputs):
        return generate(**{**inputs, "stopping_criteria": None, "logits_processor": None})

    monkeypatch.setattr(inner, "generate", own)
    with pytest.raises(UserError, match="`generate` of its own"):
        await model.generate(ask(), config=GenerateConfig(max_tokens=2))


async def test_a_time_limit_of_the_checkpoint_cuts_nothing(model, ask, monkeypatch):
    monkeypatch.setattr(
        model.api._replicas.vlms[0].engine.weights.model.generation_config, "max_time", 1e-6
    )
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=9))
    assert output.usage.output_tokens == 9


@pytest.mark.usefixtures("patient")
async def test_a_long_prompt_that_came_first_lets_thirty_short_ones_pass(model, ask, monkeypatch):
    """All wait for the same idle worker, since a running batch is not interrupted."""
    sizes, ended = [], []
    inner = model.api._replicas.vlms[0].engine.weights.model
    generate = inner.generate

    def wrapped(**inputs):
        sizes.append(tuple(inputs["input_ids"].shape))
        return generate(**inputs)

    monkeypatch.setattr(inner, "generate", wrapped)
    config = GenerateConfig(max_tokens=4)

    async def run(request, name):
        # Past Inspect's limit of connections, which lets twenty in at first.
        await model.api.generate(request, [], "auto", config)
        ended.append(name)

    await gather(
        run(ask("one two three " * 150), "long"),
        *(run(ask(f"number {i}?", images=[i]), "short") for i in range(30)),
    )
    assert [rows for rows, _ in sizes] == [30, 1]
    assert sizes[1][1] > 5 * sizes[0][1]
    assert ended == ["short"] * 30 + ["long"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_model_answers_in_both_event_loops(model, ask, backend):
    arguments = (ask(), [], "auto", GenerateConfig(max_tokens=3))
    output, _ = anyio.run(model.api.generate, *arguments, backend=backend)
    assert output.usage.output_tokens == 3


@pytest.mark.usefixtures("patient")
async def test_settings_are_kept_apart_and_equal_ones_together(model, monkeypatch, ask):
    sizes = []
    wrap_generate(model, monkeypatch, sizes.append)
    configs = [GenerateConfig(max_tokens=3), GenerateConfig(max_tokens=3, top_k=4, temperature=1)]
    outputs = await gather(
        *(model.generate(ask(images=[seed]), config=configs[seed % 2]) for seed in range(12))
    )
    assert sizes == [6, 6]
    assert len(outputs) == 12


async def test_the_event_loop_goes_on_while_a_batch_runs(model, monkeypatch, ask):
    begun, gate = threading.Event(), threading.Event()

    def hold(rows):
        begun.set()
        assert gate.wait(60)  # a blocked event loop would never open the gate

    wrap_generate(model, monkeypatch, hold)

    async def tick():
        while not begun.is_set():
            await anyio.sleep(0.01)
        for _ in range(20):
            await anyio.sleep(0.01)
        gate.set()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        assert await model.generate(ask(), config=GenerateConfig(max_tokens=2))


async def test_a_cancelled_request_leaves_the_queue(model, monkeypatch, ask):
    gate, sizes = threading.Event(), []

    def hold(rows):
        sizes.append(rows)
        assert gate.wait(10)

    wrap_generate(model, monkeypatch, hold)
    config = GenerateConfig(max_tokens=2)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: model.generate(ask(), config=config))
        while not sizes:
            await anyio.sleep(0.01)
        with anyio.move_on_after(0.1) as waiting:
            await model.generate(ask("never answered"), config=config)
        assert waiting.cancelled_caught
        gate.set()
    assert (await model.generate(ask("the next"), config=config)).completion
    assert sizes == [1, 1]


async def test_a_request_cancelled_in_preparation_is_not_prepared(model, monkeypatch, ask):
    """Its images would be decoded for no use, before those of other requests."""
    gate, prepared = threading.Event(), []
    maker = model.api._replicas.vlms[0].maker
    prepare = maker.prepare

    def hold(conversation):
        prepared.append(conversation)
        assert gate.wait(10)
        return prepare(conversation)

    monkeypatch.setattr(maker, "prepare", hold)
    config = GenerateConfig(max_tokens=2)
    threads = model.api._replicas.vlms[0].engine._pool._max_workers
    async with anyio.create_task_group() as group:
        for i in range(threads + 12):
            group.start_soon(lambda i=i: model.api.generate(ask(images=[i]), [], "auto", config))
        while len(prepared) < threads:
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    gate.set()
    assert (await model.generate(ask(), config=config)).completion
    assert len(prepared) == threads + 1


async def test_a_cancelled_request_stops_generating(model, ask, monkeypatch):
    steps = []
    inner = model.api._replicas.vlms[0].engine.weights.model
    monkeypatch.setattr(inner.generation_config, "eos_token_id", 0)  # never produced

    hook = inner.register_forward_hook(lambda *_: steps.append(1))

    async def cancel_soon(scope):
        while len(steps) < 3:
            await anyio.sleep(0.001)
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel_soon, group.cancel_scope)
        await model.generate(ask(), config=GenerateConfig(max_tokens=900))
    with model.api._replicas.vlms[0].engine.weights.use(None):  # the batch has ended
        hook.remove()
    assert 3 <= len(steps) < 900


@pytest.mark.usefixtures("patient")
async def test_an_answer_that_ends_early_is_delivered_early(load, model, ask, monkeypatch):
    """One row stops at once, its neighbour goes on: the first must not wait for the second."""
    config = GenerateConfig(max_tokens=60)
    _, call = await model.api.generate(ask(images=[1]), [], "auto", GenerateConfig(max_tokens=1))
    first = call.response["tokens"][0][0]
    monkeypatch.setattr(
        model.api._replicas.vlms[0].engine.weights.model.generation_config,
        "eos_token_id",
        int(first),
    )
    steps, delivered = [], threading.Event()

    def hold(*_):
        steps.append(1)
        if len(steps) == 30:
            assert delivered.wait(60)

    hook = model.api._replicas.vlms[0].engine.weights.model.register_forward_hook(hold)

    async def run(seed):
        output = await model.generate(ask(images=[seed]), config=config)
        if seed == 1:
            delivered.set()
        return output.usage.output_tokens

    lengths = await gather(run(1), run(2))
    hook.remove()
    assert lengths == [1, 60]
