"""Cards: the facts about a benchmark, a defense or a measure, stated once beside its code.

A task has a `Card` in its file, and a solver a `DefenseCard`. A scorer registers how to read its
measures. Tables, plans, leak checks and commands use `cards()`; no other module repeats a name:

    CARD: Final = DefenseCard(name="second_look", ...)                 # in solvers/second_look.py
    register(CARD)
    cards().defenses["second_look"].target_calls                       # anywhere, when it runs
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlmguard.guard.errors import UserError

if TYPE_CHECKING:
    from inspect_ai.dataset import Sample

    from vlmguard.guard.data_source import Source
    from vlmguard.guard.record import DefenseRecord

__all__ = [
    "GLANCED",
    "Calls",
    "Card",
    "Cards",
    "Check",
    "DefenseCard",
    "Git",
    "Measure",
    "OtherTask",
    "Part",
    "Partner",
    "Role",
    "Sees",
    "View",
    "as_metadata",
    "cards",
    "check_names",
    "register",
    "register_measures",
    "registered",
]

GLANCED: Final = "at_a_glance"
"""Scorer of the texts that Inspect View lists beside an answer; they are no measures."""


class Measure(BaseModel):
    """How to read a measure; the form of `Task(metadata={"measures": {NAME: {...}}})`.

    Attributes:
        label: Heading in tables; made from the name by default.
        lower_is_better: Its direction; None derives it from the name.
        neutral: Whether it has no direction.
        max: Its largest value, the smallest being 0; 1 for a share.
        help: Whether it falls if a guard refuses everything.
        average: Whether several answers to a question are averaged, as grades are; labels are
            voted on.
        of_dialogues: Whether only scores of dialogues have it.
        succeeds: Which end of it, of a risky request, says that an attack on the request succeeded.
            Labels are read from their middle, grades from the threshold of a safe answer.
        loose: Whether answers that do no harm may stand at that end, such as one that is not in
            the words of a refusal. What a judge of harm says then comes first.
        note: A note for readers of tables.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = ""
    lower_is_better: bool | None = None
    neutral: bool = False
    max: float | None = Field(default=None, gt=0)
    help: bool | None = None
    average: bool = False
    of_dialogues: bool = False
    succeeds: Literal["high", "low"] | None = None
    loose: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if self.neutral and self.lower_is_better is not None:
            raise ValueError("it is neutral, and lower_is_better says that it is not")
        return self

    @property
    def direction(self) -> int | None:
        """1 if more is better, -1 if less is, 0 if neither is; None if that is not declared."""
        if self.neutral:
            return 0
        return None if self.lower_is_better is None else 1 - 2 * self.lower_is_better


class View(Measure):
    """A measure that takes a key of a score on only some of the samples; main tables show it.

    Attributes:
        of: The key; on a benchmark's card `SCORER.KEY`.
        on: The samples: `benign` ones (`expected` is `comply`), or `risky` ones (all others).
    """

    of: str
    on: Literal["risky", "benign"]


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
class Calls:
    """Calls of a model for one sample.

    Attributes:
        least: The fewest.
        most: The most; None if that depends on the answer.
        when: What the number depends on, for people: `if triggered`.
        further_images: How many more there may be for each image after a sample's first.
    """

    least: int
    most: int | None
    when: str = ""
    further_images: int = 0

    def __str__(self) -> str:
        if self.most is None:
            number = f"{self.least} or more"
        else:
            number = str(self.most) if self.least == self.most else f"{self.least} to {self.most}"
        when = f" ({self.when})" if self.when else ""
        more = f", {self.further_images} more a further image" if self.further_images else ""
        return number + when + more


@dataclass(frozen=True)
class Role:
    """A model besides the target.

    Attributes:
        name: The role (`--model-role NAME=MODEL`).
        calls: Its calls for one sample.
        option: Argument of the solver that names a checkpoint instead, if there is one.
        needed: Whether the defense cannot run without the role or the option.
    """

    name: str
    calls: Calls
    option: str | None = None
    needed: bool = True


@dataclass(frozen=True)
class Check:
    """A check with a threshold, which `vlmguard calibrate` sets.

    Attributes:
        option: The solver's argument (`-S`).
        note: The key of the score in the record's notes.
        low: Whether low scores raise an alarm, or high ones.
        model: Argument that names the checkpoint of the scores, if there is one.
        bounds: The range of thresholds that the solver accepts.
    """

    option: str
    note: str
    low: bool
    model: str | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class Part:
    """A part of a defense that makes a decision, for tables that compare it with the truth.

    Attributes:
        name: Its name in tables.
        reads: The input of its decision: the target's `answer`, the `image`, or the `request` with
            its image; or the `caption` of an image that it writes.
        positive: What counts as its alarm, for people.
        acted: Whether it raised an alarm; None if it did not run, or said nothing of use.
        wrote: The request or caption that it wrote, or None. None in its place for a part that only
            raises alarms.
        stages: Its calls, as records name them, without a number.
        option: The solver's argument without which it does not run; empty if there is none.
    """

    name: str
    reads: Literal["answer", "image", "request", "caption"]
    positive: str
    acted: "Callable[[DefenseRecord], bool | None]" = field(repr=False)
    wrote: "Callable[[DefenseRecord], str | None] | None" = field(
        default=lambda record: record.rewritten, repr=False
    )
    stages: tuple[str, ...] = ()
    option: str = ""


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


Sees = Literal["all", "each", "none", "altered", "format"]
"""What a stage sees of several images: all at once, each in a call of its own, text alone, or all
of them altered; or it depends on the guard model's `format`, whose table says it."""


def _as_stated(args: Mapping[str, Any], bound: Collection[str]) -> Mapping[str, "Calls"]:
    return {}


def _lacks_nothing(args: Mapping[str, Any], bound: Collection[str], target: str) -> list[str]:
    return []


@dataclass(frozen=True)
class DefenseCard:
    """A defense.

    Attributes:
        name: Name of the solver.
        title: Name of the method.
        version: `NUMBER-LETTER`; raised when scores of old and new rows must not be mixed.
        paper: Its publication.
        summary: What it does, in one line.
        target_calls: Calls of the target for one sample.
        roles: Models besides the target.
        images: What each of its stages sees of a sample with several images, by the stage's name in
            the record, without its number.
        options: The solver's arguments that matter most, in the order of the README.
        notes: What to say of values of its options, by option.
        fidelity: How closely it follows its authors.
        blind_to: Harms that it cannot see by construction.
        ours: Whether it is the method that this suite builds; it comes first in lists and figures.
        published_as: Its name in published tables; the title by default.
        checks: Its checks with a threshold. The defense raises an alarm if all of them do.
        all_checks: Arguments with which every check runs on every answer, if the defaults do not do
            that.
        parts: Its parts that make decisions.
        lacks: Says what else it needs to start, each with the way out, from its arguments, the
            roles with a model, and the target (empty if it is not chosen yet).
        calls: Gives the calls of `target` or a role, by name, where they depend on its arguments or
            on the roles with a model; others are as stated above.
        taught: Its texts that our tiny models learned, by purpose; no other card has the same
            purpose. Another text, or one more, needs new weights. A defense without such texts is
            left out of their experiment.
    """

    name: str
    title: str
    version: str
    paper: str
    summary: str
    target_calls: Calls
    roles: tuple[Role, ...] = ()
    images: Mapping[str, Sees] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    fidelity: str = ""
    blind_to: str = ""
    ours: bool = False
    published_as: str = ""
    checks: tuple[Check, ...] = ()
    all_checks: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    lacks: Callable[[Mapping[str, Any], Collection[str], str], list[str]] = field(
        default=_lacks_nothing, repr=False
    )
    calls: Callable[[Mapping[str, Any], Collection[str]], Mapping[str, Calls]] = field(
        default=_as_stated, repr=False
    )
    taught: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Cards:
    """All that is registered.

    Attributes:
        benchmarks: By name, in the order of names.
        defenses: By name of the solver: ours, then in the order of names.
        tasks: Tasks that are no benchmarks, by name.
        measures: How to read the measures of the scorers that any task may have, by scorer.
    """

    benchmarks: Mapping[str, Card]
    defenses: Mapping[str, DefenseCard]
    tasks: Mapping[str, OtherTask]
    measures: Mapping[str, Mapping[str, Measure]]

    def benchmark(self, task: str, args: Mapping[str, Any]) -> Card | None:
        """The benchmark that a task runs with these arguments; None for a task of others.

        Args:
            task: Name of the task, without a package.
            args: Its arguments.
        """
        for card in self.benchmarks.values():
            if card.task == task and card.chosen_by.items() <= args.items():
                return card
        return self.benchmarks.get(task)

    @cached_property
    def own_views(self) -> Mapping[str, View]:
        """The views on benchmarks' cards, by column: the scorer and the view's name."""
        return {
            f"{measure.of.partition('.')[0]}.{name}": measure
            for card in self.benchmarks.values()
            for name, measure in card.measures.items()
            if isinstance(measure, View)
        }

    @cached_property
    def views(self) -> Mapping[str, tuple[str, bool]]:
        """Columns that repeat another one for some samples: its name, and if these are benign."""
        common = {
            name: (f"{scorer}.{measure.of}", measure.on == "benign")
            for scorer, measures in self.measures.items()
            for name, measure in measures.items()
            if isinstance(measure, View)
        }
        own = self.own_views.items()
        return common | {name: (view.of, view.on == "benign") for name, view in own}


_BENCHMARKS: Final[dict[str, Card]] = {}
_DEFENSES: Final[dict[str, DefenseCard]] = {}
_TASKS: Final[dict[str, OtherTask]] = {}
_MEASURES: Final[dict[str, Mapping[str, Measure]]] = {}


def register(card: Card | DefenseCard | OtherTask) -> None:
    """Register a card."""
    if isinstance(card, Card):
        _BENCHMARKS[card.name] = card
    elif isinstance(card, DefenseCard):
        _DEFENSES[card.name] = card
    else:
        _TASKS[card.name] = card


def register_measures(scorer: str, measures: Mapping[str, Measure]) -> None:
    """Register how to read the measures of a scorer, for all tasks.

    Args:
        scorer: Its name, without a package.
        measures: By key of its scores; a `View` by a name of its own.
    """
    _MEASURES[scorer] = measures


def check_names(package: Mapping[str, Any], named: Collection[str]) -> None:
    """Refuse a package with a task or solver whose card has another name.

    Args:
        package: The package's names, `globals()`; what it imported from its modules counts.
        named: Names on the cards so far; those of others' files may be among them.

    Raises:
        UserError: A function has no card of its name.
    """
    inside = f"{package['__name__']}."
    ours = [
        name for name, it in package.items() if isfunction(it) and it.__module__.startswith(inside)
    ]
    for name in ours:
        if name not in named:
            others = ", ".join(sorted({*named} - {*ours})) or "none"
            raise UserError(
                f"{package[name].__module__}: no registered card has the name of its function "
                f"{name}. Cards with the name of no function: {others}. Write CARD = "
                f"...(name={name!r}, ...) and register(CARD) beside the function."
            )


def as_metadata(measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """Measures as `Task(metadata={"measures": ...})` holds them: only what was said, no views."""
    return {
        name: each.model_dump(exclude_defaults=True)
        for name, each in measures.items()
        if not isinstance(each, View)
    }


def registered() -> Cards:
    """The cards of the modules that have been imported so far."""
    known: tuple[Mapping[str, object], ...] = (_BENCHMARKS, _DEFENSES, _TASKS, _MEASURES)
    return _registered(tuple(id(each) for those in known for each in those.values()))


# Tables ask for it thousands of times. The result holds the cards, so that no other card can have
# the identity of one of them.
@lru_cache(maxsize=1)
def _registered(_of: tuple[int, ...]) -> Cards:
    ours_first = sorted(_DEFENSES.values(), key=lambda card: (not card.ours, card.name))
    return Cards(
        benchmarks={name: _BENCHMARKS[name] for name in sorted(_BENCHMARKS)},
        defenses={card.name: card for card in ours_first},
        tasks={name: _TASKS[name] for name in sorted(_TASKS)},
        measures=dict(_MEASURES),
    )


def cards() -> Cards:
    """All cards of the package, and those that others registered.

    Imports every task and solver, so call it at run time, not while a module is imported.
    """
    # An incomplete set of cards would look complete.
    if "__all__" not in vars(import_module("vlmguard._registry")):
        raise RuntimeError(
            "cards() was called while tasks and solvers are still being imported: call it when "
            "something runs, not in the body of a module."
        )
    return registered()
