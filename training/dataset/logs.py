"""Finds synthesis logs, in folders and buckets, and reads their rows one by one."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import Final, TypeVar

# Inspect has no public name for what reads several samples of a log without opening it anew.
from inspect_ai._util.async_zip import AsyncZipReader
from inspect_ai._util.asyncfiles import AsyncFilesystem
from inspect_ai.log import (
    EvalLog,
    EvalSample,
    list_eval_logs,
    read_eval_log,
    read_eval_log_sample_async,
)

from vlmguard.guard.errors import UserError
from vlmguard.guard.log_errors import readable
from vlmguard.guard.paths import existing
from vlmguard.training.dataset.sharded_logs import in_order

TASK: Final = "synthesize"

# Not read: these fields are most of a log, and no row needs them.
_UNREAD: Final = {"events", "messages", "output"}
_AT_ONCE: Final = 8
"""So many rows are read at once, since a bucket answers slowly, and held."""

_T = TypeVar("_T")


def read_headers(places: Iterable[Path | str]) -> list[EvalLog]:
    """The headers of synthesis logs, each once, as `in_order`, without the ids of their rows.

    Args:
        places: Log files, or folders of them; or their URLs (`s3://...`).

    Raises:
        UserError: There is no such place, no log, a log of another task, or one that is damaged.
    """
    headers = headers_of(TASK, places, "inspect eval training/synthesize.py")
    for header in headers:
        if "voided_test_sets" not in (header.eval.metadata or {}):
            raise UserError(
                f"{header.location} is not from training/synthesize.py: it does not say which test "
                f"sets its rows come from. Leave it out."
            )
    return in_order(headers)


def headers_of(task: str, places: Iterable[Path | str], make: str) -> list[EvalLog]:
    """The headers of a task's logs, each once, without the ids of their samples.

    Args:
        task: Name of the task; logs of others are refused where they are named, and else skipped.
        places: As for `read_headers`.
        make: A command that makes such a log.

    Raises:
        UserError: There is no such place, no log, a log of another task, or one that is damaged.
    """
    headers = []
    for place in places:
        if "://" in str(place):
            name, is_log = str(place), str(place).endswith((".eval", ".json"))
        else:
            path = existing(place, "file or folder")
            name, is_log = str(path), not path.is_dir()
        for each in [name] if is_log else _listed(name):
            header = _header(each)
            if header.eval.task_display_name == task:
                headers.append(header)
            elif is_log:
                raise UserError(
                    f"{place} is a log of {header.eval.task_display_name}. Give a log of {task}."
                )
    if not headers:
        raise UserError(f"No log of {task} found. Make one with `{make}`.")
    # A log that is named, and is in a named folder too, counts once.
    return list({log.eval.eval_id + log.eval.created: log for log in headers}.values())


def read_rows(header: EvalLog) -> Iterator[EvalSample]:
    """The samples of a log that are there, one by one, with their images.

    Of a log as JSON, all samples are read into memory at once.

    Args:
        header: Its header.

    Raises:
        UserError: It is damaged.
    """
    with readable(header.location):
        yield from _rows_of(header)


def _rows_of(header: EvalLog) -> Iterator[EvalSample]:
    if not header.location.endswith(".eval"):
        log = read_eval_log(header.location, resolve_attachments=True, exclude_fields=_UNREAD)
        yield from log.samples or []
        return
    whole = _header(header.location, ids=True)
    epochs = range(1, (whole.eval.config.epochs or 1) + 1)
    ids = whole.eval.dataset.sample_ids or []
    if header.status == "started":
        # The order in which Inspect gives the samples of a run that was killed.
        ids = sorted(ids, key=lambda each: each if isinstance(each, str) else str(each).zfill(20))
    yield from _stepped(_read(header.location, product(ids, epochs)))


async def _read(
    location: str, samples: Iterable[tuple[int | str, int]]
) -> AsyncIterator[list[EvalSample]]:
    async with AsyncFilesystem() as files:
        # One for all: it lists a log of N samples once, not N times.
        reader = AsyncZipReader(files, location)

        async def attempt(sample: int | str, epoch: int) -> EvalSample | None:
            try:
                return await read_eval_log_sample_async(
                    location,
                    sample,
                    epoch,
                    resolve_attachments=True,
                    exclude_fields=_UNREAD,
                    reader=reader,
                )
            except IndexError:
                # A row that the run did not reach.
                return None

        left = iter(samples)
        while few := list(islice(left, _AT_ONCE)):
            found = await asyncio.gather(*(attempt(*each) for each in few))
            yield [each for each in found if each is not None]


def _stepped(parts: AsyncIterator[list[_T]]) -> Iterator[_T]:
    """Go through an asynchronous iterator; in a thread, since a notebook has a loop of its own."""

    async def step() -> list[_T] | None:
        return await anext(parts, None)

    runner = asyncio.Runner()
    with ThreadPoolExecutor(1) as thread:
        try:
            while (part := thread.submit(runner.run, step()).result()) is not None:
                yield from part
        finally:
            thread.submit(runner.close).result()


def _listed(folder: str) -> list[str]:
    return [info.name for info in list_eval_logs(folder)]


def _header(location: str, ids: bool = False) -> EvalLog:
    with readable(location):
        header = read_eval_log(location, header_only=True)
    if not ids:
        # A million ids would stay in memory with the headers.
        header.eval.dataset.sample_ids = None
    return header
