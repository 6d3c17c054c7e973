"""Fetches one benchmark: from git, from the hub, and by links, until its data are complete."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from vlmguard.guard.cards import Card
from vlmguard.tasks.data.check import Report as Checked
from vlmguard.tasks.data.check import check
from vlmguard.tasks.data.fetch.git import fetch_git
from vlmguard.tasks.data.fetch.links import fetch_links
from vlmguard.tasks.data.fetch.places import Places, places
from vlmguard.tasks.data.fetch.progress import Report
from vlmguard.tasks.data.fetch.record import RECORD, Fetched, Record, holds_data

__all__ = ["Outcome", "fetch_set", "sources"]


@dataclass(frozen=True)
class Outcome:
    """What came of fetching a benchmark.

    Attributes:
        checked: The report on its folder.
        taken: Where its files came from, with commits.
        altered: Files that differ from those of their source.
        lacking: Files, folders and patterns that no source had.
        dead: Why linked pictures could not be fetched, by file name.
    """

    checked: Checked
    taken: list[str]
    altered: list[str]
    lacking: list[str]
    dead: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all is there and unaltered."""
        return self.checked.state == "complete" and not self.altered and not self.dead


def sources(card: Card) -> list[str]:
    """Where a benchmark is fetched from, in this order; empty if it must be got by hand."""
    found = []
    if card.git:
        found.append(f"{card.git.url} at {card.git.commit or 'its newest commit'}")
    if card.hub:
        found.append(f"hub {card.hub} at {card.hub_commit or 'its newest commit'}")
    if card.linked:
        found.append("links in its files")
    return found


def fetch_set(card: Card, root: Path, report: Report) -> Outcome:
    """Fetch what is missing of a benchmark's data, and check all of it.

    Args:
        card: The benchmark, with `sources`.
        root: Folder with a folder for each benchmark.
        report: Takes the progress.

    Raises:
        UserError: A source refuses or cannot be reached, or a file cannot be written; what was
            fetched before stays, and if that is nothing, no folder.
    """
    with places(root, card.name) as at:
        kept = _Kept(at.folder)
        try:
            return _fetch(card, root, at, kept, report)
        finally:
            kept.drop_if_alone()


def _fetch(card: Card, root: Path, at: Places, kept: "_Kept", report: Report) -> Outcome:
    if card.git:
        fetch_git(card.git, kept.record.git, at, report, lambda it: kept.keep(git=it))
    # The hub has only a copy of a set that is complete by now.
    if card.hub and (kept.record.hub or check(card, root).state != "complete"):
        # Imported here: without the hub there is no need of its client.
        from vlmguard.tasks.data.fetch.hub import fetch_hub

        fetch_hub(card, kept.record.hub, at, report, lambda it: kept.keep(hub=it))
    dead = fetch_links(card.links(at.folder), at, report) if card.linked else {}
    kept.keep(dead=dead)
    taken = [each for each in (kept.record.git, kept.record.hub) if each]
    return Outcome(
        check(card, root),
        [f"{each.source} at commit {each.commit}" for each in taken],
        sorted(name for each in taken for name in _altered(each, at)),
        [f"{name} in {each.source}" for each in taken for name in each.lacking],
        dead,
    )


class _Kept:
    """The record of a folder, and its file there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.record = Record.read(folder)

    def keep(self, **changed: Fetched | dict[str, str]) -> None:
        self.record = self.record.model_copy(update=changed)
        self.record.write(self._folder)

    def drop_if_alone(self) -> None:
        """Remove the file if no data came: alone it is of no use."""
        if not holds_data(self._folder):
            (self._folder / RECORD).unlink(missing_ok=True)


def _altered(fetched: Fetched, at: Places) -> list[str]:
    """Files that are not as their source had them."""
    return [
        name
        for name, digest in fetched.files.items()
        if at.there(name) and _digest(at.folder / name, git=len(digest) == 40) != digest
    ]


def _digest(path: Path, *, git: bool) -> str:
    """SHA-256 of a file, or the SHA-1 that git gives it as a blob."""
    if not git:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
