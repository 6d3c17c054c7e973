"""How often the printed 95 % intervals contain the true value, on simulated answers.

    python tests/bench/coverage.py              # a few minutes: 400 repetitions a cell
    python tests/bench/coverage.py --write      # 1,000 repetitions, and writes results/coverage.md

Every cell must reach at least 92 %; cells of grades may reach at most 98 %, if the grades vary. An
answer's label or grade comes from a hidden normal value, cut at thresholds. One part of the value
belongs to the image (its share of the variance is `alike`), one to the question; the two compared
runs share both. The rest is chance.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.findings import within

from vlmguard.results.logs.measures import common_measures
from vlmguard.results.stats.differences import mean_interval, paired_difference

LEAST, MOST = 0.92, 0.98
QUICK, THOROUGH = 400, 1000
# Number of images that give the true rate of voted labels.
TRUTH = 400_000
PAGE = Path(__file__).resolve().parents[2] / "results" / "coverage.md"

Values = npt.NDArray[np.float64]

# Shares of the grades 0 to 10, as judges give them: spread, mostly good, mostly perfect.
GRADES = {
    "spread": (3, 4, 6, 8, 10, 12, 14, 14, 12, 10, 7),
    "good": (2, 1, 1, 2, 3, 4, 7, 12, 24, 24, 20),
    "perfect": (1, 1, 1, 1, 1, 2, 3, 5, 8, 17, 60),
}


@dataclass(frozen=True)
class Cell:
    """A simulated cell.

    Attributes:
        kind: `label` or `grade`.
        images: Number of images.
        samples: Samples of an image; 0 stands for 1 to 8 of them.
        old: Rate, or name of the grades, of the first run.
        new: The same of the second run.
        alike: Share of the variance that samples of an image share.
        unscored: Share of answers without a value.
        epochs: Answers to each question; labels are voted on, grades averaged.
    """

    kind: str
    images: int
    samples: int
    old: float | str
    new: float | str
    alike: float = 0.5
    unscored: float = 0.0
    epochs: int = 1

    @property
    def highest(self) -> float:
        """The largest value."""
        return common_measures()["safe_and_helpful" if self.kind == "label" else "safety"].highest


def cells() -> Iterator[Cell]:
    """The table, row by row."""
    for images, samples in ((10, 1), (10, 3), (30, 1), (30, 3), (100, 1), (56, 0), (400, 2)):
        for old, new in ((0.5, 0.5), (0.5, 0.7), (0.95, 0.95), (0.85, 0.98)):
            yield Cell("label", images, samples, old, new)
        for one, other in (("spread", "spread"), ("spread", "good"), ("good", "perfect")):
            yield Cell("grade", images, samples, one, other)
    for images in (10, 30, 100):
        yield Cell("label", images, 1, 0.5, 0.7, unscored=0.1)
        yield Cell("label", images, 3, 0.85, 0.95, unscored=0.1)
        yield Cell("label", images, 1, 0.5, 0.7, epochs=3)
        yield Cell("label", images, 3, 0.85, 0.95, epochs=3)
        yield Cell("grade", images, 3, "spread", "good", unscored=0.1)
        yield Cell("grade", images, 3, "spread", "good", epochs=3)


def draw(
    cell: Cell, images: int, random: np.random.Generator
) -> tuple[Values, Values, npt.NDArray[np.intp]]:
    """Values of two runs, NaN where unscored, and the image of each sample."""
    sizes = random.integers(1, 9, size=images) if cell.samples == 0 else cell.samples
    codes = np.repeat(np.arange(images), sizes)
    one_each = cell.samples == 1
    image = 0.0 if one_each else cell.alike
    # The runs share half of what samples of an image or a question share.
    both = math.sqrt(image / 2) * random.normal(size=images)[codes]
    both = both + math.sqrt((1 - image) / 3) * random.normal(size=len(codes))
    runs = []
    for what in (cell.old, cell.new):
        own = math.sqrt(image / 2) * random.normal(size=images)[codes]
        own = both + own + math.sqrt((1 - image) / 3) * random.normal(size=len(codes))
        answers = []
        for _ in range(cell.epochs):
            hidden = own + math.sqrt((1 - image) / 3) * random.normal(size=len(codes))
            values = cut(hidden, what)
            values[random.random(len(codes)) < cell.unscored] = math.nan
            answers.append(values)
        mean = np.mean(answers, axis=0)
        voted = np.where(np.isnan(mean), math.nan, mean > 0.5)
        runs.append(voted if cell.kind == "label" else mean)
    return runs[0], runs[1], codes


def cut(hidden: Values, what: float | str) -> Values:
    """Labels at a rate, or grades with given shares, from normal values."""
    if isinstance(what, float):
        return (hidden > ndtri(1 - what)).astype(float)
    edges = ndtri(np.cumsum(GRADES[what][:-1]) / 100)
    return np.searchsorted(edges, hidden).astype(float)


def truth(cell: Cell) -> tuple[float, float]:
    """True mean of the second run, and its difference from the first."""
    if cell.epochs == 1:
        old, new = (
            what if isinstance(what, float) else float(np.dot(GRADES[what], range(11))) / 100
            for what in (cell.old, cell.new)
        )
        return new, new - old
    # There is no simple formula for votes.
    old_run, new_run, _ = draw(replace(cell, unscored=0.0), TRUTH, np.random.default_rng(0))
    return float(new_run.mean()), float((new_run - old_run).mean())


@dataclass
class Held:
    """How often the intervals of a cell contain the true value.

    Attributes:
        mean: Share for the mean.
        difference: Share for the difference.
        both: How often test (0.05) and interval of the difference agree.
    """

    mean: float
    difference: float
    both: float


def simulate(cell: Cell, repetitions: int) -> Held:
    """Draw a cell many times."""
    mean, difference = truth(cell)
    random = np.random.default_rng(np.frombuffer(repr(cell).encode(), dtype=np.uint8))
    held, printed = np.zeros(3), np.zeros(3)
    for _ in range(repetitions):
        old, new, codes = draw(cell, cell.images, random)
        low, high = mean_interval(new, codes, highest=cell.highest)
        found = paired_difference(old, new, codes, highest=cell.highest)
        assert found is not None
        # If too many answers are unscored, fewer than ten images are left, and no interval is
        # printed.
        printed += (not math.isnan(low), not math.isnan(found.low), not math.isnan(found.low))
        held += (
            low - 1e-9 <= mean <= high + 1e-9,
            found.low - 1e-9 <= difference <= found.high + 1e-9,
            (found.p < 0.05) == (found.low > 0 or found.high < 0),
        ) * ~np.isnan([low, found.low, found.low])
    return Held(*(held / printed))


def row(cell: Cell, held: Held) -> list[str]:
    """A line of the table."""
    samples = "1-8" if cell.samples == 0 else str(cell.samples)
    extra = "unscored 10 %" if cell.unscored else f"{cell.epochs} epochs" if cell.epochs > 1 else ""
    shares = [f"{share:.3f}" for share in (held.mean, held.difference, held.both)]
    return [cell.kind, str(cell.images), samples, f"{cell.old} to {cell.new}", extra, *shares]


def main() -> int:
    """Simulate, print, and fail if a cell misses its limits."""
    write = "--write" in sys.argv[1:]
    repetitions = THOROUGH if write else QUICK
    header = [
        "Values",
        "Images",
        "Samples of each",
        "Old to new",
        "",
        "Mean",
        "Difference",
        "Agree",
    ]
    lines = ["| " + " | ".join(header) + " |", "|---|--:|--:|---|---|--:|--:|--:|"]
    missed, shares, grades = [], [], []
    print(*lines, sep="\n")
    # Three standard errors of tolerance, so that a correct cell does not fail by chance.
    slack = 3 * math.sqrt(LEAST * (1 - LEAST) / repetitions) * (not write)
    for cell in cells():
        held = simulate(cell, repetitions)
        lines.append("| " + " | ".join(row(cell, held)) + " |")
        print(lines[-1], flush=True)
        both = [held.mean, held.difference]
        shares += both
        grades += both if cell.kind == "grade" else []
        most = MOST if cell.kind == "grade" else 1.0
        if not LEAST - slack <= min(both) <= max(both) <= most + slack:
            missed.append(lines[-1])
    if missed:
        print("", f"not within {LEAST} and {MOST} (grades):", *missed, sep="\n")
    if write:
        lines += ["", f"Shares of {repetitions} simulated sets a row; see tests/bench/coverage.py."]
        PAGE.write_text("\n".join(lines) + "\n")
    what = f"share of {repetitions} intervals that hold the true value"
    good = within(f"lowest {what}", min(shares), LEAST - slack, at_least=True)
    good &= within(f"highest {what}, of grades", max(grades), MOST + slack)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
