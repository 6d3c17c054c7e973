"""A git repository of a test's own, which serves single commits and files as GitHub does."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

_AS = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")


def commit_files(folder: Path, files: Mapping[str, bytes], links: Mapping[str, str] = {}) -> str:
    """Add a commit with these files and links to a repository, made if needed; gives its name."""
    if not folder.exists():
        _git(None, "init", "--quiet", str(folder))
        _git(folder, "config", "uploadpack.allowFilter", "true")
        _git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, to in links.items():
        (folder / name).symlink_to(to)
    _git(folder, "add", "--all")
    _git(folder, *_AS, "commit", "--quiet", "--message", "Add files")
    return _git(folder, "rev-parse", "HEAD").strip()


def _git(folder: Path | None, *words: str) -> str:
    place = () if folder is None else ("-C", str(folder))
    done = subprocess.run(["git", *place, *words], capture_output=True, text=True, check=True)
    return done.stdout
