"""A queue and one worker thread: requests that wait together are generated together.

Rows (one sequence to generate each; a request with `num_choices=3` has three) share a batch when
their keys are equal (same settings, adapter and kind of input) and their prompts are of similar
length. The worker takes the fullest batch first, so that one long prompt does not delay thirty
short ones, but skips no row more than `MAX_PASSED_OVER` times. A running batch is not interrupted;
later rows wait for its end.

A batch that does not fit into memory is cut in half, and later ones are kept smaller for a while. A
batch that fails for another reason is cut in half too, until only the row at fault fails. Every row
gets a result or an error, even if the worker fails.

Why not the library's continuous batching: `ContinuousBatchingManager` (transformers 5.23) takes
token ids only. It has no way to pass pixel values, image grids, position ids of multimodal rotary
embeddings or token types, and `transformers serve` itself falls back to plain `generate` for
vision-language models. Here too, a row that finishes early is delivered at once.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

import torch

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.pending import Row, choose, padded_tokens
from vlmguard.guard.hf_vlm.vlm import CLOSED

logger = logging.getLogger(__name__)

MIN_WINDOW: Final = 0.01
MAX_WINDOW: Final = 0.5
"""Bounds in seconds of how long an idle worker waits for more rows. Between them it waits a tenth
of the last batch's time, so that waiting costs little compared with generating.
"""

MIN_PREPARE_WINDOW: Final = 0.1
PREPARE_WINDOW: Final = 2.0
"""Bounds in seconds of how long it waits for requests whose images are being prepared now. Between
them it waits half of the last batch's time. The first batch waits the upper bound.
"""

REGROWTH: Final = 32
"""After memory ran out, each full batch that succeeds makes the limit larger by 1/32."""


class Batcher:
    """Collects rows and hands batches of them to `run`, one at a time, in its own thread.

    Args:
        run: Generates a batch; sets the future of each row. Runs in the worker thread. A
            `UserError` concerns all rows; another error may come from a single row.
        max_rows: The most rows in a batch (>= 1).
        name: Name of the thread.
        at_end: Called in the thread when it ends, after `close` or a failure.
    """

    def __init__(
        self,
        run: Callable[[list[Row]], None],
        max_rows: int,
        name: str,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.max_rows = max_rows
        self._run = run
        self._at_end = at_end
        self._max_tokens: int | None = None
        self._calls: list[tuple[Callable[[], None], Future[None]]] = []
        self._pending: list[Row] = []
        self._running: list[Row] = []
        self._incoming = 0
        self._arrivals = 0
        self._last_seconds: float | None = None
        self._ended: str | None = None  # why no more rows are taken
        # Guards `_calls`, `_pending`, `_incoming`, `_arrivals`, `_ended`, and the rows in
        # `_running` that `close` abandons; only the worker uses the rest. It wakes the worker when
        # rows or a call come, when the preparing of a request ends, and on `close`.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @contextmanager
    def expect(self) -> Iterator[None]:
        """Announce a request that is being prepared; meanwhile an idle worker waits for it."""
        with self._changed:
            self._incoming += 1
        try:
            yield
        finally:
            with self._changed:
                self._incoming -= 1
                self._changed.notify()

    def submit(self, rows: list[Row]) -> None:
        """Queue rows; their futures get the results.

        Raises:
            RuntimeError: Closed, or the worker has failed.
        """
        with self._changed:
            self.check()
            self._pending += rows
            self._arrivals += 1
            self._changed.notify()

    def call(self, function: Callable[[], None]) -> "Future[None]":
        """Call a function in the worker thread, between two batches.

        What computes in one thread alone has one set of helper threads: with two sets, the
        libraries believe that the cores are overloaded, and put helpers to sleep after each step.

        Args:
            function: Loads weights, say.

        Returns:
            What gets its error, or None.

        Raises:
            RuntimeError: Closed, or the worker has failed.
        """
        future: Future[None] = Future()
        with self._changed:
            self.check()
            self._calls.append((function, future))
            self._changed.notify()
        return future

    def check(self) -> None:
        """Raise a RuntimeError if no more rows are taken."""
        if self._ended:
            raise RuntimeError(self._ended)

    def close(self) -> None:
        """Stop: waiting rows fail, running ones are abandoned."""
        with self._changed:
            self._ended = self._ended or CLOSED
            for row in self._running:
                row.abandoned = True
            self._changed.notify()

    def join(self, timeout: float) -> None:
        """Wait (seconds) for the thread to end, after `close`."""
        self._thread.join(timeout)

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # or its rows would wait for ever
            logger.exception("The worker of an hf-vlm/ model failed.")
            with self._changed:
                self._ended = f"the worker of this hf-vlm/ model failed: {error}"
        for row in [*self._running, *self._pending]:
            row.fail(RuntimeError(self._ended))
        for _, future in self._calls:
            future.set_exception(RuntimeError(self._ended))
        self._running = self._pending = []
        self._calls = []
        self._at_end()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not (self._pending or self._calls or self._ended):
                    self._changed.wait()
                if not self._calls and not self._ended:
                    self._collect()
                if self._ended:
                    return
                calls, self._calls = self._calls, []
                # Taken under the lock, so that `close` sees these rows either as waiting or as
                # running.
                self._running = choose(self._pending, self.max_rows, self._max_tokens)
            while calls:
                _call(*calls.pop(0))  # and keep no reference to a user
            if self._running:
                start = time.monotonic()
                self._generate(self._running)
                self._last_seconds = time.monotonic() - start
                self._running = []  # or its tensors would stay until the next batch

    def _collect(self) -> None:
        """Wait for more rows as long as they keep coming, within a small window."""
        start = time.monotonic()
        last = self._last_seconds
        window = min(MAX_WINDOW, max(MIN_WINDOW, (last or 0.0) / 10))
        prepare_window = PREPARE_WINDOW
        if last is not None:
            prepare_window = min(PREPARE_WINDOW, max(MIN_PREPARE_WINDOW, last / 2))
        while len(self._pending) < self.max_rows and not self._ended:
            arrivals, elapsed = self._arrivals, time.monotonic() - start
            if self._incoming and elapsed < prepare_window:
                self._changed.wait(prepare_window - elapsed)
                continue
            if elapsed >= window:
                return
            # Rows arrive in bursts: if half a window brings no new row, no more are expected.
            self._changed.wait(min(window / 2, window - elapsed))
            if self._arrivals == arrivals and not self._incoming:
                return

    def _generate(self, rows: list[Row]) -> None:
        error: Exception | None = None
        try:
            self._run(rows)
        except Exception as caught:
            error = caught.with_traceback(None)  # the traceback's frames hold the batch's tensors
        # After `close`, somebody may still wait for an abandoned row.
        for row in rows:
            if row.abandoned:
                row.fail(RuntimeError(self._ended or "this request was abandoned"))
        # Look at results, not at `abandoned`: a row that is abandoned just now still needs one.
        rest = [row for row in rows if not row.future.done()]
        if error is None:
            self._grow(rows)
            for row in rest:
                row.fail(RuntimeError("the model ended without an answer to this request"))
        elif is_device_lost(error):
            raise RuntimeError(f"the GPU fails until you restart the process ({error})")
        elif rest:
            self._retry(rest, error)

    def _retry(self, rows: list[Row], error: Exception) -> None:
        """Generate the unfinished rows of a failed batch again, in two halves."""
        memory = is_out_of_memory(error)
        if memory:
            free_memory()
        if len(rows) == 1 or isinstance(error, UserError):
            for row in rows:
                row.fail(_out_of_memory(row) if memory else error)
            return
        if memory:
            self._max_tokens = padded_tokens(rows) // 2
            logger.warning(
                "Out of memory with %d rows: going on with half of that (at most %d tokens).",
                len(rows),
                self._max_tokens,
            )
        else:
            logger.warning(
                "A batch of %d rows failed, its halves are tried next: %s: %s",
                len(rows),
                type(error).__name__,
                error,
            )
        middle = len(rows) // 2
        self._generate(rows[:middle])
        self._generate(rows[middle:])

    def _grow(self, rows: list[Row]) -> None:
        """Raise the limit after a batch that filled more than half of it.

        Another program may have used the memory, so the limit must not stay for good. Smaller
        batches do not show that there is room for larger ones.
        """
        if self._max_tokens is not None and padded_tokens(rows) > self._max_tokens // 2:
            self._max_tokens += max(1, self._max_tokens // REGROWTH)


def _call(function: Callable[[], None], future: "Future[None]") -> None:
    try:
        function()
    except BaseException as error:  # whatever it is, somebody waits for it
        future.set_exception(error)
    else:
        future.set_result(None)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text
        for sign in (
            "out of memory",
            "can't allocate memory",
            "cublas_status_alloc_failed",
            "cudnn_status_alloc_failed",
        )
    )


def is_device_lost(error: Exception) -> bool:
    """Whether the error leaves the GPU unusable for the rest of the process."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in text
        for sign in ("device-side assert", "illegal memory access", "unspecified launch failure")
    )


def free_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _out_of_memory(row: Row) -> Exception:
    return RuntimeError(
        f"Out of memory for a single request of {row.length} prompt tokens: use a smaller "
        "max_pixels, max_tokens or dtype, or load_in_4bit=true."
    )
