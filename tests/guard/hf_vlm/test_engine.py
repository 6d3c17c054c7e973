"""One engine for each set of weights: made, used and released in the middle of a run."""

import asyncio
import threading
import time
import weakref

import anyio
import pytest
from inspect_ai.model import GenerateConfig

CONFIG = GenerateConfig(max_tokens=6)


@pytest.fixture
def hold(monkeypatch):
    """Hold every batch of a model until the gate is opened."""
    gates = []

    def hold(model):
        gate, started = threading.Event(), threading.Event()
        inner = model.api._replicas.vlms[0].engine.weights.model
        generate = inner.generate

        def held(**inputs):
            started.set()
            assert gate.wait(20)
            return generate(**inputs)

        monkeypatch.setattr(inner, "generate", held)
        gates.append(gate)
        return gate, started

    yield hold
    for gate in gates:
        gate.set()


async def during_a_batch(model, started, ask):
    answer = asyncio.create_task(model.generate(ask(), config=CONFIG))
    while not started.is_set():
        await anyio.sleep(0.01)
    return answer


async def gone(reference):
    deadline = time.monotonic() + 60
    while reference() is not None and time.monotonic() < deadline:
        await anyio.sleep(0.02)
    return reference() is None


async def test_an_adapter_asked_for_during_a_batch_blocks_nobody(load, llava, adapter, ask, hold):
    """A solver may make a model in the event loop, which must not wait."""
    target = load(llava)
    alone = await load(llava, adapter=str(adapter), dtype="float32").generate(ask(), config=CONFIG)
    gate, started = hold(target)
    answer = await during_a_batch(target, started, ask)
    rewriter = load(llava, adapter=str(adapter))
    assert rewriter.api._replicas.vlms[0].engine is target.api._replicas.vlms[0].engine
    gate.set()
    base = (await answer).completion
    assert (await rewriter.generate(ask(), config=CONFIG)).completion == alone.completion != base
    assert (await target.generate(ask(), config=CONFIG)).completion == base


async def test_a_closed_model_that_is_held_frees_the_weights(load, llava, ask):
    """As Inspect does: it keeps the models of earlier evaluations."""
    model = load(llava)
    await model.generate(ask(), config=CONFIG)
    weights = weakref.ref(model.api._replicas.vlms[0].engine.weights.model)
    model.api.close()
    assert await gone(weights)
    with pytest.raises(RuntimeError, match="was closed"):
        await model.api.generate(ask(), [], "auto", CONFIG)


async def test_weights_are_freed_after_the_batch_that_runs(load, llava, ask, hold):
    model = load(llava)
    gate, started = hold(model)
    answer = await during_a_batch(model, started, ask)
    weights = weakref.ref(model.api._replicas.vlms[0].engine.weights)
    model.api.close()
    gate.set()
    with pytest.raises(RuntimeError, match="abandoned"):
        await answer
    assert await gone(weights)
