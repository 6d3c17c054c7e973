"""The queue: who goes together, who goes first, and what happens when a batch fails."""

import asyncio
import threading
import time

import anyio
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import GenerateConfig

from vlmguard.hf_vlm.batching import MAX_PASSED_OVER, Batcher, Row, choose, is_out_of_memory
from vlmguard.hf_vlm.waiting import result_of


def row(length=10, key="a", limit=4):
    return Row(key, length, limit, None)


class Recorder:
    """A runner that notes its batches, and can be held or made to fail."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = lambda rows: None

    def __call__(self, rows):
        self.batches.append(list(rows))
        assert self.gate.wait(10)
        error = self.fails(rows)
        if error:
            raise error
        for each in rows:
            each.future.set_result(len(rows))


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def batcher(recorder):
    batcher = Batcher(recorder, 32, "test")
    yield batcher
    recorder.gate.set()
    batcher.close()


def submit(batcher, rows):
    batcher.submit(rows)
    return rows


def results(rows):
    return [each.future.result(timeout=10) for each in rows]


# --- who goes together ------------------------------------------------------------------------


def test_rows_of_one_key_go_together_oldest_first():
    rows = [row() for _ in range(5)]
    pending = list(rows)
    assert choose(pending, 3, None) == rows[:3]
    assert pending == rows[3:]


def test_different_settings_never_share_a_batch():
    rows = [row(key=key) for key in "abab"]
    pending = list(rows)
    assert choose(pending, 8, None) == [rows[0], rows[2]]
    assert choose(pending, 8, None) == [rows[1], rows[3]]


def test_one_long_prompt_does_not_hold_up_thirty_short_ones():
    long, short = row(length=3000), [row(length=20 + i) for i in range(30)]
    pending = [long, *short]
    assert choose(pending, 32, None) == short
    assert choose(pending, 32, None) == [long]


def test_nobody_is_passed_over_for_ever():
    long = row(length=3000)
    pending = [long]
    for _ in range(MAX_PASSED_OVER):
        pending += [row() for _ in range(8)]
        assert long not in choose(pending, 8, None)
    pending += [row() for _ in range(8)]
    assert choose(pending, 8, None) == [long]


def test_abandoned_rows_leave_the_queue():
    rows = [row() for _ in range(3)]
    rows[1].abandoned = True
    pending = list(rows)
    assert choose(pending, 8, None) == [rows[0], rows[2]]
    assert pending == []


def test_a_memory_limit_makes_smaller_batches_but_never_none():
    pending = [row(length=96, limit=4) for _ in range(8)]
    assert len(choose(pending, 8, 250)) == 2
    assert len(choose(pending, 8, 50)) == 1


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.sampled_from("abc")), min_size=1, max_size=40),
    st.integers(1, 8),
)
def test_every_row_is_chosen_exactly_once(kinds, max_rows):
    rows = [row(length, key) for length, key in kinds]
    pending, chosen = list(rows), []
    for _ in rows:
        batch = choose(pending, max_rows, None)
        assert 1 <= len(batch) <= max_rows or not pending
        assert len({each.key for each in batch}) <= 1
        chosen += batch
        if not pending:
            break
    assert sorted(map(id, chosen)) == sorted(map(id, rows))


# --- the worker ---------------------------------------------------------------------------------


def test_what_waits_while_a_batch_runs_makes_the_next_batch(batcher, recorder):
    recorder.gate.clear()
    first = submit(batcher, [row()])
    while not recorder.batches:
        time.sleep(0.005)
    others = [submit(batcher, [row()])[0] for _ in range(20)]
    recorder.gate.set()
    assert results(first) == [1]
    assert results(others) == [20] * 20


def test_an_idle_worker_waits_for_requests_in_preparation(batcher, recorder):
    with batcher.expect():
        early = submit(batcher, [row()])
        time.sleep(0.2)
        assert not recorder.batches
        late = submit(batcher, [row()])
    assert results(early + late) == [2, 2]


def test_out_of_memory_halves_the_batch_and_goes_on(batcher, recorder):
    recorder.fails = lambda rows: (
        torch.OutOfMemoryError("CUDA out of memory") if len(rows) > 4 else None
    )
    rows = submit(batcher, [row() for _ in range(16)])
    assert results(rows) == [4] * 16
    assert [len(batch) for batch in recorder.batches][:3] == [16, 8, 4]
    # The lesson is kept: the next batches are small enough from the start.
    recorder.batches.clear()
    assert results(submit(batcher, [row() for _ in range(16)])) == [4] * 16
    assert max(len(batch) for batch in recorder.batches) == 4


def test_out_of_memory_with_a_single_row_names_the_way_out(batcher, recorder):
    recorder.fails = lambda rows: RuntimeError("DefaultCPUAllocator: can't allocate memory")
    [each] = submit(batcher, [row(length=77)])
    with pytest.raises(RuntimeError, match=r"77 prompt tokens: use a smaller max_pixels"):
        each.future.result(timeout=10)


def test_one_bad_row_does_not_fail_its_neighbours(batcher, recorder):
    bad = row()
    recorder.fails = lambda rows: ValueError("bad") if bad in rows else None
    rows = submit(batcher, [*(row() for _ in range(5)), bad, row()])
    for each in rows:
        if each is bad:
            with pytest.raises(ValueError, match="bad"):
                each.future.result(timeout=10)
        else:
            assert each.future.result(timeout=10) >= 1


def test_rows_delivered_before_a_failure_are_not_generated_again(batcher, recorder):
    def deliver_one_and_fail(rows):
        if len(rows) == 4:
            rows[0].future.set_result("early")
            return torch.OutOfMemoryError("out of memory")
        return None

    recorder.fails = deliver_one_and_fail
    rows = submit(batcher, [row() for _ in range(4)])
    assert results(rows)[0] == "early"
    assert sum(rows[0] in batch for batch in recorder.batches) == 1


def test_closing_fails_what_still_waits(recorder):
    batcher = Batcher(recorder, 32, "test")
    recorder.gate.clear()
    submit(batcher, [row()])
    while not recorder.batches:
        time.sleep(0.005)
    [waiting] = submit(batcher, [row()])
    batcher.close()
    recorder.gate.set()
    with pytest.raises(RuntimeError, match="closed"):
        waiting.future.result(timeout=10)
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit([row()])


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 5 bytes"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, memory):
    assert is_out_of_memory(error) is memory


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_waiting_works_in_both_event_loops(backend):
    if backend == "trio":
        pytest.importorskip("trio")
    each = row()

    async def wait():
        threading.Timer(0.05, each.future.set_result, ["done"]).start()
        return await result_of(each.future)

    assert anyio.run(wait, backend=backend) == "done"


# --- with a real model --------------------------------------------------------------------------


@pytest.fixture
def model(load, llava):
    return load(llava)


def wrap_generate(model, monkeypatch, before):
    """Call `before(number of rows)` ahead of every `model.generate`."""
    inner = model.api._engine.weights.model
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
    wrap_generate(model, monkeypatch, lambda rows: time.sleep(0.8))
    gaps = []

    async def tick():
        while True:
            start = time.monotonic()
            await anyio.sleep(0.01)
            gaps.append(time.monotonic() - start)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await model.generate(ask(), config=GenerateConfig(max_tokens=2))
        group.cancel_scope.cancel()
    assert len(gaps) > 20
    assert max(gaps) < 0.4


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


async def test_a_cancelled_request_stops_generating(model, ask, monkeypatch):
    steps = []
    inner = model.api._engine.weights.model
    monkeypatch.setattr(inner.generation_config, "eos_token_id", 0)  # never produced

    def step(*_):
        steps.append(1)
        time.sleep(0.002)

    hook = inner.register_forward_hook(step)
    with anyio.move_on_after(0.3) as waiting:
        await model.generate(ask(), config=GenerateConfig(max_tokens=900))
    assert waiting.cancelled_caught
    await anyio.sleep(0.2)
    reached = len(steps)
    await anyio.sleep(0.3)
    hook.remove()
    assert 0 < len(steps) == reached < 900


async def test_an_answer_that_ends_early_is_delivered_early(load, model, ask, monkeypatch):
    """One row stops at once, its neighbour goes on: the first must not wait for the second."""
    config = GenerateConfig(max_tokens=400)
    _, call = await model.api.generate(ask(images=[1]), [], "auto", GenerateConfig(max_tokens=1))
    first = call.response["tokens"][0][0]
    monkeypatch.setattr(
        model.api._engine.weights.model.generation_config, "eos_token_id", int(first)
    )
    ended = {}

    async def run(seed):
        output = await model.generate(ask(images=[seed]), config=config)
        ended[seed] = (time.monotonic(), output.usage.output_tokens)

    await gather(run(1), run(2))
    assert ended[1][1] == 1
    assert ended[2][1] > 50
    assert ended[2][0] - ended[1][0] > 0.1
