"""The tables that `vlmguard power` prints."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlmguard.guard.errors import UserError
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.gate.compare import ALPHA as GATE_ALPHA
from vlmguard.results.gate.compare import TOLERANCE
from vlmguard.results.logs.frame import read_run
from vlmguard.results.logs.measures import (
    Measure,
    endpoint,
    headline_of,
    measures_of,
    paired,
)
from vlmguard.results.power import (
    Aim,
    Pilot,
    gate_images,
    labels_needed,
    pilot_of,
    smallest,
    table_images,
)
from vlmguard.results.stats.differences import Pairs

# Numbers of judged samples in the table, as multiples of the number that true labels alone need.
_MORE = (1.0, 1.25, 1.5, 2.0, 4.0)


def from_logs(first: str, second: str, aim: Aim) -> Sheet:
    """A row for each measure that tables and gate test, from two pilot logs of the same samples.

    Raises:
        UserError: A log cannot be used, or nothing can be compared.
    """
    main, tested, pilots = _pilots(first, second)
    if not pilots:
        raise UserError(f"{first} and {second}: no measure that is tested was scored in both.")
    sheet = _sheet(aim, tested)
    for measure, pairs in pilots:
        wanted = aim if measure == main else replace(aim, others=tested - 1)
        pilot = pilot_of(pairs, measure.highest)
        name = f"{measure.label}{' (primary)' if measure == main else ''}"
        size = f"{len(pairs.changes)} ({len(pairs.names)} images)"
        if pilot is None:
            sheet.rows.append([name, size, "nothing differs", "-", "-", "-"])
            continue
        seen = smallest(pilot, wanted, len(pairs.names))
        sheet.rows.append([name, size, f"{seen * 100:.1f}", *_needed(pilot, wanted, tested)])
    return sheet


def from_assumption(pilot: Pilot, aim: Aim) -> Sheet:
    """The one row for assumed labels."""
    sheet = _sheet(aim, 1)
    sheet.rows.append(["assumed labels", "-", "-", *_needed(pilot, aim, 1)])
    return sheet


def label_sheet(
    pilot: Pilot, aim: Aim, rate: float, sensitivity: float, specificity: float
) -> Sheet:
    """Labels by people that calibrated rates need, for several numbers of judged samples."""
    sheet = Sheet(
        f"Labels in each run, judge with sensitivity {sensitivity:g} and specificity "
        f"{specificity:g}",
        ["Judged samples", "Labels", "Share %"],
        [],
        labels=0,
    )
    alone = table_images(pilot, aim)
    for factor in _MORE:
        samples = math.ceil(alone * factor)
        labels = labels_needed(pilot, aim, rate, sensitivity, specificity, samples)
        shown = ["too few samples", "-"] if labels is None else [str(labels), ""]
        if labels is not None:
            shown[1] = f"{labels / samples * 100:.0f}"
        sheet.rows.append([str(samples), *shown])
    sheet.notes.append(
        "Labels of a random part, the same samples in both runs; the judge errs independently in "
        "both. The rate is the true one of the first run."
    )
    return sheet


def _pilots(first: str, second: str) -> tuple[Measure | None, int, list[tuple[Measure, Pairs]]]:
    """The primary endpoint, the number of tested measures, and pairs for those of known range."""
    runs = [read_run(path) for path in (first, second)]
    old, new = (run.samples() for run in runs)
    shared = old.index.intersection(new.index)
    old, new = old.loc[shared], new.loc[shared]
    present = [str(name) for name in old if name in new and old[name].notna().any()]
    measures = measures_of(runs, present)
    tested = [measure for measure in measures if measure.primary and measure.better]
    pilots = [
        (measure, pairs)
        for measure in tested
        if (pairs := paired(old, new, measure)) and not np.isnan(measure.range)
    ]
    return endpoint(tested, headline_of(runs, measures)), len(tested), pilots


def _sheet(aim: Aim, measures: int) -> Sheet:
    points = f"{aim.difference * 100:g}"
    rest = ""
    if measures > 1:
        rest = f", of each other measure at {replace(aim, others=measures - 1).alpha:.2g}"
    header = ["Measure", "Pilot samples", "Shown by the pilot's size"]
    header += ["Images for a table", "Samples for a table", "Samples for the gate"]
    return Sheet(
        f"To see a difference of {points} points in {aim.power * 100:g} % of cases",
        header,
        [],
        notes=[
            "Points: percent of the measure's range. Table: two-sided test of the primary endpoint "
            f"at {aim.alpha:.3g} ({aim.comparisons} tested together){rest}. Gate, for one run in "
            f"it: a true loss of {points} points, tolerance {TOLERANCE * 100:g}, one-sided test at "
            f"{GATE_ALPHA:g} over {measures} measure{'' if measures == 1 else 's'}; a "
            f"deterministic baseline needs no test.",
        ],
        labels=1,
    )


def _needed(pilot: Pilot, aim: Aim, measures: int) -> Sequence[str]:
    images = table_images(pilot, aim)
    gate = gate_images(pilot, aim, TOLERANCE, measures)
    samples = [None if each is None else math.ceil(each * pilot.samples) for each in (images, gate)]
    return [str(images), *("never: tolerated" if each is None else str(each) for each in samples)]
