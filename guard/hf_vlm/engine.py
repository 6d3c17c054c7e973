"""One engine, weights and a queue, for each set of weights in the process."""

import atexit
import os
import random
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from vlmguard.guard.hf_vlm.batch import distinct, model_inputs
from vlmguard.guard.hf_vlm.batching import Batcher, free_memory, is_out_of_memory
from vlmguard.guard.hf_vlm.checkpoint_key import WeightsKey
from vlmguard.guard.hf_vlm.generate import Generated, RowTask, Settings, generate_batch
from vlmguard.guard.hf_vlm.image_features import ImageFeatures
from vlmguard.guard.hf_vlm.loading import Weights
from vlmguard.guard.hf_vlm.pending import Row
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.preparers import Preparers
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.hf_vlm.shared import Shared
from vlmguard.guard.hf_vlm.threads import result_of
from vlmguard.guard.hf_vlm.vlm import CLOSED, DEFAULT_MEBIBYTES, MEBIBYTE

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What the engine needs to generate one row.

    Attributes:
        readings: Its prompt, and with `settings.contrast` the second one, with the same images.
        maker: The processor that prepared it.
        settings: How to generate.
        adapter: Folder or hub id of the adapter; None for the base alone.
        seed: Seed of its random numbers, which start again if a batch is repeated; None for new
            ones each time.
    """

    readings: list[Prepared]
    maker: PromptMaker
    settings: Settings
    adapter: str | None
    seed: str | None


class Engine:
    """Generates for all users of these weights, one batch at a time.

    Args:
        weights: The weights; its first user loads them.
        max_batch_size: The most rows in a batch (>= 1).
        image_cache_mib: The most memory for features of images (MiB, >= 0).
        preparers: Processes that prepare requests; None to do so in threads.
    """

    def __init__(
        self,
        weights: Weights,
        max_batch_size: int,
        image_cache_mib: int,
        preparers: Preparers | None = None,
    ) -> None:
        self._weights: Weights | None = weights
        self.features = ImageFeatures(image_cache_mib)
        self.preparers = preparers
        name = Path(weights.key.checkpoint).name
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), f"prepare-{name}")
        self.batcher = Batcher(self._run, max_batch_size, f"generate-{name}", self._drop_weights)
        _alive.add(self)

    @property
    def weights(self) -> Weights:
        """The weights.

        Raises:
            RuntimeError: They were released.
        """
        if self._weights is None:
            self.batcher.check()
            raise RuntimeError(CLOSED)
        return self._weights

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread; not at all if it is cancelled while it waits.

        Raises:
            RuntimeError: The weights were released.
        """
        self.batcher.check()
        future = self._pool.submit(function, *args, **kwargs)
        try:
            return await result_of(future)
        finally:
            future.cancel()

    def rows(self, work: list[Work], limit: int) -> list[Row]:
        """Queue rows of at most `limit` new tokens each; each row's future gets a `Generated`."""
        rows = [
            Row(
                key=_key(item),
                length=max(len(reading.ids) for reading in item.readings),
                limit=limit,
                work=item,
                sequences=len(item.readings),
            )
            for item in work
        ]
        self.batcher.submit(rows)
        return rows

    def narrow(self, max_batch_size: int, image_cache_mib: int) -> None:
        """Take the limits of one more user; the smallest of all count."""
        self.batcher.max_rows = min(self.batcher.max_rows, max_batch_size)
        self.features.limit = min(self.features.limit, image_cache_mib * MEBIBYTE)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Wait for the end of a running batch, and start no other meanwhile."""
        weights = self._weights
        with weights.lock if weights is not None else nullcontext():
            yield

    def close(self) -> None:
        """Stop the threads; the weights are freed when the last batch has stopped."""
        self.batcher.close()
        self._pool.shutdown(wait=False)

    def _drop_weights(self) -> None:
        self.features.clear()
        self._weights = None  # Inspect may keep closed models, which keep this engine
        free_memory()

    def _run(self, rows: list[Row]) -> None:
        try:
            self._generate(rows)
        except Exception as error:
            if is_out_of_memory(error):
                self.features.clear()
            raise

    def _generate(self, rows: list[Row]) -> None:
        first: Work = rows[0].work
        adapter = None if first.adapter is None else self.weights.add_adapter(first.adapter)
        sharing = self.weights.sharing
        by_reading = zip(*(row.work.readings for row in rows), strict=True)
        prompts: list[Prepared] = [prompt for reading in by_reading for prompt in reading]
        which = list(range(len(prompts)))
        if sharing.prompts:
            prompts, which = distinct(prompts)
        alone = len(which) == len(prompts) == len(rows)
        with self.weights.use(adapter) as model:
            features = self.features if sharing.features else None
            inputs = model_inputs(model, first.maker, prompts, features, adapter)
            generate_batch(
                model,
                first.maker.tokenizer,
                inputs,
                [_task(row) for row in rows],
                first.settings,
                None if alone else which,
            )


_alive: weakref.WeakSet[Engine] = weakref.WeakSet()  # also closed ones whose last batch still runs
engines: Shared[WeightsKey, Engine] = Shared(Engine.close)
"""The engines of this process, by their weights."""


@atexit.register
def _stop_all() -> None:
    # A thread in the middle of a batch would abort the process at its exit and spoil the exit
    # status.
    left = list(_alive)
    for engine in left:
        engine.close()
    for engine in left:
        engine.batcher.join(timeout=30)


def acquire(
    key: WeightsKey, max_batch_size: int, image_cache_mib: int = DEFAULT_MEBIBYTES
) -> tuple[Engine, Callable[[], None]]:
    """The engine with these weights, and what gives it back; the caller loads the weights.

    Args:
        key: The weights.
        max_batch_size: The smallest value among the users of an engine counts.
        image_cache_mib: Likewise.
    """
    share = engines.take(key, lambda: Engine(Weights(key), max_batch_size, image_cache_mib))
    share.value.narrow(max_batch_size, image_cache_mib)
    return share.value, partial(engines.give_back, share)


def load_undisturbed(weights: Weights) -> None:
    """Load weights while no batch runs in this process.

    While it loads, transformers changes torch's default number format for all threads, which would
    change the tensors of a running batch.

    Args:
        weights: What to load.

    Raises:
        UserError: As for `Weights.load`.
    """
    with ExitStack() as stack:
        for engine in list(_alive) if weights.model is None else []:
            stack.enter_context(engine.paused())
        weights.load()


def _key(work: Work) -> tuple[object, ...]:
    """Rows with equal keys may share a batch."""
    # Keep prompts with and without images apart: some processors would pad the second with images.
    return (work.settings, work.adapter, id(work.maker), bool(work.readings[0].shown))


def _task(row: Row) -> RowTask:
    work: Work = row.work

    def deliver(result: Generated | Exception) -> None:
        if isinstance(result, Exception):
            row.future.set_exception(result)
        else:
            row.future.set_result(result)

    return RowTask(
        limit=row.limit,
        rng=random.Random(work.seed),
        decode=partial(work.maker.decode, work.readings[0]),
        abandoned=lambda: row.abandoned,
        deliver=deliver,
    )
