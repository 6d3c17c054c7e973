"""Who rates answers: a judge of a log, or a person who filled in a sheet of labels."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_csv
from vlmguard.results.agreement.sampling import (
    COLUMN,
    MEASURES,
    Drawing,
    Key,
    answer_keys,
    read_drawing,
)
from vlmguard.results.formats.spreadsheet import sheet_name
from vlmguard.results.logs.run import Run

_SAVE_AS: Final = "Save the sheet as CSV in UTF-8."
_COLUMNS: Final = {
    "safety": "judge.safety",
    "helpful": "judge.helpful",
    "refused": "refusal.refused",
}
Ratings = dict[str, dict[Key, float]]
"""Values by measure, then by sample and epoch."""


@dataclass(frozen=True)
class Rater:
    """A judge or a person.

    Attributes:
        ratings: The ratings; measures without any are left out.
        safe_from: Grade from which an answer is safe; None if unknown.
        name: Name in tables.
        person: Whether it is a sheet of labels.
        clusters: Image of each answer, where known.
        drawing: How a sheet was drawn, if it says so.
        open: By measure, answers of a merged sheet that its raters differ in and that have no
            label.
        remark: Remark for the reader of a table.
    """

    ratings: Ratings
    safe_from: float | None = None
    name: str = ""
    person: bool = False
    clusters: dict[Key, str] = field(default_factory=dict)
    drawing: Drawing | None = None
    open: dict[str, int] = field(default_factory=dict)
    remark: str = ""


def judge_of(run: Run) -> Rater:
    """The ratings of a log's judge."""
    frame = run.answers
    keys = answer_keys(frame)
    ratings: Ratings = {}
    for measure, column in _COLUMNS.items():
        # Refusals come from rules, not from a judge: they are counted once.
        if column in frame and not (run.view and measure == "refused"):
            values = zip(keys, frame[column].astype(float), strict=True)
            if rated := {key: value for key, value in values if not math.isnan(value)}:
                ratings[measure] = rated
    images = dict(zip(keys, frame["cluster"].astype(str), strict=True))
    return Rater(ratings, run.safe_from, run.judge or "rules", clusters=images)


def read_labels(path: Path) -> Rater:
    """Read a sheet of human labels.

    Args:
        path: CSV with `sample`, `epoch` and any of `safety` (0-10), `helpful`
            and `refused` (0 or 1); blank where not rated.

    Raises:
        UserError: A column is missing, a value is out of range, or a sample
            occurs twice; names the line.
    """
    # In some languages, spreadsheets save with semicolons.
    columns, rows = read_csv(path, _SAVE_AS, delimiters=",;\t")
    if not rows or "sample" not in columns or not set(MEASURES) & set(columns):
        raise UserError(
            f"{path}: needs a column 'sample' and one of {', '.join(MEASURES)}. "
            f"vlmguard label writes such a sheet."
        )
    ratings: Ratings = {}
    seen: dict[Key, int] = {}
    differ: Counter[str] = Counter()
    for number, row in rows:
        here = f"{path}, line {number}"
        key = _key(row, here)
        if key in seen:
            raise UserError(
                f"{here}: {key[0]}, epoch {key[1]}, stands in line {seen[key]} already. Keep one."
            )
        seen[key] = number
        for measure in MEASURES:
            text = (row.get(measure) or "").strip()
            if not text:
                theirs = [row.get(name) or "" for name in columns if is_said(measure, name)]
                differ[measure] += sum(map(bool, theirs)) > 1
                continue
            allowed = [str(grade) for grade in range(11)] if measure == "safety" else ["0", "1"]
            if text not in allowed:
                raise UserError(
                    f"{here}: {measure} is '{text}'; write a whole number from "
                    f"{allowed[0]} to {allowed[-1]}, or nothing."
                )
            ratings.setdefault(measure, {})[key] = float(text)
    if not ratings:
        raise UserError(f"{path}: no row has a label yet. Fill in {', '.join(MEASURES)}.")
    cells = [row.get(COLUMN, "") for _, row in rows]
    drawing = read_drawing(cells, str(path)) if any(cells) else None
    return Rater(ratings, name=path.name, person=True, drawing=drawing, open=+differ)


def said_by(measure: str, rater: str) -> str:
    """The heading of the column of a merged sheet with what a rater said."""
    return f"{measure}: {rater}"


def is_said(measure: str, heading: str) -> bool:
    """Whether a heading is that of a column with what a rater said of a measure."""
    return heading.startswith(said_by(measure, ""))


def _key(row: dict[str, str], here: str) -> Key:
    """Sample and epoch of a row of a sheet."""
    sample, epoch = row["sample"], (row.get("epoch") or "1").strip()
    if not sample:
        raise UserError(f"{here}: the sample is missing.")
    if not (epoch.isascii() and epoch.isdecimal() and len(epoch) < 10 and int(epoch) > 0):
        raise UserError(f"{here}: epoch is '{epoch[:20]}'; write a whole number from 1.")
    return sheet_name(sample), int(epoch)
