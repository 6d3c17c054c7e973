"""Finds runs that would continue with other files than they began with.

A log names a prompt, a list of phrases, a data folder or an adapter by path. If its content has
changed since, the log is neither finished nor can it continue: half of it would be answers to
something else. Tasks write digests of the files that they read into their metadata. For all other
paths among the arguments, `vlmguard run` adds digests of the content.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from inspect_ai import Task
from inspect_ai.log import EvalLog, list_eval_logs

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import model_path, user_path
from vlmguard.results.logs.answers import bare, digest
from vlmguard.results.run.headers import read_header

NAMED_FILES: Final = "named_files"
"""The key in a log's metadata for digests of the files that its arguments name."""

_LOCAL: Final = "hf-vlm/"
# Larger files are compared by size and evenly spaced parts, since to read whole models takes too
# long. A change between these parts (of one layer of a model, for example) is not found.
_WHOLE: Final = 1_000_000_000
_PART: Final = 1_000_000
_PARTS: Final = 32


def named_files(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files and folders that arguments name.

    Args:
        arguments: By name, nested to any depth. A text counts if it names a file, or a folder by
            more than its bare name, which may be a word (`split: test`). For an `adapter`, a bare
            name counts too.

    Returns:
        A digest for each, by the place of its name among the arguments (`rewriter.adapter`).
    """
    return {
        place: _content(path)
        for place, text in _texts(arguments)
        if (path := _existing(text, place.endswith("adapter")))
    }


def changed_runs(
    folder: str, tasks: Sequence[tuple[str, Mapping[str, Any], Task]], files: Mapping[str, str]
) -> list[str]:
    """Logs that cannot continue with the present files.

    Args:
        folder: Folder of the logs of one defense; need not exist.
        tasks: The present name, arguments and task of each benchmark.
        files: The present result of `named_files`.

    Returns:
        A line for each such log: its path, and what has changed.

    Raises:
        UserError: A log in the folder cannot be read.
    """
    found = []
    for info in list_eval_logs(folder) if holds_logs(folder) else ():
        log = read_header(info)
        recorded = log.eval.metadata or {}
        for name, arguments, task in tasks:
            if not is_run_of(log, name, arguments, task):
                continue
            changed = changes(task.metadata or {}, recorded)
            changed += changes(files, recorded.get(NAMED_FILES, {}))
            if changed:
                found.append(f"{info.name.removeprefix('file://')}: {', '.join(changed)}")
    return found


def changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """The facts in a log's metadata that have changed.

    Args:
        now: What would be recorded now.
        then: What the log recorded; facts that are not in it are not compared.

    Returns:
        The places that differ, e.g. `data.files.siuo_gen.json`.
    """
    found = []
    for name, fact in now.items():
        if name not in then:
            continue
        if isinstance(fact, Mapping) and isinstance(then[name], Mapping):
            found += [f"{name}.{place}" for place in changes(fact, then[name])]
        elif digest(fact) != digest(then[name]):
            found.append(name)
    return found


def is_run_of(log: EvalLog, name: str, arguments: Mapping[str, Any], task: Task) -> bool:
    """Whether Inspect would continue a log; it does not with other arguments or versions."""
    return (
        bare(log.eval.task) == bare(name)
        and str(log.eval.task_version) == str(task.version)
        and digest(log.eval.task_args_passed) == digest(dict(arguments))
    )


def holds_logs(folder: str) -> bool:
    return "://" in folder or Path(folder).is_dir()


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
        return
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for name, each in items:
        yield from _texts(each, f"{place}.{name}".lstrip("."))


def _existing(text: str, bare_folder: bool) -> Path | None:
    """The file or folder that a text names, also as `hf-vlm/out/model`."""
    named = text.removeprefix(_LOCAL)
    try:
        path = model_path(named) if named != text else user_path(named)
        counts = path.is_file() or (path.is_dir() and (bare_folder or "/" in named))
        # A folder that contains the current one (`.`, `/`) is not meant as data.
        counts = counts and not Path.cwd().is_relative_to(path.resolve())
    except (OSError, ValueError, UserError):  # not a possible name of a file
        return None
    return path if counts else None


def _content(path: Path) -> str:
    """Identity of a file, or of all files below a folder: 12 hex digits."""
    if path.is_file():
        return _file(path).hexdigest()[:12]
    whole = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        whole.update(f"{file.relative_to(path)}\0{_file(file).hexdigest()}\n".encode())
    return whole.hexdigest()[:12]


def _file(path: Path) -> "hashlib._Hash":
    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE:
            found.update(file.read())
            return found
        for part in range(_PARTS):
            file.seek((size - _PART) * part // (_PARTS - 1))
            found.update(file.read(_PART))
    return found
