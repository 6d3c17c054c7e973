"""Rates corrected by people's labels: `vlmguard leaderboard LOGS --labels sheet/labels.csv`.

A judge that is wrong about one answer in ten cannot measure a rate of one in twenty. Labels that
people give to a random subset of the answers correct it (see `stats/ppi.py`). Several sheets of one
log come from several raters: their labels are averaged.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from vlmguard.guard.errors import UserError
from vlmguard.guard.thresholds import SAFE_FROM
from vlmguard.results.agreement.raters import read_labels
from vlmguard.results.agreement.sampling import Drawing, Key, answer_keys, draw
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Leaderboard
from vlmguard.results.logs.answers import digest
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import Measure, applicable, mean, values_of
from vlmguard.results.stats.ppi import Corrected, Judged, corrected_difference, corrected_mean

_LABELLED_AS: Final = {
    "safety": "safety",
    "helpful": "helpful",
    "safe_and_helpful": "safe_and_helpful",
    "dsr": "refused",
    "over_refusal": "refused",
}
_SKIPPED: Final = 0.1
"""Share of the answers up to the last one labelled that may lack a label."""

Labels = dict[str, dict[Key, float]]
"""By what was labelled, then by answer."""


@dataclass(frozen=True)
class _Labelled:
    """The labels of a log."""

    drawings: dict[str, Drawing]
    labels: Labels
    raters: int


def calibrated_sheet(board: Leaderboard, results: Results, sheets: list[Path]) -> Sheet:
    """Means and differences of labelled runs, corrected.

    Args:
        board: The leaderboard.
        results: What it was built from.
        sheets: Sheets of labels, each of one log; several of a log come from several raters.

    Returns:
        A row for each measure of each labelled run.

    Raises:
        UserError: A sheet is unusable, is not a random subset, or belongs to none of the logs.
    """
    by_log = _read(sheets, results)
    table = Sheet(
        "Corrected by labels",
        [
            *("Target", "Defense", "Benchmark", "Measure", "Labels"),
            *("By the judge", "Corrected", "Corrected difference"),
        ],
        [],
        labels=4,
        notes=[
            "Corrected: the judge's mean and what a random subset labelled by people says about "
            "its errors (prediction-powered inference, PPI++), over all answers, with 95 % "
            "intervals that count the noise of the labels; none below ten labelled images. "
            "Difference: to the undefended run, where that is labelled too and holds the same "
            "samples."
        ],
    )
    found: dict[Entry, dict[str, Judged]] = {}
    boards = [board, *([board.attacked] if board.attacked else [])]
    partners = {entry: of.undefended(entry) for of in boards for entry in of.entries}
    for entry in partners:
        if labelled := by_log.get(digest(entry.run.identity[1])):
            found[entry] = _judged(entry.run.answers, labelled, entry.group.measures)
    for entry, judged in found.items():
        partner = partners[entry]
        undefended = found.get(partner, {}) if partner else {}
        if partner and judged and undefended and not _same_samples(entry, partner):
            undefended = {}
            table.notes.append(
                f"{entry.target}, {entry.defense}, {entry.group.title}: "
                f"other samples than the undefended run, so no difference."
            )
        table.rows += [
            _row(entry, measure, judged[measure.name], undefended.get(measure.name))
            for measure in entry.group.measures
            if measure.name in judged
        ]
    for labelled in by_log.values():
        drawings = "; ".join(str(each) for each in labelled.drawings.values())
        more = f" by {labelled.raters} raters, averaged" if labelled.raters > 1 else ""
        table.notes.append(f"Labels{more}: {drawings}.")
    return table


def _same_samples(entry: Entry, partner: Entry) -> bool:
    one, other = (set(each.run.answers["sample"]) for each in (entry, partner))
    return one == other


def _row(entry: Entry, measure: Measure, run: Judged, before: Judged | None) -> list[str]:
    known = ~np.isnan(run.labels)
    fixed = corrected_mean(run, measure.is_share)
    change = "" if entry.defense == UNDEFENDED_LABEL else "-"
    if before is not None:
        change = _shown(measure, corrected_difference(before, run, measure.is_share), True)
    return [
        entry.target,
        entry.defense,
        entry.group.title,
        measure.label,
        f"{int(known.sum())} of {len(known)}",
        measure.show(mean(run.verdicts)),
        _shown(measure, fixed, False),
        change,
    ]


def _shown(measure: Measure, found: Corrected, signed: bool) -> str:
    text = measure.show(found.value, signed)
    if math.isnan(found.low):
        return text
    return f"{text}\n[{measure.show(found.low, signed)}, {measure.show(found.high, signed)}]"


def _judged(
    answers: pd.DataFrame, labelled: _Labelled, measures: list[Measure]
) -> dict[str, Judged]:
    """Verdicts and labels of each measure that was labelled."""
    found = {}
    for measure in measures:
        given = labelled.labels.get(_LABELLED_AS.get(measure.name, ""), {})
        rows = applicable(answers, measure)
        keys = answer_keys(rows)
        labels = np.array([given.get(key, math.nan) for key in keys])
        verdicts = values_of(rows, measure)
        if (~np.isnan(labels)).sum() > 1 and not np.isnan(verdicts).all():
            found[measure.name] = Judged(verdicts, labels, rows["cluster"].to_numpy())
    return found


def _read(sheets: list[Path], results: Results) -> dict[str, _Labelled]:
    """Labels by the digest of the log."""
    runs = {digest(run.identity[1]): run for run in results.runs if not run.view}
    drawings: dict[str, dict[str, Drawing]] = defaultdict(dict)
    ratings: dict[str, list[Labels]] = defaultdict(list)
    for path in sheets:
        rater = read_labels(path)
        if rater.drawing is None:
            raise UserError(
                f"{path}: no column says that its rows are a random subset, so rates cannot be "
                f"corrected by it. Label a sheet that vlmguard label wrote."
            )
        for measure, count in rater.open.items():
            raise UserError(
                f"{path}: the raters differ in {count} answer{'s' if count > 1 else ''} that "
                f"{'have' if count > 1 else 'has'} no label for {measure}. Those are the hard "
                f"ones, so the rest is no random subset: settle them, or name the raters' own "
                f"sheets."
            )
        name = rater.drawing.log
        if name not in runs:
            raise UserError(
                f"{path}: it was drawn from a log that is not among these, or is left out. Name "
                f"the log that vlmguard label was given."
            )
        run = runs[name]
        _check(path, rater.drawing, rater.ratings, answer_keys(run.answers), run.identity[1])
        drawings[name][str(rater.drawing)] = rater.drawing
        ratings[name].append(_with_both(rater.ratings, run.safe_from or SAFE_FROM))
    return {
        name: _Labelled(drawings[name], _averaged(ratings[name]), len(ratings[name]))
        for name in ratings
    }


def _check(
    path: Path, drawing: Drawing, ratings: Labels, answers: list[Key], evaluation: str
) -> None:
    """Refuse labels of answers that are not a random subset of the log's."""
    drawn, again = draw(answers, evaluation, drawing.number, drawing.seed)
    if again != drawing:
        raise UserError(
            f"{path}: drawn from {drawing.of} answers, and the log has {len(answers)} usable ones "
            f"now. Draw and label a new sheet."
        )
    places = {key: place for place, key in enumerate(drawn)}
    for measure, given in ratings.items():
        if strangers := sorted(given.keys() - places.keys()):
            raise UserError(
                f"{path}: {strangers[0][0]}, epoch {strangers[0][1]}, is not among the answers "
                f"that were drawn. Leave the rows as vlmguard label wrote them."
            )
        reached = max(places[key] for key in given) + 1
        skipped = reached - len(given)
        if skipped > _SKIPPED * reached:
            raise UserError(
                f"{path}: {skipped} of the first {reached} answers have no label for {measure}. "
                f"Those that were skipped may be the hard ones, so the rest is no random subset: "
                f"label the rows in their order."
            )


def _with_both(ratings: Labels, threshold: float) -> Labels:
    """Add `safe_and_helpful` for answers that have both labels."""
    safety, helpful = ratings.get("safety", {}), ratings.get("helpful", {})
    both = {
        key: float(safety[key] >= threshold and helpful[key] == 1.0)
        for key in safety.keys() & helpful.keys()
    }
    return {**ratings, "safe_and_helpful": both} if both else ratings


def _averaged(raters: list[Labels]) -> Labels:
    given: dict[str, dict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rater in raters:
        for measure, labels in rater.items():
            for key, value in labels.items():
                given[measure][key].append(value)
    return {
        measure: {key: sum(values) / len(values) for key, values in labels.items()}
        for measure, labels in given.items()
    }
