"""The queue: which rows go together, which go first, and what happens when a batch fails."""

import threading
import time

import anyio
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.batching import Batcher, is_out_of_memory
from vlmguard.guard.hf_vlm.pending import MAX_PASSED_OVER, Row, choose
from vlmguard.guard.hf_vlm.threads import result_of


def row(length=10, key="a", limit=4):
    return Row(key, length, limit, None)


class Recorder:
    """A runner that notes its batches, and can be stopped or made to fail."""

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


# --- which rows go together -------------------------------------------------------------------


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


def test_an_idle_worker_waits_for_requests_in_preparation(batcher, recorder, monkeypatch):
    monkeypatch.setattr("vlmguard.guard.hf_vlm.batching.PREPARE_WINDOW", 60)
    with batcher.expect():
        early = submit(batcher, [row()])
        time.sleep(0.2)
        assert not recorder.batches
        late = submit(batcher, [row()])
    assert results(early + late) == [2, 2]


def test_after_quick_batches_preparation_is_not_waited_for_long(batcher, recorder, monkeypatch):
    monkeypatch.setattr("vlmguard.guard.hf_vlm.batching.PREPARE_WINDOW", 600)
    results(submit(batcher, [row()]))
    with batcher.expect():  # an image is slow to prepare, and `results` waits ten seconds
        assert results(submit(batcher, [row()])) == [1]


def test_out_of_memory_halves_the_batch_and_goes_on(batcher, recorder):
    recorder.fails = lambda rows: (
        torch.OutOfMemoryError("CUDA out of memory") if len(rows) > 4 else None
    )
    rows = submit(batcher, [row() for _ in range(16)])
    assert results(rows) == [4] * 16
    assert [len(batch) for batch in recorder.batches][:3] == [16, 8, 4]
    # The limit stays: the next batches are small enough from the start.
    recorder.batches.clear()
    assert results(submit(batcher, [row() for _ in range(16)])) == [4] * 16
    assert max(len(batch) for batch in recorder.batches) == 4


def test_after_out_of_memory_batches_grow_again_slowly(batcher, recorder):
    """Another program may have used the memory for a moment."""
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


# --- no request waits for ever ------------------------------------------------------------------


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

    monkeypatch.setattr(f"vlmguard.guard.hf_vlm.batching.{name}", broken)
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


@pytest.mark.parametrize("looks", range(1, 6))
def test_a_row_that_is_given_up_at_any_moment_is_failed_or_tried_again(batcher, recorder, looks):
    """A user may cancel while the rows of a failed batch are sorted."""

    class Leaving(Row):
        looks_left = looks

        @property
        def abandoned(self):
            self.looks_left -= 1
            return self.looks_left < 0

        @abandoned.setter
        def abandoned(self, value):
            pass

    generated_after_its_end = []

    def fails(rows):
        generated_after_its_end.extend(each for each in rows if each.future.done())
        return ValueError("bad") if len(rows) == 3 else None

    recorder.fails = fails
    leaving = Leaving("a", 10, 4, None)
    rows = submit(batcher, [row(), leaving, row()])
    results([rows[0], rows[2]])
    leaving.future.exception(timeout=10)  # there is a result or an error
    assert not generated_after_its_end


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


def test_calls_run_in_the_thread_of_the_batches(batcher, recorder):
    threads = set()
    recorder.fails = lambda rows: threads.add(threading.get_ident())
    batcher.call(lambda: threads.add(threading.get_ident())).result(10)
    results(submit(batcher, [row()]))
    assert len(threads) == 1


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit("a panic")])
def test_an_error_of_a_call_is_that_of_nobody_else(batcher, error):
    def fails():
        raise error

    with pytest.raises(type(error), match=str(error)):
        batcher.call(fails).result(10)
    assert results(submit(batcher, [row()])) == [1]


def test_closing_fails_calls_that_wait(batcher, recorder):
    recorder.gate.clear()
    submit(batcher, [row()])
    while not recorder.batches:
        time.sleep(0.01)
    waiting = batcher.call(lambda: None)
    batcher.close()
    recorder.gate.set()
    with pytest.raises(RuntimeError, match="was closed"):
        waiting.result(10)


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
