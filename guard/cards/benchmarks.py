"""What there is to know of a benchmark, and of a task that is none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmguard.guard.cards.measures import Measure

if TYPE_CHECKING:
    from inspect_ai.dataset import Sample

    from vlmguard.guard.data_source import Source

__all__ = ["Card", "Git", "OtherTask", "Partner"]


@dataclass(frozen=True)
class Partner:
    """Harmless requests that stand beside a benchmark's risky ones, to show what a guard costs.

    Attributes:
        benchmark: Name of their card; the benchmark's own, if its samples are of both kinds or one
            of its variants is harmless.
        args: Arguments of that task that choose them.
    """

    benchmark: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Git:
    """A public git repository with a benchmark's files.

    Attributes:
        url: Its address.
        paths: Folders and files of it that are needed; empty for all.
        commit: The commit at which counts and checksums were taken; empty if nobody could.
    """

    url: str
    paths: tuple[str, ...] = ()
    commit: str = ""


def _no_links(folder: Path) -> dict[str, str]:
    return {}


def _nothing_to_load(source: "Source", variant: str) -> "list[Sample]":
    return []


def _image_id(sample: "Sample") -> Sequence[str]:
    return [str((sample.metadata or {})["image_id"])]


@dataclass(frozen=True)
class Card:
    """A benchmark: its task's measures, and what a user must know to get its data.

    Attributes:
        name: Name of the benchmark's folder below `VLMGUARD_DATA`, and of its task.
        title: Name of the benchmark.
        task: Name of the task that runs it, if that task runs others too.
        chosen_by: The arguments of that task that choose it.
        license: Its license, with what is uncertain about it.
        gated: Whether the hub asks for a token and accepted terms.
        noncommercial: Whether its license forbids commercial use.
        obtain: Where to get the files and where to put them.
        hub: Dataset repository on the hub, or None if there is no official one.
        hub_files: Patterns of the files needed from it.
        hub_commit: Its commit that others have read; empty if none is known.
        git: Its authors' repository, if that holds files that are needed.
        links: Reads the addresses of pictures that only their owners publish, from the fetched
            folder: address by file name relative to the folder. `vlmguard data fetch` goes from
            `git` to `hub` to these: the hub where the data are not complete by then, and never
            over a file that is there. So a file of both is the one of `git`.
        partner: The harmless requests beside its risky ones; None if it has no risky ones.
        roles: Calls for one sample of the roles that its task asks beside the judge, by role.
        layouts: Accepted layouts, relative to the benchmark's folder.
        sha256: First 8 hex digits of the SHA-256 of known files.
        variants: Number of samples of each variant; None if nobody confirmed it.
        load: Reads the samples of a variant from a folder; images are paths, which may not exist. A
            task that draws its data has neither variants nor this.
        images: The most images of a sample.
        image_names: Gives the names of a sample's images in the authors' files, in order. Training
            rows have the same names, so that leak checks also find an image that is not there.
        size: Gives the number of samples for the task's arguments; None if that is not known
            without the data.
        questions: Gives the number of questions to each judge about an answer, for the task's
            arguments.
        max_tokens: The most tokens of an answer, where it is the same for all of the task's
            arguments and so small that a plan must know it.
        headline: Its headline measures by key, each with what to say of it.
        notes: What to say of values of its own options, by option.
        measures: How to read its own measures, by `SCORER.KEY` or the key alone; a `View` by a
            name of its own.
        shown_elsewhere: Its own arguments in which two comparable runs may differ: they give the
            place of a file, choose the target, or show in other compared facts.
        conditions: Entries of its task's metadata, beside the data, that two comparable runs share.
        reducers: Its own reducers of several answers. They vote as `vote` does, except on the keys
            that `coverage` names in `any_of`: there, one success is enough.
    """

    name: str
    title: str
    task: str = ""
    chosen_by: Mapping[str, str] = field(default_factory=dict)
    license: str = ""
    gated: bool = False
    noncommercial: bool = False
    obtain: str = ""
    hub: str | None = None
    hub_files: tuple[str, ...] = ()
    hub_commit: str = ""
    git: Git | None = None
    links: Callable[[Path], Mapping[str, str]] = field(default=_no_links, repr=False)
    partner: Partner | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    layouts: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, int | None] = field(default_factory=dict)
    load: "Callable[[Source, str], list[Sample]]" = field(default=_nothing_to_load, repr=False)
    images: int = 1
    image_names: "Callable[[Sample], Sequence[str]]" = field(default=_image_id, repr=False)
    size: Callable[[Mapping[str, Any]], int | None] = field(default=lambda args: None, repr=False)
    questions: Callable[[Mapping[str, Any]], int] = field(default=lambda args: 0, repr=False)
    max_tokens: int | None = None
    headline: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    shown_elsewhere: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    reducers: tuple[str, ...] = ()

    @property
    def linked(self) -> bool:
        """Whether pictures are fetched from their owners."""
        return self.links is not _no_links

    @property
    def fetchable(self) -> bool:
        """Whether `vlmguard data fetch` gets its data, or a part of them."""
        return bool(self.git or self.hub or self.linked)

    @property
    def how_to_get(self) -> str:
        """How to get its data, for people."""
        if not self.fetchable:
            return self.obtain
        command = f"vlmguard data fetch {self.name}"
        return f"`{command}` gets the data (into VLMGUARD_DATA). By hand: {self.obtain}"


@dataclass(frozen=True)
class OtherTask:
    """A task that is no benchmark.

    Attributes:
        name: Its name.
        summary: What it does, in one line.
        roles: Calls for one sample, by the role that it asks.
        calls: Gives the most calls for one sample, by role, for the task's arguments; of the
            evaluated model under `target`, and of each judge under `grader`. None without plans.
    """

    name: str
    summary: str
    roles: Mapping[str, str] = field(default_factory=dict)
    calls: Callable[[Mapping[str, Any]], Mapping[str, int]] | None = field(default=None, repr=False)
