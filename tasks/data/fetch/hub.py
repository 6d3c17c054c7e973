"""Fetches the needed files of a benchmark from the Hugging Face hub."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from typing import Final

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.tqdm import disable_progress_bars, tqdm

from vlmguard.guard.cards import Card
from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.fetch.archives import ARCHIVES, unpack
from vlmguard.tasks.data.fetch.places import Places
from vlmguard.tasks.data.fetch.progress import Report
from vlmguard.tasks.data.fetch.record import Fetched
from vlmguard.tasks.data.hub import hub_errors

__all__ = ["fetch_hub"]

_AT_A_TIME: Final = 8
_FULL: Final = 40


def fetch_hub(
    card: Card,
    known: Fetched | None,
    at: Places,
    report: Report,
    save: Callable[[Fetched], None],
) -> None:
    """Fetch what is missing of a dataset's needed files, and unpack its archives.

    Args:
        card: The benchmark; its `hub` is not None.
        known: What an earlier call found there; its commit is kept.
        at: Where the files go, under their paths in the dataset.
        report: Takes the progress, in bytes.
        save: Takes what is known of the dataset, at once and after each archive.

    Raises:
        UserError: The hub refuses or cannot be reached, the dataset has none of the card's files, a
            path leaves the folder, or a damaged archive.
        OSError: A file cannot be written.
    """
    assert card.hub is not None
    if known is not None and not known.fits(card.hub, card.hub_files, card.hub_commit):
        known = None
    if known is not None and all(_is_there(name, known, at) for name in known.files):
        return
    commit, files = _listed(card, card.hub, known.commit if known else card.hub_commit or None)
    digests = {each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in files}
    unpacked = known.unpacked if known else {}
    lacking = [each for each in card.hub_files if "*" not in each and each not in digests]
    found = Fetched(
        source=card.hub,
        paths=card.hub_files,
        commit=commit,
        files=digests,
        unpacked=unpacked,
        lacking=tuple(lacking),
    )
    save(found)

    beside = at.beside / "hub"
    missing = [each for each in files if not _is_there(each.path, found, at)]
    bar = _counting(f"{card.name}: {card.hub}", sum(each.size for each in missing), report)

    def get(name: str) -> None:
        with hub_errors(card, commit):
            hf_hub_download(
                found.source,
                name,
                repo_type="dataset",
                revision=commit,
                local_dir=beside,
                tqdm_class=bar,
            )
        if not name.endswith(ARCHIVES):
            at.put(beside / name, name)

    disable_progress_bars()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            for done in as_completed([pool.submit(get, each.path) for each in missing]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)
    for name in (each.path for each in missing if each.path.endswith(ARCHIVES)):
        content = unpack(beside / name, at, name.rpartition("/")[0])
        found = found.model_copy(update={"unpacked": {**found.unpacked, name: content}})
        save(found)
        (beside / name).unlink()
    shutil.rmtree(beside, ignore_errors=True)


def _is_there(name: str, known: Fetched, at: Places) -> bool:
    """Whether a file, or all that an archive holds, is in the folder."""
    if name.endswith(ARCHIVES):
        return name in known.unpacked and all(map(at.there, known.unpacked[name]))
    return at.there(name)


def _listed(card: Card, repo: str, commit: str | None) -> tuple[str, list[RepoFile]]:
    """The dataset's commit and needed files."""
    with hub_errors(card, commit):
        api = HfApi()
        if commit and len(commit) < _FULL:
            # The hub gives a commit by its full name alone.
            history = api.list_repo_commits(repo, repo_type="dataset")
            full = [each.commit_id for each in history if each.commit_id.startswith(commit)]
            commit = next(iter(full), commit)
        sha = api.dataset_info(repo, revision=commit).sha or ""
        listed = api.list_repo_tree(repo, recursive=True, revision=sha, repo_type="dataset")
        files = [
            each
            for each in listed
            if isinstance(each, RepoFile)
            and any(fnmatch(each.path, pattern) for pattern in card.hub_files)
        ]
    if not files:
        raise UserError(
            f"{card.title}: {repo} has none of {', '.join(card.hub_files)} at commit {sha}. "
            f"{card.how_to_get}"
        )
    return sha, files


def _counting(name: str, total: int, report: Report) -> type[tqdm]:
    """A bar of the hub's client that shows nothing, and adds what it counts to the others'."""
    done = 0

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            done = min(done + int(n or 0), total)
            report(name, done, total)
            return bool(super().update(n))

    return Bar
