"""The gate: has a change made anything worse than the baseline?

    vlmguard gate logs --baseline baseline.json --update    # once, and after good changes
    vlmguard gate logs --baseline baseline.json             # in CI

Each measure is compared sample by sample: over all samples, within each slice, and within
each category of at least ten samples in the baseline. A baseline that was written from two runs
that agree sample by sample is deterministic: each loss above the tolerance counts. Otherwise a loss
must be significant by the exact test of the leaderboard, one-sided, with Holm's correction over all
measures of the gate, and a second one over all slices and categories. Losses that are not
significant are reported with the smallest loss that could be.
Exit status: 0 as good or better, 1 worse, 2 not comparable.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vlmguard.results.gate.baseline import FIXED_BY, Reading, Scores
from vlmguard.results.gate.comparable import Limits, changes, helped, unfit
from vlmguard.results.gate.losses import Part, kinds, part, smallest_provable
from vlmguard.results.gate.matching import match
from vlmguard.results.logs.measures import Measure, weighted
from vlmguard.results.stats.differences import holm

ALPHA: Final = 0.04
"""Chance of a false alarm over all samples."""
ALPHA_OF_PARTS: Final = 0.01
"""The same in slices and categories: together one in twenty."""
TOLERANCE: Final = 0.02
"""Loss that is tolerated, as a share of a measure's range."""
_NAMED: Final = 5

Status = Literal["good", "unproven", "worse", "incomparable"]


@dataclass
class Finding:
    """A result of the gate: about a measure of a run, or about a whole run.

    Attributes:
        run: Label of the run.
        measure: Name of the measure; empty for a whole run.
        status: `good`, `unproven` (a loss above the tolerance that may be chance), `worse`,
            `incomparable`.
        message: One sentence.
    """

    run: str
    measure: str
    status: Status
    message: str


@dataclass(frozen=True)
class Comparison:
    """A measure of a run beside its baseline, ready to be tested.

    Attributes:
        run: Label of the run.
        measure: The measure.
        whole: All samples.
        parts: Slices and categories.
        left_out: Samples that have a value on one side only.
        certain: Whether the baseline is deterministic, so that each loss counts.
        remark: If so, which versions have changed since.
    """

    run: str
    measure: Measure
    whole: Part
    parts: list[Part]
    left_out: int
    certain: bool
    remark: str


def compare(
    baseline: list[Scores],
    current: list[tuple[Scores, Reading]],
    limits: Limits,
) -> list[Finding]:
    """Compare runs with a baseline.

    Args:
        baseline: Scores of the runs to compare with.
        current: Scores of the runs to check and how to read them.
        limits: Tolerances.

    Returns:
        A finding for each measure, and for each run that cannot be compared.
    """
    findings: list[Finding] = []
    compared: list[Comparison] = []
    rows = helped(current)
    readings = {scores.key: reading for scores, reading in current}
    for each in match(baseline, [scores for scores, _ in current]):
        old, new = each.old, each.new
        if new is None:
            problems = [
                "in the baseline, but no log of it was given; name its log too, or drop it from "
                "the baseline: delete the file and write it anew with --update"
            ]
        elif old is None:
            problems = ["not in the baseline; --update adds it"]
        else:
            reading = readings[new.key]
            problems = [*changes(old, new, reading, limits), *unfit(new, reading, limits, rows)]
            if not problems:
                compared += [
                    _comparison(each.name, name, old, new, reading) for name in new.measures
                ]
        findings += [Finding(each.name, "", "incomparable", text) for text in problems]
    return findings + decide(compared, limits)


def provable(scores: Scores, reading: Reading, tests: int) -> dict[str, str]:
    """How large a loss must be to be proven against a baseline that is not deterministic.

    Args:
        scores: The baseline.
        reading: How to read it.
        tests: Number of measures, of all runs in the baseline, that are tested together.

    Returns:
        The smallest such loss over all samples, by measure, as text.
    """
    found = {}
    for name in scores.measures:
        whole = _comparison("", name, scores, scores, reading).whole
        limit = smallest_provable(whole, ALPHA / tests)
        found[name] = "none" if math.isnan(limit) else reading.measures[name].show(limit)
    return found


def exit_status(findings: list[Finding], strict: bool) -> int:
    """0 as good or better, 1 worse, 2 not comparable (or, if strict, not proven)."""
    statuses = {finding.status for finding in findings}
    if "worse" in statuses:
        return 1
    unsure = {"incomparable", "unproven"} if strict else {"incomparable"}
    return 2 if not findings or statuses & unsure else 0


def _comparison(run: str, name: str, old: Scores, new: Scores, reading: Reading) -> Comparison:
    """Pair a measure with its baseline; at least one sample must have a value in both."""
    before, after = old.values(name), new.values(name)
    shared = sorted(before.keys() & after.keys())
    held = [sample for sample in shared if before[sample] is not None]
    samples = [sample for sample in held if after[sample] is not None]
    either = [
        sample for sample in shared if before[sample] is not None or after[sample] is not None
    ]
    measure = reading.measures[name]
    better = float(measure.better)
    olds, news = (
        np.array([values[sample] for sample in samples], dtype=np.float64) * better
        for values in (before, after)
    )
    possible = olds - (0.0 if better > 0 else -measure.highest)
    clusters = np.array(new.images(samples))
    # If the headline is a mean over categories, so is the loss.
    categories = [reading.categories[sample] for sample in samples]
    weights = weighted(np.ones(len(samples)), categories, measure)
    whole = part("", olds * weights, news * weights, possible * weights, clusters, samples)
    parts = [
        part(kind, olds[at], news[at], possible[at], clusters[at], [samples[place] for place in at])
        for kind, at in kinds(samples, held, reading).items()
    ]
    certain, remark = _certain(old, reading)
    return Comparison(run, measure, whole, parts, len(either) - len(samples), certain, remark)


def _certain(old: Scores, reading: Reading) -> tuple[bool, str]:
    """Whether the baseline is deterministic for this run, and which versions have changed since."""
    noted, now = old.deterministic, reading.fixed_by
    if not noted or any(noted[fact] != now[fact] for fact in FIXED_BY):
        return False, ""
    if noted["versions"] == now["versions"]:
        return True, ""
    return True, f"; made with {noted['versions']}, now {now['versions']}"


def decide(compared: list[Comparison], limits: Limits) -> list[Finding]:
    """A finding for each measure; all tests are corrected together.

    Args:
        compared: Measures beside their baselines.
        limits: Tolerances.
    """
    tested = [each for each in compared if not each.certain]
    pieces = [piece for each in tested for piece in each.parts]
    of_wholes = iter(holm([each.whole.p for each in tested]))
    of_parts = iter(holm([piece.p for piece in pieces]))
    findings = []
    for each in compared:
        tolerance = limits.tolerance.get(each.measure.name, TOLERANCE * each.measure.highest)
        worse, unproven = [], []
        for piece in (each.whole, *each.parts):
            proven, level = True, 1.0
            if not each.certain and piece is each.whole:
                proven, level = next(of_wholes) < ALPHA, ALPHA / len(tested)
            elif not each.certain:
                proven, level = next(of_parts) < ALPHA_OF_PARTS, ALPHA_OF_PARTS / len(pieces)
            # A little more, so that rounding cannot push a loss over the tolerance.
            if -piece.gain <= tolerance + 1e-9:
                continue
            if proven:
                worse.append((piece, _loss(each.measure, piece)))
            else:
                limit = smallest_provable(piece, level)
                told = f"{_loss(each.measure, piece)}, not proven ({_limit(each.measure, limit)})"
                unproven.append((piece, told))
        findings.append(_finding(each, tolerance, worse, unproven))
    return findings


_Losses = list[tuple[Part, str]]


def _finding(each: Comparison, tolerance: float, worse: _Losses, unproven: _Losses) -> Finding:
    measure, whole = each.measure, each.whole
    moved = measure.show(whole.gain, True)
    word = "change" if moved.startswith("-") else "gain"
    gain = f"{word} of {moved} on {len(whole.samples)} samples"
    status: Status = "good"
    said = gain
    if lost := worse + unproven:
        status = "worse" if worse else "unproven"
        of_whole = [told for piece, told in lost if piece is whole]
        # Proven losses come first, and of these the largest.
        of_parts = [
            told
            for losses in (worse, unproven)
            for piece, told in sorted(losses, key=lambda item: item[0].gain)
            if piece is not whole
        ]
        if of_whole:
            said = "; ".join([*of_whole, *_few(of_parts)])
        else:
            said = f"{gain}, but {'; '.join(_few(of_parts))}"
        said += f"; tolerance {measure.show(tolerance)}"
        if worse:
            samples = max((piece.lost for piece, _ in worse), key=len)
            said += f"; lost in {len(samples)}: {', '.join(_few(samples))}{each.remark}"
    if each.left_out:
        said += f"; {each.left_out} more have a value on one side only"
    return Finding(each.run, measure.name, status, f"{measure.label}: {said}")


def _loss(measure: Measure, piece: Part) -> str:
    of = f" of {piece.name}" if piece.name else ""
    return f"loss of {measure.show(-piece.gain)} on {len(piece.samples)} samples{of}"


def _limit(measure: Measure, smallest: float) -> str:
    if math.isnan(smallest):
        return "too few images to prove any loss"
    return f"smallest provable loss: {measure.show(smallest)}"


def _few(texts: list[str]) -> list[str]:
    more = len(texts) - _NAMED
    return [*texts[:_NAMED], f"{more} more"] if more > 0 else texts
