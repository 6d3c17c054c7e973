"""Measures: their names, directions and ranges."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlmguard.guard import cards as guard
from vlmguard.guard.cards import View, cards
from vlmguard.results.logs.answers import views
from vlmguard.results.logs.run import Run
from vlmguard.results.stats.differences import Pairs, pair_up
from vlmguard.results.stats.intervals import Numbers

# A measure without a declaration has only its name. These words mean that less is better,
_LESS_IS_BETTER: Final = re.compile(
    r"(?<![a-z])asr(?![a-z])|attack|jailbreak|hallucinat|unsafe|harm(?!less)|refus|toxic|violat"
    r"|leak|incorrect|error|fail|unparsed"
)
# unless one of these is in the name too.
_TURNED_ROUND: Final = re.compile(
    r"resist|(?<!in)correct|defen[cs]e|defended|blocked|detect|avoid|robust|accuracy"
)
_NEUTRAL: Final = re.compile(r"^(refus(ed|als?)|refusal_rate|dsr)$")
_NEEDLESS: Final = re.compile(r"(over|false)[-_ ]?refus")
ARROWS: Final = {1: "↑", -1: "↓", 0: ""}
"""The mark after a measure's name, for its direction."""
# Words for measures in which a guard that refuses everything is bad,
_HELP: Final = re.compile(
    r"(?<!un)helpful|(?<![a-z])useful|(?<!in)effective|(?<!in)correct|accura|(?<![a-z])wins?(?![a-z])"
)
# unless the name says that safety is right or effective; with `and`, safety does not cancel help.
_OF_SAFETY: Final = re.compile(
    r"refus|reject|abst|declin|safe|harm|resist|defen[cs]|block|detect|avoid|robust|guard|filter"
    r"|attack|jailbreak|toxic|violat|moderat"
)
_AND_SAFE: Final = re.compile(
    r"(?<![a-z])safe(ty)?[-_ ](and|&)[-_ ]|[-_ ](and|&)[-_ ]safe(ty)?(?![a-z])"
)

# The reducer of attacks, which votes on all else.
_ANY: Final = "any_success"
ENDPOINT: Final = "safe_and_helpful"
"""The primary endpoint of runs that have this measure."""


@dataclass(frozen=True)
class Measure:
    """A column of the frame and how to read it.

    Attributes:
        column: Its name in the frame.
        name: Short name, unique in a table.
        label: Heading.
        highest: Largest possible value; 1 for a share. The largest observed value, if the range is
            not declared and this is not a share.
        better: 1 if more is better, -1 if less is, 0 if neither is.
        primary: Whether it is in the main table and is tested there.
        macro: Whether it is a mean over categories with equal weights.
        guessed: Whether `better` was guessed from the name.
        unbounded: Whether the range is not declared and values leave 0 to 1.
        help: Whether it falls if everything is refused, if its task says so.
        benign: Whether it is of the benign samples alone, in a column that all samples have.
        reduce: How several answers to a question become one: `vote`, `mean`, `max` (one success is
            enough), `median`, or another name that is not known here.
    """

    column: str
    name: str
    label: str
    highest: float
    better: int
    primary: bool = True
    macro: bool = False
    guessed: bool = False
    unbounded: bool = False
    help: bool | None = None
    benign: bool = False
    # The same measure for any number of answers.
    reduce: str = field(default="vote", compare=False)

    @property
    def is_share(self) -> bool:
        """Whether values are shown as percentages."""
        return self.highest == 1.0 and not self.unbounded

    @property
    def range(self) -> float:
        """Largest possible value; NaN if it is not known."""
        return math.nan if self.unbounded else self.highest

    @property
    def is_tested(self) -> bool:
        """Whether differences in it are tested: it has a direction, and a table shows them."""
        return (self.primary or self.benign) and self.better != 0

    @property
    def heading(self) -> str:
        """The label with an arrow, if the measure has a direction."""
        return f"{self.label} {ARROWS[self.better]}".rstrip()

    def show(self, value: float, signed: bool = False) -> str:
        """A value as tables show it: percent for shares, two digits for grades."""
        if math.isnan(value):
            return "-"
        # The small addition rounds halves up, as the HTML page does.
        size = abs(value) * (100 if self.is_share else 1) + 1e-9
        text = f"{size:.1f}" if self.is_share else f"{size:.2f}"
        sign = "-" if value < 0 and float(text) else "+" if signed else ""
        return sign + text


def show_p(p: float) -> str:
    """A p-value as tables show it: three decimals, `< 0.001` for smaller ones, `-` for none."""
    if math.isnan(p):
        return "-"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def said_p(p: float) -> str:
    """A p-value in a sentence: `p = 0.210`, `p < 0.001`."""
    shown = show_p(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def common_measures() -> dict[str, Measure]:
    """The measures that any task may have, by name, as their scorers declare them."""
    return {
        name: Measure(
            column=name if isinstance(said, View) else f"{scorer}.{name}",
            name=name,
            label=said.label,
            highest=said.max or 1.0,
            better=said.direction or 0,
            help=said.help,
            reduce="mean" if said.average else "vote",
        )
        for scorer, measures in cards().measures.items()
        for name, said in measures.items()
    }


def measures_of(runs: Iterable[Run], columns: Iterable[str]) -> list[Measure]:
    """The measures that a set of runs reports, in the order of the tables.

    Args:
        runs: Runs of one benchmark under one set of conditions.
        columns: Columns of their frame with at least one value.

    Returns:
        The common measures that occur, then the benchmark's own. Of these, the headline and the
        views are primary (the first, if no measure would be primary). A view of the headline with
        the same heading would repeat it, and is left out; one without a direction is not primary
        beside its views.
    """
    known = list(runs)
    present = list(columns)
    found = [_common(known, each) for each in common_measures().values() if each.column in present]
    own = (column for column in present if "." in column)
    found += [
        _own_measure(known, column)
        for column in sorted(own)
        if column.partition(".")[0] not in cards().measures
    ]
    named = {run.declared.headline for run in known}
    headings = {measure.column: measure.heading for measure in found if measure.column in named}
    repeated = {view for view, (of, _) in views().items() if of in headings}
    found = [
        measure
        for measure in found
        if measure.column not in repeated or headings[views()[measure.column][0]] != measure.heading
    ]
    # Without a direction a headline tells less than its views.
    viewed = {of for view, (of, _) in views().items() if view in {each.column for each in found}}
    found = [
        replace(
            measure,
            primary=measure.primary and (measure.better != 0 or measure.column not in viewed),
        )
        for measure in found
    ]
    if found and not any(measure.primary for measure in found):
        found[0] = replace(found[0], primary=True)
    return found


def headline_of(runs: Iterable[Run], measures: Sequence[Measure]) -> str:
    """The headline measure of a set of runs; tables show how many of its answers were scored.

    Args:
        runs: Runs of one benchmark under one set of conditions.
        measures: Their measures.

    Returns:
        Name of the tasks' headline measure, if it is one of them; else safe and helpful, else the
        first. Empty if there is no measure.
    """
    names = [measure.name for measure in measures if measure.primary]
    headlines = [run.declared.headline for run in runs]
    headlines += [name for name, (of, _) in views().items() if of in headlines]
    columns = {measure.column: measure.name for measure in measures}
    named = [columns[column] for column in headlines if column in columns]
    others = [name for name in (ENDPOINT, *names) if name in names]
    return next(iter([*named, *others]), "")


def endpoint(measures: Iterable[Measure], headline: str) -> Measure | None:
    """The primary endpoint: safe & helpful, else the headline, else the first with a direction."""
    shown = {measure.name: measure for measure in measures if measure.primary and measure.better}
    names = [name for name in (ENDPOINT, headline, *shown) if name in shown]
    return shown[names[0]] if names else None


def applicable(rows: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Rows of a measure: benign ones for over-refusal, the others for DSR."""
    if measure.benign:
        return rows[rows["expected"] == "comply"]
    if (view := views().get(measure.column)) is None:
        return rows
    return rows[(rows["expected"] == "comply") == view[1]]


def counts_help(measure: Measure) -> bool:
    """Whether a guard that refuses everything is bad in a measure, as far as is known.

    Returns:
        True for measures that their scorer or task declares as help, and for others whose names are
        about useful or right answers (not right refusals).
    """
    if measure.help is not None:
        return measure.help and measure.better != 0
    key = measure.column.rpartition(".")[2]
    name = measure.column.partition(".")[0] if key == "value" else key
    lowered = name.lower()
    if _NEEDLESS.search(lowered):
        return measure.better != 0
    helping = _HELP.search(lowered) and not _OF_SAFETY.search(_AND_SAFE.sub("", lowered))
    return measure.better > 0 and bool(helping)


def is_refusal(measure: Measure) -> bool:
    """Whether a measure counts refusals alone: an answer of no use to anyone does not move it."""
    key = measure.column.rpartition(".")[2]
    return "refus" in f"{key} {measure.label}".lower()


def benign_half(measure: Measure) -> Measure:
    """The same measure of the benign samples alone, for sets that hold risky ones too."""
    label = measure.label.removesuffix(" %")
    return replace(
        measure,
        name=f"{measure.name}_if_benign",
        label=f"{label}, harmless{measure.label[len(label) :]}",
        primary=False,
        guessed=False,
        benign=True,
    )


def values_of(rows: pd.DataFrame, measure: Measure) -> Numbers:
    """A measure's values; NaN if unscored or not requested."""
    if measure.column not in rows:
        return np.full(len(rows), math.nan)
    values = rows[measure.column].to_numpy(dtype=float)
    return np.where(rows["expected"] == "comply", values, math.nan) if measure.benign else values


def weighted(
    values: Numbers, categories: "Sequence[Any] | pd.Series[Any]", measure: Measure
) -> Numbers:
    """Values whose plain mean is the measure's: scaled if categories have equal weights.

    Args:
        values: One for each sample; NaN where unscored.
        categories: Category of each sample.
        measure: The measure.

    Returns:
        The values, scaled for a mean over categories.
    """
    weights = category_weights(values, categories, measure)
    return values if weights is None else values * weights


def category_weights(
    values: Numbers, categories: "Sequence[Any] | pd.Series[Any]", measure: Measure
) -> Numbers | None:
    """Weights that give categories equal weight; None if samples have equal weight.

    Args:
        values: One for each sample; NaN where unscored.
        categories: Category of each sample.
        measure: The measure.

    Returns:
        A weight for each sample, with a mean of 1; NaN if unscored.
    """
    if not measure.macro:
        return None
    known, named = ~np.isnan(values), np.asarray(list(categories))
    counts = pd.Series(values).groupby(named).transform("count").to_numpy()
    several = len(set(named[known]))
    weights = np.full(len(values), math.nan)
    weights[known] = known.sum() / (several * counts[known])
    return weights


def paired(old: pd.DataFrame, new: pd.DataFrame, measure: Measure) -> Pairs | None:
    """The samples that two runs both scored in a measure.

    Args:
        old: A row for each sample of the first run.
        new: The same of the second run, which has at least these samples.
        measure: The measure.

    Returns:
        The pairs; None if there are none.
    """
    rows = applicable(old, measure)
    # A selection copies all columns, which takes most of the time.
    others = new if new.index.equals(rows.index) else new.loc[rows.index]
    before, after = values_of(rows, measure), values_of(others, measure)
    # Weights are those of the pairs, so that a category has the same weight in both runs.
    weights = category_weights(after - before, rows["category"], measure)
    return pair_up(before, after, rows["cluster"].to_numpy(), weights)


def mean(values: "npt.NDArray[np.floating[Any]]") -> float:
    """Mean of the known values, else NaN."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _common(runs: list[Run], measure: Measure) -> Measure:
    return replace(measure, reduce=_reduction(runs, measure.column, measure.reduce))


def _own_measure(runs: list[Run], column: str) -> Measure:
    """A benchmark's own measure, by the log's declaration or by its name."""
    scorer, _, key = column.partition(".")
    name = scorer if key == "value" else key
    headline_of = [run for run in runs if run.declared.headline == column]
    macro = any(run.declared.macro for run in headline_of)
    stated_ranges = [run.declared.ranges[column] for run in runs if column in run.declared.ranges]
    observed = [run.observed[column] for run in runs if column in run.observed]
    unbounded = bool(observed) and not stated_ranges
    highest = max(observed) if unbounded else next(iter(stated_ranges), 1.0)
    described = [run.declared.measures[column] for run in runs if column in run.declared.measures]
    said = described[0] if described else guard.Measure()
    label = name.replace("_", " ") + (" %" if highest == 1.0 and not unbounded else "")
    label = said.label or label
    return Measure(
        column=column,
        name=column,
        label=f"{label} (macro)" if macro else label,
        highest=highest,
        better=_guess(name) if said.direction is None else said.direction,
        primary=bool(headline_of) or isinstance(said, View),
        macro=macro,
        guessed=said.direction is None,
        unbounded=unbounded,
        help=said.help,
        reduce=_reduction(runs, column, "mean" if said.average else "vote"),
    )


def _guess(name: str) -> int:
    lowered = name.lower()
    if _NEUTRAL.search(lowered):
        return 0
    less = _LESS_IS_BETTER.search(lowered) and not _TURNED_ROUND.search(lowered)
    return -1 if less else 1


def _reduction(runs: list[Run], column: str, usual: str) -> str:
    """How several answers become one in runs under the same conditions."""
    declared = runs[0].declared
    own = {name for card in cards().benchmarks.values() for name in card.reducers} | {_ANY}
    if column in declared.any_of and declared.reducer in own:
        return "max"
    # Our reducers vote on labels and average grades; other reducers do what their names say.
    return usual if declared.reducer in {"", "vote", *own} else declared.reducer
