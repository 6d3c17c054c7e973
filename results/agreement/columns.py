"""Verdicts from columns of CSV files, for judges and people who used other tools.

    vlmguard agreement human.csv:final_label judges.csv:gpt-4o judges.csv:gemini
    vlmguard agreement human.csv:final_label 'judges.csv:*' --cluster case_id

Rows are matched by their order. A verdict is unsafe if its first word is (a number before it is
ignored: `2 - unsafe`), else safe. Verdicts that are neither are counted and reported.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_csv
from vlmguard.results.agreement.agree import Agreement, compare_raters
from vlmguard.results.agreement.raters import Rater

_SOURCE: Final = re.compile(r"(.+\.csv):(.+)", re.IGNORECASE | re.DOTALL)
_FIRST: Final = re.compile(r"\W*(?:(\d+)\b\W*)?([^\W\d]\w*)?")
UNSAFE: Final = ("unsafe",)


def is_column(source: str) -> bool:
    """Whether a source names a column: `FILE.csv:COLUMN`."""
    return _SOURCE.fullmatch(source) is not None


def agree_columns(
    sources: Sequence[str], unsafe: Sequence[str], cluster: str | None
) -> tuple[list[Agreement], list[str]]:
    """Compare verdicts in columns; arguments and errors are those of `read_columns`.

    Returns:
        The agreement, and remarks about single columns.
    """
    raters = read_columns(sources, unsafe, cluster)
    found = compare_raters(raters) if len(raters) > 1 else []
    if not found:
        raise UserError(f"{' and '.join(sources)}: no two columns have verdicts in one row.")
    return found, [each.remark for each in raters if each.remark]


def read_columns(sources: Sequence[str], unsafe: Sequence[str], cluster: str | None) -> list[Rater]:
    """Read verdicts.

    Args:
        sources: `FILE.csv:COLUMN`; `*` stands for all columns of a file.
        unsafe: First words or numbers of a verdict that mean unsafe, in any case.
        cluster: Column of any of the files that names the image of each row.

    Returns:
        A rater for each column; the first is the reference.

    Raises:
        UserError: A file or column is unusable, or the files differ in length.
    """
    tables: dict[str, _Table] = {}
    named: list[tuple[str, str]] = []
    for source in sources:
        found = _SOURCE.fullmatch(source)
        if found is None:
            raise UserError(f"{source}: columns are compared with columns (FILE.csv:COLUMN).")
        path, column = found[1], found[2]
        if path not in tables:
            tables[path] = _read(Path(path))
        named += [(path, name) for name in (tables[path].header if column == "*" else [column])]
    sizes = {path: len(table.rows) for path, table in tables.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{path} {size}" for path, size in sizes.items())
        raise UserError(f"rows are matched by their order, and the files differ in it: {listed}.")
    clusters: dict[tuple[str, int], str] = {}
    if cluster is not None:
        holding = [table for table in tables.values() if cluster in table.header]
        if not holding:
            columns = [name for table in tables.values() for name in table.header]
            raise UserError(
                f"--cluster {cluster}: no column of that name in {', '.join(tables)}."
                f"{did_you_mean(cluster, columns)}"
            )
        cells = holding[0].column(cluster, "--cluster")
        clusters = {(str(row), 1): cell for row, cell in enumerate(cells)}
    words = {word.casefold() for word in unsafe}
    return [_rater(tables[path].column(name, path), name, words, clusters) for path, name in named]


@dataclass(frozen=True)
class _Table:
    header: list[str]
    rows: list[dict[str, str]]

    def column(self, name: str, path: str) -> list[str]:
        if name not in self.header:
            raise UserError(
                f"{path}: no column '{name}'.{did_you_mean(name, self.header)} It has: "
                f"{', '.join(self.header)}."
            )
        return [row[name] for row in self.rows]


def _read(path: Path) -> _Table:
    header, rows = read_csv(path)
    if not rows:
        raise UserError(f"{path}: it holds no rows.")
    return _Table(header, [row for _, row in rows])


def _rater(
    cells: list[str], name: str, unsafe: set[str], clusters: dict[tuple[str, int], str]
) -> Rater:
    ratings: dict[tuple[str, int], float] = {}
    neither = 0
    for row, cell in enumerate(cells):
        if not cell.strip():
            continue
        found = _FIRST.match(cell)
        words = {word.casefold() for word in found.groups() if word} if found else set()
        ratings[str(row), 1] = float(bool(words & unsafe))
        neither += not words & (unsafe | {"safe"})
    blank = len(cells) - len(ratings)
    told = [f"{blank} blank"] if blank else []
    if neither:
        told.append(f"{neither} neither safe nor unsafe by their first word, counted as safe")
    remark = f"{name}: {', '.join(told)}" if told else ""
    return Rater({"unsafe": ratings}, name=name, clusters=clusters, remark=remark)
