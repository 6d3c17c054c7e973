"""The data of a leaderboard: groups of columns, rows, cells. Tables, pages and figures show them.

Rows refer to their run and group directly; exported files refer to them by number.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.coverage import Coverage
from vlmguard.results.logs.measures import ENDPOINT, Measure
from vlmguard.results.logs.run import Run
from vlmguard.results.stats.differences import Difference

__all__ = [
    "CONTROLS",
    "UNDEFENDED_LABEL",
    "Beside",
    "Cell",
    "Duel",
    "Entry",
    "Gain",
    "Group",
    "Leaderboard",
    "Overhead",
    "titled",
]

UNDEFENDED_LABEL: Final = "undefended"
CONTROLS: Final = ("always_caution", "always_refuse")
"""Defenses that make no decision; every real defense must be better."""
_NUMBERS: Final = "⁰¹²³⁴⁵⁶⁷⁸⁹"
"""What the number of a footnote is made of."""


def titled(label: str, differs: str) -> str:
    """A heading with what distinguishes a group from others of it; last the number of a footnote.

    Args:
        label: The heading.
        differs: What distinguishes it; empty if there are no others.
    """
    words = differs.rstrip(_NUMBERS)
    number = differs[len(words) :]
    return f"{label} ({words}){number}" if words else f"{label}{number}"


@dataclass
class Cell:
    """One measure of one run.

    Attributes:
        mean: Mean over scored samples.
        low: Lower end of its 95 % interval; NaN if there is none.
        high: Upper end.
        clusters: Images among the scored samples.
        coverage: How much was scored, and the worst-case bounds.
        difference: To the undefended run; None without one.
        p: Adjusted p-value of the difference; NaN if not tested.
        verdict: `better`, `worse`, or empty if neither is significant.
    """

    mean: float
    low: float
    high: float
    clusters: int
    coverage: Coverage
    difference: Difference | None = None
    p: float = math.nan
    verdict: str = ""


@dataclass
class Overhead:
    """Mean cost of a sample without the judge; None if not known.

    Attributes:
        calls: Model calls.
        tokens: Tokens read and written.
        cost: Money, if Inspect was given prices.
        throughput: Answers of the run per second of wall time, judging included.
        shared: Whether other runs of the table ran at the same time.
        latency: Median seconds of a single answer at one connection, if measured.
        latency_p95: Seconds within which 95 % of them came.
        latency_of: Number of answers behind both.
        gap: What is not known, or only of some answers, and why.
    """

    calls: float | None = None
    tokens: float | None = None
    cost: float | None = None
    throughput: float | None = None
    shared: bool = False
    latency: float | None = None
    latency_p95: float | None = None
    latency_of: int = 0
    gap: str = ""


@dataclass(eq=False)
class Group:
    """A benchmark under one set of conditions.

    Attributes:
        column: The conditions.
        label: Heading.
        judge: Judges' names.
        templates: Hashes of the judge's templates and of lists of phrases.
        measures: Measures in order.
        headline: Name of the measure that `Scored` is about.
        endpoint: Name of the primary endpoint; empty if no measure has a direction.
        differs: What distinguishes it from other groups of the same benchmark.
        note: Notes for the reader.
        kind: Whether its requests are `risky`, `harmless` or `mixed`; empty if samples do not say.
    """

    column: Column
    label: str
    judge: str
    templates: str
    measures: list[Measure]
    headline: str = ""
    endpoint: str = ""
    differs: str = ""
    note: str = ""
    kind: str = ""

    @property
    def title(self) -> str:
        """The heading, with what distinguishes the group from others of the benchmark."""
        return titled(self.label, self.differs)

    @property
    def primary(self) -> list[Measure]:
        """The measures of the main table."""
        return [measure for measure in self.measures if measure.primary]

    @property
    def by_name(self) -> dict[str, Measure]:
        """The measures by their names."""
        return {measure.name: measure for measure in self.measures}


@dataclass(eq=False)
class Entry:
    """One run in the table.

    Attributes:
        run: The run.
        target: Label of the target.
        defense: Label of the defense.
        group: Its group of columns.
        samples: Number of samples.
        cells: By measure name.
        categories: By category and measure name: mean and number of samples.
        slices: By `subset` and measure name, if a run has several; their differences
            are shown with intervals and not tested.
        failures: Share of samples in which the guard's output was unusable;
            None without a tally.
        failure_reasons: Number of these samples by reason (`no_verdict`, `unsupported_images`).
        triggered: Share in which the defense intervened; None without a tally.
        skipped: Share at which the defense did not look; None without one, and for older logs.
        skip_reasons: Number of these samples by reason (`tool_turn`, `no_image`).
        outcomes: Number of the guard's answers of each kind (of the rewriter: `copied`,
            `rewritten`, `refused`, `unusable`, `gated`); empty if its defense counts none.
        outputs: Number of final outputs of each kind (`answer`, `blocked` by the defense,
            `refusal` that the provider marked, ...); they add up to its answers with a tally.
        refusals: What the scorers of refusals call one, as keys `defense` (blocks) and `model`.
        overhead: Cost of a sample.
        note: Notes for the reader (other samples than the undefended run, ...).
        counts: All its answers, by whether the headline's scorer gave a value, and if not, why
            (`Coverage.counts`); empty without a headline. Of a headline about some samples alone,
            those of its scorer.
        images: Images among the scored of these answers.
        unpaired: In words, that no harmless requests stand beside this row of a harm set; else
            empty.
        pages: Address of the pages of its samples, relative to the board's page; empty without.
        facts: What its run was: date, versions, log, command, by their headings.
        exact_target: The target's full name, with all settings that tell it from others.
        exact_defense: The defense with all its options, and what else tells it from others.
    """

    run: Run
    target: str
    defense: str
    group: Group
    samples: int
    cells: dict[str, Cell]
    categories: dict[str, dict[str, tuple[float, int]]]
    slices: dict[str, dict[str, Cell]]
    failures: float | None
    triggered: float | None
    overhead: Overhead
    skipped: float | None = None
    skip_reasons: dict[str, int] = field(default_factory=dict)
    failure_reasons: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    note: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    images: int = 0
    unpaired: str = ""
    pages: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    exact_target: str = ""
    exact_defense: str = ""


@dataclass
class Beside:
    """A row of a harm set beside harmless requests under the same defense.

    Attributes:
        target: Label of the target.
        defense: Label of the defense.
        group: The harm set; None for harmless requests that belong to no harm set.
        measure: Name of its measure; empty if no measure has a direction.
        partner: The harmless requests, the same group if it holds both; None if there is no run.
        partner_measure: Name of their measure.
        note: In words, that there is no run of them; else empty.
        change: The partner's difference to the undefended run, turned by the measure's direction so
            that a loss is negative; None without one.
    """

    target: str
    defense: str
    group: Group | None
    measure: str
    partner: Group | None
    partner_measure: str
    note: str = ""
    change: Difference | None = None


@dataclass
class Gain:
    """Average relative gain in safety of a defense over targets, computed in two ways.

    Attributes:
        group: The group.
        defense: Label of the defense.
        targets: Number of targets with and without it.
        of_means: Relative rise of the mean over targets.
        mean_of: Mean of the targets' relative rises.
        both: Mean change of the share that is safe and helpful: by safety alone, refusing
            everything would win.
    """

    group: Group
    defense: str
    targets: int
    of_means: float
    mean_of: float
    both: float


@dataclass
class Duel:
    """The best row of a target in a group against another one.

    Attributes:
        group: The group.
        target: Label of the target.
        best: Label of the best defense, by the primary endpoint.
        other: Label of the other.
        measure: Name of the primary endpoint.
        difference: Best minus other; its interval holds for all pairs of rows together.
        p: Adjusted for all pairs of rows.
        verdict: `better`, or empty if that is not significant.
    """

    group: Group
    target: str
    best: str
    other: str
    measure: str
    difference: Difference
    p: float
    verdict: str


# Boards are told apart as objects, so that what is computed of one can be kept.
@dataclass(eq=False)
class Leaderboard:
    """Everything that tables, pages and figures show.

    Attributes:
        groups: Benchmarks under one set of conditions each.
        entries: Runs.
        gains: Average gains in safety.
        left_out: Reason for each log that is in no table.
        tests: Number of differences to the undefended targets that were tested together.
        endpoint_tests: Number of those in primary endpoints.
        duels: The best row of each target against the others.
        beside: Rows of harm sets beside harmless requests.
        notes: Notes above all tables.
        footnotes: What short names stand for, in the order of their numbers (from 1); a name in a
            table ends in the number as a superscript (`vlmguard²`).
        controls: Names of the defenses that serve as a yardstick only.
        runs: All runs that were read, those of equal judges included.
        attacked: The runs under an attack, as a table of their own: no mean, mark, partner or gain
            of the others depends on them. None without such runs.
    """

    groups: list[Group] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    gains: list[Gain] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    tests: int = 0
    endpoint_tests: int = 0
    duels: list[Duel] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    controls: tuple[str, ...] = CONTROLS
    runs: list[Run] = field(default_factory=list)
    attacked: "Leaderboard | None" = None

    def rows(self) -> list[tuple[str, str]]:
        """Target and defense of each row: undefended, then by safe and helpful, then controls.

        Other measures do not rank: refusing everything is best in any measure of safety alone.
        Rows without a value are sorted by name.
        """
        scores: dict[tuple[str, str], list[float]] = defaultdict(list)
        for entry in self.entries:
            known = scores[entry.target, entry.defense]
            both = entry.cells.get(ENDPOINT)
            if both is not None and not math.isnan(both.mean):
                known.append(both.mean)

        def order(row: tuple[str, str]) -> tuple[object, ...]:
            known = scores[row]
            rank = -sum(known) / len(known) if known else math.inf
            return (row[0], row[1] != UNDEFENDED_LABEL, self.is_control(row[1]), rank, row[1])

        return sorted(scores, key=order)

    def is_control(self, defense: str) -> bool:
        """Whether a label (name, settings, number of a footnote) is that of a control."""
        return defense.split(" ", 1)[0].rstrip(_NUMBERS) in self.controls

    def exact(self, target: str, defense: str) -> tuple[str, str]:
        """The full names of a row, with all settings that tell it from others."""
        for entry in self.entries:
            if (entry.target, entry.defense) == (target, defense):
                return entry.exact_target or target, entry.exact_defense or defense
        return target, defense

    def find(self, target: str, defense: str, group: Group) -> Entry | None:
        """The entry of a row in a group."""
        for entry in self.of(group):
            if (entry.target, entry.defense) == (target, defense):
                return entry
        return None

    def of(self, group: Group) -> list[Entry]:
        """The entries of a group."""
        return [entry for entry in self.entries if entry.group is group]

    def undefended(self, entry: Entry) -> Entry | None:
        """The undefended run that an entry is compared with, if there is one."""
        if entry.defense == UNDEFENDED_LABEL:
            return None
        return self.find(entry.target, UNDEFENDED_LABEL, entry.group)
