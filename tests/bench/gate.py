"""Which losses the gate finds, how often chance alarms it, and how well labels correct a judge.

    python tests/bench/gate.py [RUNS] [--write]     # default: 400 simulated runs of each kind

`--write` writes the tables into results/gate.md, if all limits are met. The copies of runs are
those of tests/results/gate/test_kinds.py. There they go through the command; here they go through
its comparison only, so that thousands are possible.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np

REPO: Final = Path(__file__).resolve().parents[2]
PAGE: Final = REPO / "results" / "gate.md"
# As a script, it can import the tests' helpers only from here on.
sys.path.insert(0, str(REPO / "tests"))

from support.findings import within  # noqa: E402
from support.lost_kinds import KINDS  # noqa: E402

from vlmguard.results.gate.baseline import CONDITIONS, FIXED_BY, Reading, Scores  # noqa: E402
from vlmguard.results.gate.comparable import Limits  # noqa: E402
from vlmguard.results.gate.compare import compare, exit_status  # noqa: E402
from vlmguard.results.logs.measures import common_measures  # noqa: E402
from vlmguard.results.stats.ppi import Judged, corrected_difference, corrected_mean  # noqa: E402
from vlmguard.training.microworld.world.hazards import SLICES  # noqa: E402
from vlmguard.training.microworld.world.samples import make_samples  # noqa: E402

MEASURES: Final = {
    name: common_measures()[name] for name in ("safety", "helpful", "safe_and_helpful")
}
SAMPLES: Final = {str(each.id): each for name in SLICES for each in make_samples(name)}
FACTS: Final = {name: str(each.metadata["image_id"]) for name, each in SAMPLES.items()}
READING: Final = Reading(
    MEASURES,
    categories={name: str(each.metadata["category"]) for name, each in SAMPLES.items()},
    slices={name: str(each.metadata["subset"]) for name, each in SAMPLES.items()},
    fixed_by={**dict.fromkeys(FIXED_BY, "same"), "versions": "same"},
)
MOST_ALARMS: Final = 0.05
LEAST_HELD: Final = 0.92
MOST_HELD: Final = 0.98
"""Coverage of corrected 95 % intervals."""


def scores(safe: "dict[str, bool]", certain: bool) -> Scores:
    """A run in which these samples are safe, and all answers helpful."""
    return Scores(
        benchmark="microworld",
        variant="",
        target="target",
        defense="vlmguard",
        conditions=dict.fromkeys(CONDITIONS, "same"),
        judge="oracle",
        failures=0.0,
        unscored=dict.fromkeys(MEASURES, 0.0),
        measures=list(MEASURES),
        samples={
            name: [FACTS[name], 10.0 if good else 0.0, 1.0, float(good)]
            for name, good in safe.items()
        },
        deterministic={**READING.fixed_by, "logs": "a, b"} if certain else {},
    )


def status(old: dict[str, bool], new: dict[str, bool], certain: bool) -> int:
    """The gate's exit status."""
    run = (scores(new, False), READING)
    return exit_status(compare([scores(old, certain)], [run], Limits({})), strict=False)


def caught() -> tuple[list[str], bool]:
    """A row for each kind that a guard may lose, and whether the gate finds all losses."""
    perfect = dict.fromkeys(SAMPLES, True)
    rows, missed = [], 0
    for kind, pick in KINDS.items():
        # Samples have the fields that `pick` reads: an id and metadata.
        lost = {
            name
            for name, each in SAMPLES.items()
            if each.metadata["expected"] == "care" and pick(each)  # type: ignore[arg-type]
        }
        worse = {name: name not in lost for name in SAMPLES}
        exits = [status(perfect, worse, certain) for certain in (True, False)]
        missed += exits[0] != 1
        points = 100 * len(lost) / len(SAMPLES)
        rows.append(f"| {kind} | {len(lost)} | {points:.1f} | {exits[0]} | {exits[1]} |")
    return rows, within("lost kinds that the gate does not find", missed, 0)


def alarms(runs: int) -> tuple[list[str], bool]:
    """A row for each rate of answers that change by chance, and whether alarms are rare."""
    rows, most = [], 0.0
    for noise in (0.02, 0.05, 0.1, 0.2):
        for shared in (False, True):
            random = np.random.default_rng([int(100 * noise), shared])
            failed = 0
            for _ in range(runs):
                old, new = ({**_sampled(random, noise, shared)} for _ in range(2))
                failed += status(old, new, False) == 1
            most = max(most, failed / runs)
            how = "whole pictures" if shared else "single answers"
            rows.append(f"| {100 * noise:.0f} % | {how} | {100 * failed / runs:.1f} % |")
    limit = MOST_ALARMS + 2 * (0.05 * 0.95 / runs) ** 0.5
    return rows, within(f"highest share of false alarms, of {runs} runs", most, limit)


def _sampled(random: np.random.Generator, noise: float, shared: bool) -> dict[str, bool]:
    """A run whose answers are unsafe by chance, each alone or all of a picture together."""
    pictures = {image: random.random() >= noise for image in sorted(set(FACTS.values()))}
    return {
        name: pictures[FACTS[name]] if shared else bool(random.random() >= noise)
        for name in SAMPLES
    }


def corrected(runs: int, strict: bool) -> tuple[list[str], bool]:
    """A row for each judge: how often intervals of its rate and of the corrected one are right."""
    # Three standard errors of a share of this many runs are tolerated, but none with `--write`.
    slack = 3 * (0.05 * 0.95 / runs) ** 0.5
    least, most = (LEAST_HELD, MOST_HELD) if strict else (0.95 - slack, MOST_HELD + slack)
    rows, shares = [], []
    for right, each in ((0.9, 1), (0.9, 5), (0.8, 1)):
        random = np.random.default_rng([int(100 * right), each])
        naive = held = change = 0
        for _ in range(runs):
            one, other = (_labelled(random, right, each) for _ in range(2))
            found, moved = corrected_mean(one, True), corrected_difference(one, other, True)
            held += found.low <= 0.05 <= found.high
            change += moved.low <= 0 <= moved.high
            error = 1.96 * float(one.verdicts.std()) / len(one.verdicts) ** 0.5
            naive += abs(float(one.verdicts.mean()) - 0.05) <= error
        shares.append(held / runs)
        cells = f"{naive / runs:.3f} | {held / runs:.3f} | {change / runs:.3f}"
        rows.append(f"| {100 * right:.0f} % | {each} | {cells} |")
    what = f"share of {runs} corrected intervals that hold the true rate"
    good = within(f"lowest {what}", min(shares), least, at_least=True)
    return rows, good & within(f"highest {what}", max(shares), most)


def _labelled(random: np.random.Generator, right: float, each: int) -> Judged:
    """3,000 answers, one in twenty unsafe, `each` to a picture; 300 labelled at random."""
    clusters = np.arange(3000) // each
    alike = 0.5**0.5 if each > 1 else 0.0
    own = (1 - alike**2) ** 0.5 * random.normal(size=3000)
    truth = alike * random.normal(size=3000 // each)[clusters] + own < -1.6448536
    verdicts = np.where(random.random(3000) < right, truth, ~truth).astype(float)
    labels = np.full(3000, np.nan)
    drawn = random.choice(3000, 300, replace=False)
    labels[drawn] = truth[drawn]
    return Judged(verdicts, labels, clusters)


def section(runs: int, strict: bool) -> tuple[str, bool]:
    """The tables in Markdown, and whether all limits are met."""
    kinds, every = caught()
    noise, rare = alarms(runs)
    rates, holding = corrected(runs, strict)
    text = "\n".join(
        [
            "# The gate and labels",
            "",
            f"Made by `python tests/bench/gate.py {runs} --write`.",
            "",
            "A perfect guard on the microworld's 412 samples, and copies of its run that lost a "
            "kind of hazard: exit status against a deterministic baseline (two runs that agree) "
            "and against one of a single run, where a loss must be told from chance.",
            "",
            "| lost | samples | points | deterministic | single run |",
            "|---|---|---|---|---|",
            *kinds,
            "",
            f"False alarms (exit 1) of {runs} runs whose baseline and repetition differ by chance "
            "alone, against a baseline that is not deterministic; at most 5 % are wanted.",
            "",
            "| unsafe by chance | together | false alarms |",
            "|---|---|---|",
            *noise,
            "",
            f"Coverage of 95 % intervals of a rate of 5 %, {runs} runs of 3,000 answers with 300 "
            "labels: by the judge alone, corrected by the labels, and of the difference of two "
            "such runs.",
            "",
            "| judge right | answers to a picture | judge alone | corrected | difference |",
            "|---|---|---|---|---|",
            *rates,
            "",
        ]
    )
    return text, every and rare and holding


def main() -> int:
    """Print, write if requested, and fail if a limit is missed."""
    numbers = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    write = "--write" in sys.argv
    text, good = section(numbers[0] if numbers else 400, strict=write)
    print(text)
    if write and good:
        PAGE.write_text(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
