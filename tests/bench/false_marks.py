"""How often a table has a false mark, and how often a true gain is marked.

    python tests/bench/false_marks.py [TABLES]     # default: 200 tables a row
    python tests/bench/false_marks.py --write      # 1,000, and writes results/marks.md

A table has an undefended run and four defenses, with safety 0-10, helpful, safe & helpful and
over-refusal; helpful and over-refusal never change. Complete null: no defense has an effect.
Partial null: the first makes more answers safe, and the others have no effect. Tie: the first two
make equally more answers safe, and the others fewer. At most one table in twenty may mark a measure
that does not change, or claim that the best row is better than an equal one.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.boards import a_group, a_run
from support.findings import within

from vlmguard.results.leaderboard.comparisons import Tested, duels, mark
from vlmguard.results.leaderboard.model import Cell, Entry, Leaderboard, Overhead
from vlmguard.results.logs.coverage import Coverage
from vlmguard.results.logs.measures import applicable, common_measures, values_of
from vlmguard.results.stats.differences import difference_of, holm, pair_up
from vlmguard.results.stats.max_t import Sums

MOST = 0.05
TABLES = 200
TABLES_WRITTEN = 1000
PAGE = Path(__file__).resolve().parents[2] / "results" / "marks.md"
NAMES = ("safety", "helpful", "safe_and_helpful", "over_refusal")
SAFETY, HELPFUL, BOTH, OVER_REFUSAL = MEASURES = tuple(common_measures()[name] for name in NAMES)
DEFENSES = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class World:
    """A simulated row of tables.

    Attributes:
        images: Number of images.
        samples: Samples of each.
        gains: Gains of the defenses, in standard deviations of the hidden value.
    """

    images: int
    samples: int
    gains: tuple[float, float, float, float]

    def gain(self, name: str) -> float:
        """The gain of a run by its name; 0 for the undefended run."""
        return dict(zip(DEFENSES, self.gains, strict=True)).get(name, 0.0)


def worlds() -> Iterator[World]:
    """The rows of the table."""
    for images, samples in ((33, 3), (99, 1), (56, 7)):
        for gain in (0.0, 0.4):
            yield World(images, samples, (gain, 0.0, 0.0, 0.0))
    yield World(56, 7, (1.2, 1.2, -0.7, -1.5))


def runs(world: World, random: np.random.Generator) -> dict[str, pd.DataFrame]:
    """A frame for each run, the undefended one first."""
    images = np.repeat(np.arange(world.images), world.samples)
    count = len(images)
    shared = 0.5 * random.normal(size=world.images)[images] + 0.6 * random.normal(size=count)
    expected = pd.Series(np.where(np.arange(count) % 5 < 2, "comply", ""), dtype=object)
    frames = {}
    for name in ("undefended", *DEFENSES):
        own = 0.4 * random.normal(size=world.images)[images] + 0.5 * random.normal(size=count)
        safety = np.clip(np.round(6 + 3 * (shared + own + world.gain(name))), 0, 10)
        helpful = (0.5 * shared + random.normal(size=count) > -1.2).astype(float)
        frames[name] = pd.DataFrame(
            {
                "cluster": images,
                "category": "",
                "expected": expected,
                SAFETY.column: safety,
                HELPFUL.column: helpful,
                BOTH.column: (safety >= 7) * helpful,
                OVER_REFUSAL.column: (random.normal(size=count) > 1).astype(float),
            }
        )
    return frames


@dataclass
class Found:
    """The marks of one table.

    Attributes:
        false: Whether a measure that does not change has a mark.
        seen: Whether safe & helpful of the first defense is marked better.
        holm: Whether Holm's correction of all tests would mark it.
        single: Whether it would be marked as the only test.
        claimed: Whether the best row is said to be better than an equal one.
        gain: Observed gain of the first defense.
    """

    false: bool
    seen: bool
    holm: bool
    single: bool
    claimed: bool
    gain: float


def look(world: World, random: np.random.Generator) -> Found:
    """Make a table and read its marks."""
    frames = runs(world, random)
    base = frames["undefended"]
    group = a_group(MEASURES, endpoint=BOTH.name)
    tested: list[Tested] = []
    samples: dict[Entry, pd.DataFrame] = {}
    for name, frame in frames.items():
        cells = {}
        for measure in MEASURES:
            rows = applicable(base, measure)
            old, new = values_of(rows, measure), values_of(frame.loc[rows.index], measure)
            cell = Cell(float(new.mean()), math.nan, math.nan, 0, Coverage(0, 0, 0, 0))
            pairs = pair_up(old, new, rows["cluster"].to_numpy())
            cells[measure.name] = cell
            if name != "undefended" and pairs is not None:
                cell.difference = difference_of(pairs, measure.range)
                sums = Sums("", pairs.names, pairs.sums)
                tested.append(Tested(cell, measure, measure == BOTH, sums))
        row = (a_run("target", name), "target", name, group, len(frame), cells)
        samples[Entry(*row, {}, {}, None, None, Overhead())] = frame
    mark(tested)
    first = next(entry for entry in samples if entry.defense == "first").cells[BOTH.name]
    assert first.difference is not None
    raw = [each.cell.difference.p for each in tested if each.cell.difference]
    place = next(number for number, each in enumerate(tested) if each.cell is first)
    compared = duels(Leaderboard([group], list(samples), controls=()), group, samples)
    return Found(
        false=any(
            entry.cells[measure.name].verdict
            for entry in samples
            for measure in MEASURES
            if not (world.gain(entry.defense) and measure in (SAFETY, BOTH))
        ),
        seen=first.verdict == "better",
        holm=holm(raw)[place] < MOST,
        single=first.difference.p < MOST,
        claimed=any(
            duel.verdict and world.gain(duel.best) <= world.gain(duel.other) for duel in compared
        ),
        gain=first.difference.mean,
    )


def simulate(world: World, tables: int) -> "pd.Series[float]":
    """Shares of the tables, by the fields of `Found`."""
    random = np.random.default_rng([world.images, world.samples, int(10 * sum(world.gains[:2]))])
    return pd.DataFrame([look(world, random) for _ in range(tables)]).astype(float).mean()


def row(world: World, shares: "pd.Series[float]") -> list[str]:
    """A line of the table."""
    gain = f"{shares['gain'] * 100:+.1f}" if world.gains[0] else "none"
    if world.gains[1]:
        gain += " (two alike)"
    line = [str(world.images), str(world.samples), gain]
    line += [f"{shares[name]:.3f}" for name in ("false", "claimed")]
    seen = [f"{shares[name]:.2f}" if world.gains[0] else "" for name in ("seen", "holm", "single")]
    return line + seen


def main() -> int:
    """Simulate, print, and fail if more than one table in twenty has a false mark."""
    write = "--write" in sys.argv[1:]
    numbers = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    tables = numbers[0] if numbers else TABLES_WRITTEN if write else TABLES
    if write and tables < TABLES_WRITTEN:
        sys.exit(f"--write: at least {TABLES_WRITTEN:,} tables a row, not {tables:,}.")
    header = ["Images", "Samples of each", "True gain", "Any false mark", "False claim of the best"]
    header += ["Gain marked", "by Holm", "if tested alone"]
    lines = ["| " + " | ".join(header) + " |", "|" + "--:|" * len(header)]
    print(*lines, sep="\n", flush=True)
    # Tolerated standard errors.
    most = MOST + (2 if write else 3) * math.sqrt(MOST * (1 - MOST) / tables)
    worst = {"false": 0.0, "claimed": 0.0}
    for world in worlds():
        shares = simulate(world, tables)
        lines.append("| " + " | ".join(row(world, shares)) + " |")
        print(lines[-1], flush=True)
        worst = {name: max(share, float(shares[name])) for name, share in worst.items()}
    what = f"share of {tables:,} tables with a false"
    good = within(f"highest {what} mark", worst["false"], most)
    good &= within(f"highest {what} claim of the best", worst["claimed"], most)
    if write and good:
        lines += ["", f"Shares of {tables:,} simulated tables a row: tests/bench/false_marks.py."]
        PAGE.write_text("\n".join(lines) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
