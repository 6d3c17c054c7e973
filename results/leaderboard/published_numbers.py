"""Published numbers of others, with citation and certainty; never ranked with ours.

    # Convert, once, into published.csv:
    python -m vlmguard.results.leaderboard.published_numbers SOURCE.csv

Judges, subsets and scales differ between papers, so these rows have a table of their own.
"""

import sys
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_csv
from vlmguard.results.formats.spreadsheet import csv_text

CERTAINTY: Final = {
    "full-text": "read in the paper's text",
    "author-page": "read on the authors' own page",
    "abstract": "stated in the abstract",
    "secondary": "transcribed by a third party",
    "aggregator": "found on an aggregator's page",
}
FILE: Final = "published.csv"


@dataclass(frozen=True, order=True)
class Published:
    """A number from a publication.

    Attributes:
        benchmark: Name of the benchmark.
        subset: Part of it, as the source names it.
        target: The evaluated model.
        method: The defense; `none (base)` without one.
        metric: The measure as the source names it.
        value: In the source's unit.
        higher_is_better: Which way the measure points.
        source: Citation.
        certainty: A key of `CERTAINTY`.
    """

    benchmark: str
    subset: str
    target: str
    method: str
    metric: str
    value: float
    higher_is_better: bool
    source: str
    certainty: str


def load_published(benchmarks: set[str] | None = None) -> list[Published]:
    """The rows of the packaged table about some benchmarks (names in any case), or all."""
    wanted = None if benchmarks is None else {name.lower() for name in benchmarks}
    with resources.as_file(resources.files("vlmguard.results.leaderboard").joinpath(FILE)) as path:
        lines = read_csv(path)[1]
    rows = [
        Published(
            benchmark=row["benchmark"],
            subset=row["subset"],
            target=row["target"],
            method=row["method"],
            metric=row["metric"],
            value=float(row["value"]),
            higher_is_better=row["higher_is_better"] == "yes",
            source=row["source"],
            certainty=row["certainty"],
        )
        for _, row in lines
    ]
    return [row for row in rows if wanted is None or row.benchmark.lower() in wanted]


def convert(source: Path) -> list[Published]:
    """Check a collected table, and sort it.

    Args:
        source: CSV with the columns method, target_model, benchmark, subset,
            metric, value, higher_is_better, source, certainty.

    Raises:
        UserError: A field is blank or unknown; names line and field.
    """
    rows = []
    for number, row in read_csv(source)[1]:
        blank = [name for name, value in row.items() if name != "subset" and not value]
        if blank:
            raise UserError(f"{source}, line {number}: {blank[0]} is blank. Fill it in.")
        if row["certainty"] not in CERTAINTY or row["higher_is_better"] not in ("yes", "no"):
            raise UserError(
                f"{source}, line {number}: certainty must be one of {', '.join(CERTAINTY)}, "
                f"higher_is_better yes or no."
            )
        try:
            value = float(row["value"])
        except ValueError as error:
            raise UserError(
                f"{source}, line {number}: value {row['value']!r} is no number. Correct it."
            ) from error
        rows.append(
            Published(
                benchmark=row["benchmark"],
                subset=row["subset"],
                target=row["target_model"],
                method=row["method"],
                metric=row["metric"],
                value=value,
                higher_is_better=row["higher_is_better"] == "yes",
                source=row["source"],
                certainty=row["certainty"],
            )
        )
    return sorted(rows)


def as_csv(rows: list[Published]) -> str:
    """The rows in the form of the packaged file."""
    lines = [
        {
            **asdict(row),
            "value": int(row.value) if row.value.is_integer() else row.value,
            "higher_is_better": "yes" if row.higher_is_better else "no",
        }
        for row in rows
    ]
    return csv_text([field.name for field in fields(Published)], [line.values() for line in lines])


if __name__ == "__main__":
    here = Path(__file__).with_name(FILE)
    here.write_text(as_csv(convert(Path(sys.argv[1]))), encoding="utf-8")
    print(f"wrote {here}")
