"""Fetches the needed files of a benchmark from its authors' git repository."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vlmguard.guard.cards import Git
from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.fetch.places import Places
from vlmguard.tasks.data.fetch.progress import Report
from vlmguard.tasks.data.fetch.record import Fetched

__all__ = ["fetch_git"]

_CHUNK: Final = 100
_FULL: Final = 40
_SETTINGS: Final = (
    # Files as they are in the repository, and no links.
    *("-c", "core.autocrlf=false", "-c", "core.symlinks=false", "-c", "core.quotePath=false"),
    *("-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
)
_ENVIRONMENT: Final = {
    # No question for a password where a repository is private or gone, and no endless wait.
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
    "GIT_HTTP_LOW_SPEED_TIME": "60",
    "LC_ALL": "C",
}


def fetch_git(
    git: Git,
    known: Fetched | None,
    at: Places,
    report: Report,
    save: Callable[[Fetched], None],
) -> None:
    """Fetch what is missing of a repository's needed files.

    Of a server that can do that (GitHub), only these files are fetched, 100 at a time, so that what
    was fetched before a stop stays.

    Args:
        git: The repository.
        known: What an earlier call found there; its commit is kept.
        at: Where the files go, under their paths in the repository.
        report: Takes the progress, in files.
        save: Takes what is known of the repository, at once; links and submodules are no files.

    Raises:
        UserError: No git, no network, no such repository or commit, a path that the repository
            lacks, or a path that leaves the folder.
        OSError: A file cannot be written.
    """
    if known is not None and not known.fits(git.url, git.paths, git.commit):
        known = None
    if known is not None and all(at.there(name) for name in known.files):
        return
    clone = at.beside / "git"
    # Not continued: a git that was killed leaves locks. The files are in their place already.
    shutil.rmtree(clone, ignore_errors=True)
    try:
        _fetch(git, known, at, report, save, clone)
    finally:
        shutil.rmtree(clone, ignore_errors=True)


def _fetch(
    git: Git,
    known: Fetched | None,
    at: Places,
    report: Report,
    save: Callable[[Fetched], None],
    clone: Path,
) -> None:
    """Fetch by means of a clone, as `fetch_git` does."""
    wanted = known.commit if known else git.commit
    commit = _fetch_commit(clone, git, wanted)
    files = _files(clone, git, commit)
    lacking = [path for path in git.paths if not any(_is_below(path, each) for each in files)]
    found = Fetched(
        source=git.url, paths=git.paths, commit=commit, files=files, lacking=tuple(lacking)
    )
    save(found)
    missing = [name for name in found.files if not at.there(name)]
    name = f"{at.folder.name}: {git.url}"
    for first in range(0, len(missing), _CHUNK):
        report(name, first, len(missing))
        chunk = missing[first : first + _CHUNK]
        lines = "".join(map(_pattern, chunk))
        _run(git, clone, "sparse-checkout", "set", "--no-cone", "--stdin", stdin=lines)
        _run(git, clone, "checkout", "--quiet", "--force", "--detach", commit)
        for each in chunk:
            at.put(clone / each, each)
    report(name, len(missing), len(missing))


def _fetch_commit(clone: Path, git: Git, wanted: str) -> str:
    """Make a clone with a commit, if possible without files; gives the commit in full."""
    _run(git, None, "init", "--quiet", str(clone))
    _run(git, clone, "remote", "add", "origin", git.url)
    fetch = ("fetch", "--quiet", "--no-tags", "--filter=blob:none")
    if 0 < len(wanted) < _FULL:
        # Servers give commits by their full name alone: get all of them, still without files.
        _run(git, clone, *fetch, "origin", "+refs/heads/*:refs/remotes/origin/*")
    else:
        _run(git, clone, *fetch, "--depth=1", "origin", wanted or "HEAD")
    found = wanted or "FETCH_HEAD"
    return _run(git, clone, "rev-parse", "--verify", f"{found}^{{commit}}").strip()


def _files(clone: Path, git: Git, commit: str) -> dict[str, str]:
    """The needed files of a commit with their digests."""
    listed = _run(git, clone, "ls-tree", "-r", "-z", commit, "--", *git.paths)
    files = {}
    for line in listed.split("\0")[:-1]:
        facts, _, name = line.partition("\t")
        mode, _, digest = facts.split()
        if mode.startswith("100"):
            files[name] = digest
    if not files:
        raise UserError(
            f"{git.url} has no files {', '.join(git.paths)} at commit {commit}. Fetch the data by "
            f"hand, and correct `paths` or `commit` on the benchmark's card."
        )
    return files


def _is_below(path: str, name: str) -> bool:
    return name == path or name.startswith(f"{path.rstrip('/')}/")


def _pattern(name: str) -> str:
    """The line of a sparse checkout that matches this file alone."""
    return "/" + re.sub(r"([\\\\*?\[ ])", r"\\\1", name) + "\n"


def _run(git: Git, clone: Path | None, *words: str, stdin: str | None = None) -> str:
    place = () if clone is None else ("-C", str(clone))
    try:
        done = subprocess.run(
            ["git", *_SETTINGS, *place, *words],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, **_ENVIRONMENT},
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            f"git is not installed, and {git.url} is fetched with it. Install git, or download the "
            f"files by hand (`vlmguard data` says which)."
        ) from error
    if done.returncode == 0:
        return done.stdout
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in said if line.startswith(("fatal:", "error:"))), "")
    reason = reason or (said or [f"git {words[0]} ended with status {done.returncode}"])[-1]
    if "No space left on device" in done.stderr:
        raise UserError(f"{git.url}: the disk is full. Make room, and run the command again.")
    raise UserError(
        f"{git.url} cannot be fetched at {git.commit or 'its newest commit'} ({reason}). Look at "
        f"the network, and whether the repository and that commit are still there."
    )
