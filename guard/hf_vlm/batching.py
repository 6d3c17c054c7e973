"""A queue and one worker thread: requests that wait together are generated together.

Rows (one sequence to generate each; a request with `num_choices=3` has three) share a batch when
their keys are equal (same settings, adapter and kind of input) and their prompts are of similar
length. The worker takes the fullest batch first, so that one long prompt does not hold up thirty
short ones, but passes nobody over more than `MAX_PASSED_OVER` times. A batch that does not fit
into memory is cut in half, and later ones are kept smaller. A batch that fails for another reason
is cut in half too, until only the row at fault fails.

Why not the library's continuous batching: `ContinuousBatchingManager` (transformers 5.23) takes
token ids and nothing else. It has no way to pass pixel values, image grids, position ids of
multimodal rotary embeddings or token types, and `transformers serve` itself falls back to plain
`generate` for vision-language models. Rows that finish early are delivered at once all the same.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch

logger = logging.getLogger(__name__)

MAX_PASSED_OVER: Final = 2
"""A row that was passed over this often goes into the next batch."""

MIN_WINDOW: Final = 0.01
MAX_WINDOW: Final = 0.5
"""Bounds of the time (seconds) that an idle worker waits for company; in between it is a tenth of
what the last batch took, so that waiting never costs much beside generating."""

PREPARE_WINDOW: Final = 2.0
"""How long (seconds) it waits at most for requests whose images are being prepared right now."""


@dataclass(eq=False)
class Row:
    """One sequence to generate.

    Attributes:
        key: Rows with equal keys may share a batch.
        length: Prompt length in tokens, images included.
        limit: The most new tokens.
        work: What the runner needs to know.
        future: Where the result goes; the runner sets it as soon as the row has finished.
        abandoned: Nobody waits for it any more.
        passed_over: How many batches were started with younger rows.
    """

    key: Hashable
    length: int
    limit: int
    work: Any
    future: "Future[Any]" = field(default_factory=Future)
    abandoned: bool = False
    passed_over: int = 0

    @property
    def open(self) -> bool:
        return not (self.abandoned or self.future.done())


class Batcher:
    """Collects rows and hands batches of them to `run`, one at a time, in a thread of its own.

    Args:
        run: Generates a batch; sets the future of each row. Runs in the worker thread.
        max_rows: The most rows in a batch (>= 1).
        name: Name of the thread.
    """

    def __init__(self, run: Callable[[list[Row]], None], max_rows: int, name: str) -> None:
        self.max_rows = max_rows
        self._run = run
        self._slots: int | None = None
        self._pending: list[Row] = []
        self._running: list[Row] = []
        self._incoming = 0
        self._arrivals = 0
        self._last_seconds = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @contextmanager
    def expect(self) -> Iterator[None]:
        """While this is open a request is being prepared: an idle worker waits for it."""
        with self._changed:
            self._incoming += 1
        try:
            yield
        finally:
            with self._changed:
                self._incoming -= 1
                self._changed.notify()

    def submit(self, rows: list[Row]) -> None:
        """Queue rows; their futures get the results."""
        with self._changed:
            if self._closed:
                raise RuntimeError("this hf-vlm/ model was closed")
            self._pending += rows
            self._arrivals += 1
            self._changed.notify()

    def close(self) -> None:
        """Stop: waiting rows fail, running ones are abandoned."""
        with self._changed:
            self._closed = True
            for row in self._running:
                row.abandoned = True
            self._changed.notify()

    def join(self, timeout: float) -> None:
        """Wait (seconds) for the thread to end, after `close`."""
        self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._closed:
                    self._changed.wait()
                if not self._closed:
                    self._collect()
                if self._closed:
                    break
                self._running = choose(self._pending, self.max_rows, self._slots)
            if self._running:
                start = time.monotonic()
                self._generate(self._running)
                self._last_seconds = time.monotonic() - start
                self._running = []  # or its tensors would live until the next one
        for row in self._pending:
            row.future.set_exception(RuntimeError("this hf-vlm/ model was closed"))

    def _collect(self) -> None:
        """Wait for company while it keeps coming, within a small window."""
        start = time.monotonic()
        window = min(MAX_WINDOW, max(MIN_WINDOW, self._last_seconds / 10))
        while len(self._pending) < self.max_rows and not self._closed:
            arrivals, elapsed = self._arrivals, time.monotonic() - start
            if self._incoming and elapsed < PREPARE_WINDOW:
                self._changed.wait(PREPARE_WINDOW - elapsed)
                continue
            if elapsed >= window:
                return
            self._changed.wait(min(window / 2, window - elapsed))
            if self._arrivals == arrivals and not self._incoming:
                return

    def _generate(self, rows: list[Row]) -> None:
        error: Exception | None = None
        try:
            self._run(rows)
        except Exception as caught:
            error = caught.with_traceback(None)  # its frames hold the batch's tensors
        rows = [row for row in rows if row.open]
        if error is None or not rows:
            return
        memory = is_out_of_memory(error)
        if memory:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if len(rows) == 1:
            rows[0].future.set_exception(_failure(error, rows[0], memory))
            return
        if memory:
            self._slots = _slots(rows) // 2
            logger.warning(
                "Out of memory with %d rows: going on with half of that (at most %d tokens).",
                len(rows),
                self._slots,
            )
        middle = len(rows) // 2
        self._generate(rows[:middle])
        self._generate(rows[middle:])


def choose(pending: list[Row], max_rows: int, max_slots: int | None) -> list[Row]:
    """Take the next batch out of the queue.

    Args:
        pending: Waiting rows, oldest first; the chosen and the abandoned ones are removed.
        max_rows: The most rows in a batch.
        max_slots: The most tokens (rows times longest prompt and answer); None for no limit. A
            single row may exceed it.

    Returns:
        The fullest batch of rows with one key and similar lengths, the oldest among equals;
        rows that were passed over too often come first. Empty if all rows were abandoned.
    """
    pending[:] = [row for row in pending if row.open]
    if not pending:
        return []
    overdue = [row for row in pending if row.passed_over >= MAX_PASSED_OVER]
    candidates = [_company(row, pending, max_rows, max_slots) for row in overdue[:1]]
    if not candidates:
        # One candidate per key and length class is enough; the oldest row of each leads.
        leaders = {(row.key, row.length.bit_length()): row for row in reversed(pending)}
        candidates = [
            _company(row, pending, max_rows, max_slots) for row in reversed(leaders.values())
        ]
    batch = max(candidates, key=len)
    chosen = set(map(id, batch))
    last = max(index for index, row in enumerate(pending) if id(row) in chosen)
    for row in pending[:last]:
        if id(row) not in chosen:
            row.passed_over += 1
    pending[:] = [row for row in pending if id(row) not in chosen]
    return batch


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error says that memory, on whatever device, ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def _company(leader: Row, pending: list[Row], max_rows: int, max_slots: int | None) -> list[Row]:
    """The batch around this row: the oldest rows that fit, none much longer or shorter."""
    batch = [leader]
    for row in pending:
        if len(batch) == max_rows:
            break
        if row is leader or row.key != leader.key or not _similar(row.length, leader.length):
            continue
        if max_slots is None or _slots([*batch, row]) <= max_slots:
            batch.append(row)
    return batch


def _similar(one: int, other: int) -> bool:
    """Padding may at most double the work, except that short prompts always go together."""
    return max(one, other) <= 2 * min(one, other) + 64


def _slots(rows: list[Row]) -> int:
    return len(rows) * max(row.length + row.limit for row in rows)


def _failure(error: Exception, row: Row, memory: bool) -> Exception:
    if not memory:
        return error
    return RuntimeError(
        f"Out of memory for a single request of {row.length} prompt tokens: use a smaller "
        "max_pixels, max_tokens or dtype, or load_in_4bit=true."
    )
