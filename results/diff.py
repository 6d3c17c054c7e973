"""Shows how two runs differ: each measure, and the samples that flipped, with their answers.

vlmguard diff UNDEFENDED.eval DEFENDED.eval
vlmguard diff A.eval B.eval --all
vlmguard diff A.eval B.eval --html flips.html --no-images
"""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pandas as pd
from rich.cells import cell_len, set_cell_size

from vlmguard.guard.errors import UserError
from vlmguard.results.changes import Change, change_sheet, changes
from vlmguard.results.formats.spreadsheet import csv_text
from vlmguard.results.formats.templating import render
from vlmguard.results.leaderboard.red_team_tables import red_team_lines_of
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.exchange import Exchange, read_exchange
from vlmguard.results.logs.frame import Results, read_run
from vlmguard.results.logs.labels import Label, labels_of
from vlmguard.results.logs.measures import common_measures
from vlmguard.results.logs.run import Run
from vlmguard.results.sanitize import one_line

_WORDS: Final = {
    "safe": ("unsafe", "safe"),
    "helpful": ("not helpful", "helpful"),
    "refused": ("not refused", "refused"),
}
_DIRECTIONS: Final = {1: "worse", -1: "better", 0: "neither"}
# Official verdicts keep their own names.
_OTHERS: Final = ("no", "yes")


@dataclass(frozen=True)
class Flip:
    """A sample that two runs judge differently.

    Attributes:
        sample: Its id.
        epoch: Its epoch.
        category: Its category.
        changes: What changed, e.g. `unsafe -> safe`, `attack success: yes -> no`.
        first: Request and answer in the first run.
        second: Request and answer in the second run.
        loss: Labels that became worse minus those that became better, plus a tenth of the fall of
            the safety grade.
        direction: `worse`, `better`, or `neither` where labels without a direction changed, or as
            many for the better as for the worse. Grades alone do not count.
    """

    sample: str
    epoch: int
    category: str
    changes: tuple[str, ...]
    first: Exchange
    second: Exchange
    loss: float
    direction: str


@dataclass(frozen=True)
class Diff:
    """Two runs compared.

    Attributes:
        names: Target and defense of each.
        changes: Each measure.
        flips: Samples that flipped, the worst first.
        shared: Answers in both.
        alone: Answers in only one.
        blocked: Shared answers that the defense blocked, in each.
        labels: The labels compared, e.g. `helpful`, `safe`.
        warnings: Conditions that differ.
        attacks: What attacks achieve in these runs, a line each.
    """

    names: tuple[str, str]
    changes: list[Change]
    flips: list[Flip]
    shared: int
    alone: int
    blocked: tuple[int, int]
    labels: tuple[str, ...]
    warnings: list[str]
    attacks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Side:
    """One of the two runs.

    Attributes:
        run: The run.
        answers: Its answers, by sample and epoch: those that both runs hold.
        labels: Verdicts of 0 and 1 on each, by name.
    """

    run: Run
    answers: pd.DataFrame
    labels: dict[str, Label]

    @property
    def name(self) -> str:
        """Target and defense."""
        return f"{self.run.target}, {self.run.defense}"


def diff(first: str, second: str) -> Diff:
    """Compare two logs of one benchmark sample by sample.

    Args:
        first: A log, or a folder with all shards of a run.
        second: Another.

    Raises:
        UserError: A log cannot be used, or the two share no sample or no label.
    """
    # If there are several judges, only the first judge's verdicts.
    runs = [read_run(path) for path in (first, second)]
    left, right = (run.answers.set_index(["sample", "epoch"]) for run in runs)
    shared = left.index.intersection(right.index)
    if shared.empty:
        raise UserError(f"{first} and {second} share no sample. Name two logs of one benchmark.")
    one, two = (
        _Side(run, here, {label.name: label for label in labels_of(run, here)})
        for run, here in zip(runs, (left.loc[shared], right.loc[shared]), strict=True)
    )
    common = sorted(one.labels.keys() & two.labels.keys())
    if not common:
        held = " and ".join(", ".join(sorted(side.labels)) or "none" for side in (one, two))
        raise UserError(
            f"{first} and {second} have no label in common ({held}), so nothing can flip. Judge "
            f"them alike: inspect score LOG --scorer vlmguard/judge --model-role grader=..."
        )
    fell = _grades_lost(one.answers, two.answers)
    flips = [_flip(one, two, key, common, fell.get(key, 0.0)) for key in shared]
    return Diff(
        names=(one.name, two.name),
        changes=changes(one.run, two.run),
        flips=sorted(filter(None, flips), key=lambda flip: -flip.loss),
        shared=len(shared),
        blocked=(int(_blocked(one.answers).sum()), int(_blocked(two.answers).sum())),
        alone=len(left) + len(right) - 2 * len(shared),
        labels=tuple(common),
        warnings=_unlike(one.run, two.run),
        attacks=red_team_lines_of(Results(runs)),
    )


def _flip(one: _Side, two: _Side, key: Any, names: list[str], fell: float) -> Flip | None:
    """How the verdicts on an answer changed; None if they did not.

    Args:
        one: The first run.
        two: The second.
        key: Sample and epoch.
        names: Labels that both have.
        fell: How far the grade of safety fell.
    """
    changed, loss = [], 0.0
    # More refusals are neither better nor worse, but of benign requests they are worse.
    benign = str(one.answers.loc[key, "expected"]) == "comply"
    known = {name: one.labels[name].better for name in names}
    known["refused"] = -1 if benign else 0
    blocked = tuple(_blocked(side.answers).loc[key] for side in (one, two))
    for name in names:
        before, after = one.labels[name].values[key], two.labels[name].values[key]
        if _differ(before, after):
            changed.append(_change(name, int(before), int(after), blocked))
            loss += known[name] * (before - after)
    if not changed:
        return None
    sample, epoch = str(key[0]), int(key[1])
    return Flip(
        sample=sample,
        epoch=epoch,
        category=str(one.answers.loc[key, "category"]),
        changes=tuple(sorted(changed)),
        first=read_exchange(one.run.log_of(sample), sample, epoch),
        second=read_exchange(two.run.log_of(sample), sample, epoch),
        loss=loss + fell / common_measures()["safety"].highest,
        direction=_DIRECTIONS[int(loss > 0) - int(loss < 0)],
    )


def _unlike(one: Run, two: Run) -> list[str]:
    """In which conditions two runs differ."""
    first, second = (_conditions(run.column) for run in (one, two))
    return [
        f"{name} differs: {before or 'none'} and {second[name] or 'none'}"
        for name, before in first.items()
        # The title is just another name of the benchmark.
        if name != "title" and second[name] != before
    ]


def _conditions(column: Column) -> dict[str, str]:
    facts = asdict(column)
    return {**facts, "attack": f"{column.under} {column.attack}".strip()}


def as_csv(found: Diff) -> str:
    """A line for each flip, with whole texts and without images."""
    names = ["sample", "epoch", "category", "changes", "request"]
    header = [*names, "rewritten_a", "answer_a", "rewritten_b", "answer_b"]
    rows: list[list[str | int]] = []
    for flip in found.flips:
        texts = [flip.category, "; ".join(flip.changes), flip.first.request]
        texts += [flip.first.rewritten, flip.first.answer]
        texts += [flip.second.rewritten, flip.second.answer]
        rows.append([flip.sample, flip.epoch, *texts])
    return csv_text(header, rows)


def as_html(found: Diff, images: bool) -> str:
    """A page with the measures, and a block for each flip.

    Args:
        found: The comparison.
        images: Whether to show images; leave them out of a page that is published.
    """
    return render(
        "flips.html",
        title="Flipped samples",
        intro=" ".join(_intro(found)),
        measures=change_sheet(found.changes),
        flips=found.flips,
        directions=directions(found),
        kinds=_kinds(found),
        images=images,
    )


def directions(found: Diff) -> dict[str, int]:
    """The number of flips for the worse, for the better, and neither."""
    counted = Counter(flip.direction for flip in found.flips)
    return {name: counted[name] for name in _DIRECTIONS.values()}


def counts(found: Diff) -> str:
    """In words, how many flips are for the worse, for the better, and neither."""
    told = directions(found)
    neither = f", {told['neither']} neither" if told["neither"] else ""
    return f"{told['worse']} for the worse, {told['better']} for the better{neither}"


def _kinds(found: Diff) -> list[tuple[str, int]]:
    """What changed, and in how many flips, the most frequent first."""
    counted = Counter(change for flip in found.flips for change in flip.changes)
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def intro(found: Diff) -> str:
    """One sentence, and the warnings."""
    return "\n".join(_intro(found))


def flips_as_text(found: Diff, width: int, most: int | None) -> str:
    """Flips as plain text for a terminal; long texts are cut to a few lines.

    Args:
        found: The comparison.
        width: Width of the terminal.
        most: Number of flips to show, the worst first; all if None.
    """
    shown = found.flips[:most]
    lines = [f"Flips: {counts(found)}."] if found.flips else []
    if len(shown) < len(found.flips):
        lines.append(f"The {len(shown)} worst of {len(found.flips)} flips (--all shows all):")
    for flip in shown:
        lines += ["", one_line(f"{flip.sample} ({flip.category}): {'; '.join(flip.changes)}")]
        texts = [("request", flip.first.request)]
        for letter, side in (("A", flip.first), ("B", flip.second)):
            texts += [(f"{letter} rewritten", side.rewritten), (f"{letter} answer", side.answer)]
        lines += [f"  {name:<12} {_cut(text, 3 * width)}" for name, text in texts if text]
    return "\n".join(lines)


def summary(found: Diff) -> str:
    """One sentence."""
    alone = f"; {found.alone} answers are in one log only" if found.alone else ""
    in_a, in_b = found.blocked
    blocked = f" Blocked by the defense: {in_a} in A, {in_b} in B." if in_a or in_b else ""
    return (
        f"{len(found.flips)} of {found.shared} shared answers flipped between A ({found.names[0]}) "
        f"and B ({found.names[1]}){alone}. Compared: {', '.join(found.labels)}.{blocked}"
    )


def _intro(found: Diff) -> list[str]:
    return [
        one_line(line)
        for line in (
            summary(found),
            *(f"Beware: {warning}." for warning in found.warnings),
            *(f"{line}." for line in found.attacks),
        )
    ]


def _grades_lost(left: pd.DataFrame, right: pd.DataFrame) -> dict[Any, float]:
    """How far the safety grade of each answer fell; answers without grades are left out."""
    column = common_measures()["safety"].column
    if any(column not in frame for frame in (left, right)):
        return {}
    return dict((left[column] - right[column]).dropna().items())


def _change(name: str, before: int, after: int, blocked: tuple[bool, ...]) -> str:
    """In words; a refusal of the defense is told from the model's.

    Args:
        name: The label.
        before: Its value in the first run.
        after: Its value in the second.
        blocked: Whether the defense refused, in each run.
    """
    words = _WORDS.get(name)
    if words is None:
        return f"{name}: {_OTHERS[before]} -> {_OTHERS[after]}"
    said = [
        "blocked by the defense" if name == "refused" and label and by_defense else words[label]
        for label, by_defense in zip((before, after), blocked, strict=True)
    ]
    return " -> ".join(said)


def _blocked(answers: pd.DataFrame) -> "pd.Series[bool]":
    """Which answers are refusals of the defense."""
    if "output" not in answers:
        return pd.Series(False, index=answers.index)
    return answers["output"] == "blocked"


def _differ(first: float, second: float) -> bool:
    return not (math.isnan(first) or math.isnan(second)) and first != second


def _cut(text: str, length: int) -> str:
    single = one_line(text)
    return single if cell_len(single) <= length else f"{set_cell_size(single, length)}..."
