"""One log file, opened once: its header, summaries of samples, and whole samples as JSON."""

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any, Final

import fsspec
from inspect_ai.log import EvalLog, read_eval_log, read_eval_log_sample_summaries

from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.summaries import Summary, as_written, from_inspect

__all__ = ["MAX_MEMBER", "LogFile", "check_sizes", "opened_log"]

MAX_MEMBER: Final = 500_000_000
"""The most bytes of one part of a log, unpacked; a sample with many large images has about 50
million.
"""
_SUMMARIES: Final = "summaries.json"


class LogFile(ABC):
    """What a log holds, whatever its format.

    Attributes:
        path: Its place.
    """

    path: str

    @abstractmethod
    def header(self) -> EvalLog:
        """The log without samples."""

    @abstractmethod
    def summaries(self) -> list[Summary]:
        """The summaries of its samples."""

    @abstractmethod
    def samples(self) -> Iterator[bytes]:
        """The whole samples, each once, as JSON."""

    @abstractmethod
    def sample(self, name: int | str, epoch: int) -> dict[str, Any]:
        """A whole sample, by its id and epoch."""


@contextmanager
def opened_log(path: str) -> Iterator[LogFile]:
    """Open a log.

    Args:
        path: The log (`.eval` or `.json`), or its URL, of which the parts that are asked for are
            fetched.

    Raises:
        LeftOut: It has a part larger than `MAX_MEMBER`.
        OSError: It cannot be read.
        zipfile.BadZipFile: It is damaged.
    """
    if path.endswith(".json"):
        files, name = fsspec.core.url_to_fs(path)
        _check({"the file": files.size(name) or 0})  # None: the server does not say it
        yield _JsonFile(path)
        return
    opened: Any = fsspec.open(path, "rb")  # its types allow a list of files
    # Inspect adds its compression to zipfile.
    with opened as file, zipfile.ZipFile(file) as archive:
        _check({member.filename: member.file_size for member in archive.infolist()})
        yield _EvalFile(path, file, archive)


def check_sizes(path: str) -> None:
    """Refuse a log with a part that would fill the memory; errors as of `opened_log`."""
    with opened_log(path):
        pass


def _check(sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if size > MAX_MEMBER:
            raise LeftOut(
                f"too large: {name} has {size // 1_000_000} MB when unpacked (at most "
                f"{MAX_MEMBER // 1_000_000}); leave images out of logs with --no-log-images"
            )


class _EvalFile(LogFile):
    def __init__(self, path: str, file: IO[bytes], archive: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self._archive = archive

    def header(self) -> EvalLog:
        log = read_eval_log(self._file, header_only=True, format="eval")
        log.location = self.path
        return log

    def summaries(self) -> list[Summary]:
        if _SUMMARIES in self._archive.NameToInfo:
            found = as_written(json.loads(self._archive.read(_SUMMARIES)))
            if found is not None:
                return found
        return from_inspect(read_eval_log_sample_summaries(self.path))

    def samples(self) -> Iterator[bytes]:
        # Of several entries with one name, the last counts.
        for name in dict.fromkeys(self._archive.namelist()):
            if name.startswith("samples/"):
                yield self._archive.read(name)

    def sample(self, name: int | str, epoch: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._archive.read(f"samples/{name}_epoch_{epoch}.json"))
        return found


class _JsonFile(LogFile):
    def __init__(self, path: str) -> None:
        self.path = path

    def header(self) -> EvalLog:
        return read_eval_log(self.path, header_only=True)

    def summaries(self) -> list[Summary]:
        # Inspect's reader of summaries keeps the last log that it read, changed or not.
        samples = read_eval_log(self.path).samples or []
        return from_inspect(sample.summary() for sample in samples)

    def samples(self) -> Iterator[bytes]:
        yield from (json.dumps(sample).encode() for sample in self._content)

    def sample(self, name: int | str, epoch: int) -> dict[str, Any]:
        for sample in self._content:
            if (sample.get("id"), sample.get("epoch")) == (name, epoch):
                return sample
        raise KeyError(f"sample {name}, epoch {epoch}")

    @cached_property
    def _content(self) -> list[dict[str, Any]]:
        opened: Any = fsspec.open(self.path, "rb")
        with opened as file:
            return json.load(file).get("samples") or []
