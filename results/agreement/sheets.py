"""Agreement between raters as tables."""

import math

from vlmguard.results.agreement.agree import Agreement
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.stats.coefficients import Estimate, Pair

_NOTES = (
    "In brackets: 95 % intervals over images; none below ten images, and none of kappa where "
    "raters never differ. Sensitivity: of what the reference calls so, the share that the rater "
    "finds. Who never says it agrees as often as it is rare, so no agreement is shown without "
    "kappa and F1. '-': not defined, as nothing varies.",
)


def agreement_sheets(found: list[Agreement], remarks: list[str]) -> list[Sheet]:
    """A table of each rater against the reference, and one of all raters together.

    Args:
        found: The agreement on each measure.
        remarks: Remarks about single raters.
    """
    pairs = Sheet(
        "Agreement with a reference",
        [
            *("Class", "Rater", "Answers", "Preva-\nlence %", "Sensi-\ntivity %"),
            *("Speci-\nficity %", "Preci-\nsion %", "F1", "Cohen's\nkappa", "Same %"),
        ],
        [
            [each.positive, name, *_cells(pair)]
            for each in found
            for name, pair in each.pairs.items()
        ],
        notes=[
            *(f"Reference for {each.positive}: {each.reference}." for each in found if each.pairs),
            *_NOTES,
            *(f"{remark}." for remark in remarks),
        ],
        labels=2,
    )
    together = Sheet(
        "Agreement of all raters",
        ["Measure", "Raters", "Answers", "Krippendorff's alpha"],
        [[each.measure, str(each.raters), str(each.items), _decimal(each.alpha)] for each in found],
        notes=[
            "Grades as they are, labels as such; answers that at least two rated. No interval "
            "where raters never differ."
        ],
        labels=1,
    )
    return [pairs, together]


def _cells(pair: Pair) -> list[str]:
    return [
        f"{pair.items}\n({pair.clusters} images)",
        *map(_percent, (pair.prevalence, pair.sensitivity, pair.specificity, pair.precision)),
        _decimal(pair.f1),
        _decimal(pair.kappa),
        _percent(pair.same),
    ]


def _percent(estimate: Estimate) -> str:
    return _shown(estimate, 100, 1)


def _decimal(estimate: Estimate) -> str:
    return _shown(estimate, 1, 3)


def _shown(estimate: Estimate, scale: int, digits: int) -> str:
    if math.isnan(estimate.value):
        return "-"
    text = f"{estimate.value * scale:.{digits}f}"
    if math.isnan(estimate.low):
        return text
    return f"{text}\n[{estimate.low * scale:.{digits}f}, {estimate.high * scale:.{digits}f}]"
