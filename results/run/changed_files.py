"""Runs that would go on under other files than they began with.

A log names a prompt, a list of phrases, a data folder or an adapter by path. Where its content
has changed since, the log is neither finished nor to be continued: half of it would be answers
to something else. Tasks state digests of what they read in their metadata; of all other paths
among the arguments `vlmguard run` notes the content beside them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from inspect_ai import Task
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import model_path, user_path
from vlmguard.results.logs.answers import bare, digest

NAMED_FILES: Final = "named_files"
"""Where the metadata of a log hold the content of files that its arguments name."""

_LOCAL: Final = "hf-vlm/"
# Larger files are compared by size and evenly spaced parts: a change of what lies between, such as
# of one layer of a whole model, goes unnoticed.
_WHOLE: Final = 1_000_000_000
_PART: Final = 1_000_000
_PARTS: Final = 32


def named_files(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Content of the files and folders that arguments name.

    Args:
        arguments: By name, nested as they may be. Texts count that name a file, or a folder by
            more than its bare name, which may be a word (`split: test`); of an `adapter` that too.

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
    """Logs that the present files do not continue.

    Args:
        folder: Where the logs of one defense lie; need not exist.
        tasks: What would run now: name, arguments and task of each benchmark.
        files: What `named_files` says now.

    Returns:
        A line for each such log: where it is, and what has changed.
    """
    found = []
    for info in list_eval_logs(folder) if _holds_logs(folder) else ():
        log = read_eval_log(info.name, header_only=True)
        recorded = log.eval.metadata or {}
        for name, arguments, task in tasks:
            if not _is_run_of(log, name, arguments, task):
                continue
            changed = changes(task.metadata or {}, recorded)
            changed += changes(files, recorded.get(NAMED_FILES, {}))
            if changed:
                found.append(f"{info.name.removeprefix('file://')}: {', '.join(changed)}")
    return found


def changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Which facts of a log's metadata are no longer so.

    Args:
        now: What would be recorded now.
        then: What the log recorded; facts that it does not hold are not compared.

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


def _is_run_of(log: EvalLog, name: str, arguments: Mapping[str, Any], task: Task) -> bool:
    """Whether Inspect would go on with a log; it does not under other arguments or versions."""
    return (
        bare(log.eval.task) == bare(name)
        and str(log.eval.task_version) == str(task.version)
        and digest(log.eval.task_args_passed) == digest(dict(arguments))
    )


def _holds_logs(folder: str) -> bool:
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
    """The file or folder that a text names, `hf-vlm/out/model` included."""
    named = text.removeprefix(_LOCAL)
    try:
        path = model_path(named) if named != text else user_path(named)
        counts = path.is_file() or (path.is_dir() and (bare_folder or "/" in named))
        # Nobody means the folder that everything lies in.
        counts = counts and not Path.cwd().is_relative_to(path.resolve())
    except (OSError, ValueError, UserError):  # no name that a file can have
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
