"""Weights with a queue in front: one engine for each set of weights in the process."""

import atexit
import gc
import os
import random
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from vlmguard.hf_vlm.batching import Batcher, Row
from vlmguard.hf_vlm.generate import RowTask, Sequence, Settings, generate_batch
from vlmguard.hf_vlm.key import WeightsKey
from vlmguard.hf_vlm.loading import Weights
from vlmguard.hf_vlm.processor import Prepared, PromptMaker

DEFAULT_BATCH_SIZE = 32


@dataclass(frozen=True)
class Work:
    """What one row needs.

    Attributes:
        prepared: Its prompt.
        maker: Who prepared it.
        settings: How to generate.
        adapter: Name of the adapter; None for the bare base.
        rng: Its random numbers.
    """

    prepared: Prepared
    maker: PromptMaker
    settings: Settings
    adapter: str | None
    rng: random.Random


class Engine:
    """Generates for everybody who shares these weights, one batch at a time.

    Args:
        key: The weights; its first user loads them.
        max_batch_size: The most rows in a batch (>= 1).
    """

    def __init__(self, key: WeightsKey, max_batch_size: int) -> None:
        self.weights = Weights(key)
        self.users = 0
        name = Path(key.checkpoint).name
        self.pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), f"prepare-{name}")
        self.batcher = Batcher(self._run, max_batch_size, f"generate-{name}")

    def rows(self, work: list[Work], limit: int) -> list[Row]:
        """Queue rows.

        Args:
            work: What each row needs.
            limit: The most new tokens of each.

        Returns:
            The rows; each future gets a `Sequence`.
        """
        rows = [Row(_key(item), len(item.prepared.ids), limit, item) for item in work]
        self.batcher.submit(rows)
        return rows

    def close(self) -> None:
        """Stop the threads; running work is finished."""
        self.batcher.close()
        self.pool.shutdown(wait=False)

    def _run(self, rows: list[Row]) -> None:
        first: Work = rows[0].work
        with self.weights.use(first.adapter) as model:
            inputs = first.maker.collate([row.work.prepared for row in rows])
            inputs = {
                name: value.to(model.device, model.dtype if value.is_floating_point() else None)
                for name, value in inputs.items()
            }
            tasks = [_task(row) for row in rows]
            generate_batch(model, first.maker.tokenizer, inputs, tasks, first.settings)


_engines: dict[WeightsKey, Engine] = {}
_lock = threading.Lock()
_given_back: deque[WeightsKey] = deque()


@atexit.register
def _stop_all() -> None:
    # A thread in the middle of a batch would abort the process, and with it the exit status.
    for engine in _engines.values():
        engine.close()
    for engine in _engines.values():
        engine.batcher.join(timeout=30)


def acquire(key: WeightsKey, max_batch_size: int) -> Engine:
    """The engine with these weights; who asks has them loaded (`Weights.load`).

    Args:
        key: The weights.
        max_batch_size: Among several users of an engine the smallest one counts.
    """
    with _lock:
        if key not in _engines:
            _engines[key] = Engine(key, max_batch_size)
        engine = _engines[key]
        engine.users += 1
        engine.batcher.max_rows = min(engine.batcher.max_rows, max_batch_size)
    _sweep()
    return engine


def release(key: WeightsKey) -> None:
    """Give an engine back; the last one to do so frees the weights.

    The garbage collector calls this too, at any moment and in any thread, even in the middle of
    `acquire`: so it never waits for the lock. Whoever holds it sweeps up afterwards.
    """
    _given_back.append(key)
    _sweep()


def _sweep() -> None:
    """Free what has been given back, unless somebody else is about to."""
    while _given_back and _lock.acquire(blocking=False):
        try:
            while _given_back:
                key = _given_back.popleft()
                engine = _engines[key]
                engine.users -= 1
                if engine.users == 0:
                    del _engines[key]
                    engine.close()
                del engine
        finally:
            _lock.release()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _key(work: Work) -> tuple[object, ...]:
    """Rows with equal keys may share a batch."""
    # Some processors make a row of padding images for a prompt without any; keep them apart.
    return (work.settings, work.adapter, id(work.maker), bool(work.prepared.images))


def _task(row: Row) -> RowTask:
    def deliver(sequence: Sequence) -> None:
        if sequence.finish is None:
            row.future.set_exception(RuntimeError("this request was abandoned"))
        else:
            row.future.set_result(sequence)

    return RowTask(row.limit, row.work.rng, lambda: row.abandoned, deliver)
