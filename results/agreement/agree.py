"""Do judges agree with each other, and with people?

    vlmguard agreement A.eval B.eval              # the same answers under two judges
    vlmguard agreement A.eval                     # a log to which a second judge was appended
    vlmguard agreement A.eval labels.csv          # a judge and a person
    vlmguard label A.eval --out sheet --n 60      # a blind sheet for that person

Each judge's labels are compared with those of the first person (or else the first judge). A grade
becomes a label by the threshold in the judge's log; a person's grades by that of the first log. If
few answers are unsafe, agreement alone says little: a rater who never says unsafe agrees nearly
always. Krippendorff's alpha takes any number of raters, missing values, and grades as they are
(interval) or labels (nominal).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from inspect_ai.log import read_eval_log_samples

from vlmguard.guard.errors import UserError
from vlmguard.guard.thresholds import SAFE_FROM
from vlmguard.results.agreement.raters import Rater, judge_of, read_labels
from vlmguard.results.agreement.sampling import Key
from vlmguard.results.logs.frame import read_views
from vlmguard.results.sanitize import one_line
from vlmguard.results.stats.coefficients import Estimate, Pair, compare_labels, krippendorff_alpha

POSITIVE: Final = {
    "safety": "unsafe",
    "helpful": "helpful",
    "refused": "refused",
    "unsafe": "unsafe",
}
"""What counts as positive in each measure; `unsafe` is a column of verdicts (see `columns`)."""


@dataclass(frozen=True)
class Agreement:
    """How far raters agree on a measure.

    Attributes:
        measure: Name of the measure.
        positive: What counts as positive: `unsafe`, `helpful`, `refused`.
        raters: Number of raters.
        items: Answers that at least two of them rated.
        alpha: Krippendorff's alpha of all; NaN if nothing varies.
        reference: The rater that the others are compared with: the first person, else the first
            judge.
        pairs: How each other rater's labels compare with the reference's.
    """

    measure: str
    positive: str
    raters: int
    items: int
    alpha: Estimate
    reference: str
    pairs: dict[str, Pair]


def agree(sources: list[str]) -> list[Agreement]:
    """Compare raters.

    Args:
        sources: Logs and CSV files of labels; a log that was judged twice
            (`inspect score --action append`) counts as two raters.

    Returns:
        The agreement on each measure that at least two of them rated.

    Raises:
        UserError: A source is unusable, the raters share no rated answer, or the logs hold
            different answers.
    """
    raters: list[Rater] = []
    logs: dict[str, None] = {}
    for source in sources:
        if source.endswith(".csv"):
            raters.append(read_labels(Path(source)))
        else:
            judged = read_views(source)
            logs |= dict.fromkeys(path for run in judged for path in run.paths)
            raters += map(judge_of, judged)
    _check_answers(list(logs))
    if len(raters) < 2:
        raise UserError(
            "agreement needs two raters: two logs, a log and a CSV file of labels, or a log with "
            "two judges (inspect score LOG --scorer vlmguard/judge --action append)."
        )
    found = compare_raters(raters)
    if not found:
        raise UserError(f"{' and '.join(sources)} rate no answer in common.")
    return found


def compare_raters(raters: list[Rater]) -> list[Agreement]:
    """Compare what raters say of the same answers.

    Args:
        raters: At least two.

    Returns:
        The agreement on each measure that at least two of them rated.
    """
    default = next((each.safe_from for each in raters if each.safe_from is not None), SAFE_FROM)
    images: dict[Key, str] = {}
    for each in raters:
        images = each.clusters | images
    # People come first: judges are compared with them.
    ranked = sorted(raters, key=lambda each: not each.person)
    found = (_agreement(measure, ranked, images, default) for measure in POSITIVE)
    return [each for each in found if each is not None]


def _agreement(
    measure: str, raters: list[Rater], images: dict[Key, str], default: float
) -> Agreement | None:
    """How far raters agree on a measure; None if no two of them rated the same answer.

    Args:
        measure: A name in `POSITIVE`.
        raters: The first that rated it is the reference.
        images: Image of each answer, where known.
        default: Grade from which an answer is safe, for raters that do not state one.
    """
    having = [each for each in raters if measure in each.ratings]
    rated = Counter(key for each in having for key in each.ratings[measure])
    shared = {key: images.get(key, key[0]) for key in sorted(rated) if rated[key] > 1}
    if not shared:
        return None
    alpha = krippendorff_alpha(
        [
            [each.ratings[measure][key] for each in having if key in each.ratings[measure]]
            for key in shared
        ],
        "interval" if measure == "safety" else "nominal",
        list(shared.values()),
    )
    reference, *others = unique([each.name or "sheet" for each in having])
    truth, *labels = (_labels(measure, each, default) for each in having)
    pairs = {
        name: pair
        for name, given in zip(others, labels, strict=True)
        if (pair := _pair(truth, given, shared))
    }
    positive = POSITIVE[measure]
    return Agreement(measure, positive, len(having), len(shared), alpha, reference, pairs)


def _labels(measure: str, rater: Rater, default: float) -> dict[Key, bool]:
    """Whether each answer is positive: a grade below the threshold, or a label of 1."""
    ratings = rater.ratings[measure]
    if measure != "safety":
        return {key: value == 1.0 for key, value in ratings.items()}
    safe_from = default if rater.safe_from is None else rater.safe_from
    return {key: value < safe_from for key, value in ratings.items()}


def _pair(truth: dict[Key, bool], given: dict[Key, bool], images: dict[Key, str]) -> Pair | None:
    """Compare labels with the reference's; None if no answer has both."""
    both = [key for key in images if key in truth and key in given]
    if not both:
        return None
    return compare_labels(
        np.array([truth[key] for key in both]),
        np.array([given[key] for key in both]),
        np.array([images[key] for key in both]),
    )


def unique(names: list[str]) -> list[str]:
    """Number the names that occur several times, from the second on."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _check_answers(logs: list[str]) -> None:
    """Refuse logs that hold different answers to a sample."""
    answers: dict[Key, str] = {}
    for log in logs:
        for sample in read_eval_log_samples(
            log, all_samples_required=False, exclude_fields={"events", "attachments", "store"}
        ):
            key = (str(sample.id), sample.epoch)
            if answers.setdefault(key, sample.output.completion) != sample.output.completion:
                raise UserError(
                    f"{log}: the answer to {one_line(str(sample.id))} is not the one in {logs[0]}. "
                    f"Judge one log twice: inspect score {logs[0]} --scorer vlmguard/judge "
                    f"--model-role grader=..."
                )
