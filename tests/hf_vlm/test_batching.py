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

from vlmguard.errors import UserError
from vlmguard.hf_vlm.batching import Batcher, is_out_of_memory
from vlmguard.hf_vlm.rows import MAX_PASSED_OVER, Row, choose
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


def test_among_equals_the_oldest_goes_first():
    rows = [row(key=key) for key in "abba"]
    pending = list(rows)
    assert choose(pending, 8, None) == [rows[0], rows[3]]
    assert choose(pending, 8, None) == [rows[1], rows[2]]


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


def test_after_quick_batches_preparation_is_not_waited_for_long(batcher, recorder):
    results(submit(batcher, [row()]))
    start = time.monotonic()
    with batcher.expect():  # somebody's image takes its time
        assert results(submit(batcher, [row()])) == [1]
    assert 0.05 < time.monotonic() - start < 0.6


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


def test_after_out_of_memory_batches_grow_again_slowly(batcher, recorder):
    """Somebody else may have held the memory for a moment."""
    failures = iter([torch.OutOfMemoryError("CUDA out of memory")])
    recorder.fails = lambda rows: next(failures, None) if len(rows) == 8 else None
    assert results(submit(batcher, [row(96, limit=4) for _ in range(8)])) == [4] * 8
    sizes = []
    for _ in range(30):
        recorder.batches.clear()
        results(submit(batcher, [row(96, limit=4) for _ in range(8)]))
        sizes.append(max(len(batch) for batch in recorder.batches))
    assert sizes[0] == 4
    assert sizes == sorted(sizes)
    assert sizes[-1] == 8


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


def test_a_batch_that_fails_is_said(batcher, recorder, caplog):
    recorder.fails = lambda rows: ValueError("bad mask") if len(rows) > 1 else None
    results(submit(batcher, [row(), row()]))
    assert "2 rows failed" in caplog.text
    assert "ValueError: bad mask" in caplog.text


def test_what_concerns_all_rows_is_not_tried_again(batcher, recorder):
    recorder.fails = lambda rows: UserError("no such adapter")
    for each in submit(batcher, [row() for _ in range(4)]):
        with pytest.raises(UserError, match="no such adapter"):
            each.future.result(timeout=10)
    assert len(recorder.batches) == 1


# --- nobody waits for ever ----------------------------------------------------------------------


def test_a_row_without_an_answer_fails():
    def forget_one(rows):
        for each in rows[1:]:
            each.future.set_result("done")

    batcher = Batcher(forget_one, 32, "test")
    rows = submit(batcher, [row(), row()])
    with pytest.raises(RuntimeError, match="ended without an answer"):
        rows[0].future.result(timeout=10)
    assert rows[1].future.result(timeout=10) == "done"
    batcher.close()


def test_closing_while_a_batch_fails_leaves_nobody_waiting(recorder):
    batcher = Batcher(recorder, 32, "test")
    recorder.gate.clear()
    recorder.fails = lambda rows: ValueError("bad")
    rows = submit(batcher, [row(), row()])
    while not recorder.batches:
        time.sleep(0.005)
    batcher.close()
    recorder.gate.set()
    for each in rows:
        with pytest.raises(RuntimeError, match="closed"):
            each.future.result(timeout=10)


@pytest.mark.parametrize("name", ["choose", "free_memory"])
def test_a_failing_worker_fails_every_row(recorder, monkeypatch, name):
    """An error in the queue itself, before or after generating."""

    def broken(*_):
        raise ZeroDivisionError("queue bug")

    monkeypatch.setattr(f"vlmguard.hf_vlm.batching.{name}", broken)
    batcher = Batcher(recorder, 1, "test")
    recorder.fails = lambda rows: torch.OutOfMemoryError("out of memory")
    for each in submit(batcher, [row(), row()]):
        with pytest.raises(RuntimeError, match="queue bug"):
            each.future.result(timeout=10)
    with pytest.raises(RuntimeError, match="queue bug"):
        batcher.submit([row()])


def test_a_lost_gpu_is_not_tried_again(recorder):
    """After a device-side assert every call fails, until the process ends."""
    batcher = Batcher(recorder, 4, "test")
    recorder.fails = lambda rows: RuntimeError("CUDA error: device-side assert triggered")
    for each in submit(batcher, [row() for _ in range(8)]):
        with pytest.raises(RuntimeError, match=r"restart the process .*device-side assert"):
            each.future.result(timeout=10)
    assert len(recorder.batches) == 1


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
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, memory):
    assert is_out_of_memory(error) is memory


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_waiting_works_in_both_event_loops(backend):
    each = row()

    async def wait():
        threading.Timer(0.05, each.future.set_result, ["done"]).start()
        return await result_of(each.future)

    assert anyio.run(wait, backend=backend) == "done"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_answer_after_the_event_loop_has_ended_is_no_error(backend, caplog):
    each = row()

    async def give_up():
        with anyio.move_on_after(0.02):
            await result_of(each.future)

    anyio.run(give_up, backend=backend)
    each.future.set_result("late")
    assert not caplog.records


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

    hook = model.api._engine.weights.model.register_forward_pre_hook(step, with_kwargs=True)
    got = await answers()
    hook.remove()
    assert steps[:7] == [4] * 6 + [2]
    assert got == want


@pytest.mark.parametrize(
    "config", [{}, {"temperature": 1.0}, {"logprobs": True}], ids=["greedy", "sampled", "logprobs"]
)
async def test_scores_that_are_no_numbers_fail_their_row_only(model, ask, config):
    """As half precision overflows for some prompts: no garbage, and no crash of the GPU."""
    inner = model.api._engine.weights.model
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
    """As checkpoints with code of their own bring along: refused, not waited for."""
    inner = model.api._engine.weights.model
    generate = inner.generate

    def own(**inputs):
        return generate(**{**inputs, "stopping_criteria": None, "logits_processor": None})

    monkeypatch.setattr(inner, "generate", own)
    with pytest.raises(UserError, match="`generate` of its own"):
        await model.generate(ask(), config=GenerateConfig(max_tokens=2))


async def test_a_time_limit_of_the_checkpoint_cuts_nothing(model, ask, monkeypatch):
    monkeypatch.setattr(model.api._engine.weights.model.generation_config, "max_time", 1e-6)
    output = await model.generate(ask(), config=GenerateConfig(max_tokens=9))
    assert output.usage.output_tokens == 9


async def test_a_long_prompt_that_came_first_lets_thirty_short_ones_pass(model, ask, monkeypatch):
    """All wait for the same idle worker; a batch that runs already would not be interrupted."""
    sizes, ended = [], []
    inner = model.api._engine.weights.model
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


async def test_a_request_cancelled_in_preparation_is_not_prepared(model, monkeypatch, ask):
    """Its images would be decoded for nobody, ahead of those of others."""
    gate, prepared = threading.Event(), []
    maker = model.api._maker
    prepare = maker.prepare

    def hold(conversation):
        prepared.append(conversation)
        assert gate.wait(10)
        return prepare(conversation)

    monkeypatch.setattr(maker, "prepare", hold)
    config = GenerateConfig(max_tokens=2)
    with anyio.move_on_after(0.3) as waiting:
        await gather(*(model.generate(ask(images=[i]), config=config) for i in range(20)))
    assert waiting.cancelled_caught
    started = len(prepared)
    assert started < 20
    gate.set()
    assert (await model.generate(ask(), config=config)).completion
    assert len(prepared) == started + 1


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
