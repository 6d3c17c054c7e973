"""What a matrix and a synthesis of docs/scale.md take: calls, tokens, logs, GPU hours and money.

    python -m vlmguard.results.scale docs/scale.md      # `make readme`: renew the page's tables

Calls come from the plan of the page's own configuration (`docs/cluster/matrix.yaml`, counted from
cards alone). What a call, a log and an hour come to is in `FIGURES`, each with where it is from:
measured here, or assumed. Whoever has figures of his own changes them there.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlmguard.guard.data_source import DATA_ROOT
from vlmguard.guard.errors import UserError
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.config import Matrix, ModelChoice, Prices
from vlmguard.results.run.plan import Planned, plan

__all__ = ["FIGURES", "Load", "matrix_load", "renewed", "synthesis_load"]


@dataclass(frozen=True)
class Figure:
    """A number that is not counted.

    Attributes:
        what: What it is, with its unit.
        value: The number.
        source: Where it is from.
    """

    what: str
    value: float
    source: str


_ASSUMED: Final = "assumed: put in your own"
_HERE: Final = "measured 2026-11-28, one of two cores of an AMD EPYC"
_CALLS: Final = f"{_HERE}: `tests/bench/calls.py`, served"
_EXPORT: Final = f"{_HERE}: `tests/bench/export.py`"
FIGURES: Final = {
    "read_rate": Figure(
        "tokens that a 7B target reads a second, one GPU of 80 GB, full batches", 10_000, _ASSUMED
    ),
    "write_rate": Figure("tokens that it writes a second, all requests together", 1_500, _ASSUMED),
    "gpu_hour": Figure("money for a GPU hour", 2.5, _ASSUMED),
    "reasoner_read": Figure("tokens that a call of synthesis reads", 1_500, _ASSUMED),
    "reasoner_written": Figure("tokens that a call of synthesis writes", 600, _ASSUMED),
    "safety_share": Figure(
        "share of safety rows in a synthesis",
        8904 / (8904 + 977),
        "the mix of arXiv 2504.12661: 8,904 and 977 rows",
    ),
    "safety_calls": Figure("calls for a safety row", 4, "the card of `synthesize`"),
    "benign_calls": Figure("calls for a benign row", 2, "the card of `synthesize`"),
    "sample_bytes": Figure(
        "bytes of a sample in a log, without images and calls",
        3_000,
        "measured at each test, answers of 225 English words (`tests/results/test_scale.py`)",
    ),
    "call_bytes": Figure("bytes more for each call", 1_500, "measured in the same runs"),
    "image_bytes": Figure("bytes of a sample's image", 150_000, _ASSUMED),
    "call_cpu": Figure("seconds of a processor that a call costs", 0.0077, _CALLS),
    "sample_cpu": Figure(
        "seconds of a processor that a sample costs beside its calls", 0.0130, _CALLS
    ),
    "header_cpu": Figure(
        "seconds to read the header of a log", 0.02, f"{_HERE}: logs of 412 samples, local disk"
    ),
    "row_bytes": Figure(
        "bytes of memory for a row of a synthesis", 4_100, f"{_EXPORT}, 100,000 rows"
    ),
    "other_row_bytes": Figure(
        "bytes of memory for a row of another shard",
        2_130,
        "computed from the same, of four shards",
    ),
    "export_rate": Figure(
        "rows that an export takes a second of a processor", 490, f"{_EXPORT}, 100,000 rows"
    ),
    "export_bytes": Figure(
        "bytes of memory for a row of an export", 1_300, f"{_EXPORT}, from 10,000 to 100,000 rows"
    ),
    "judge_rate": Figure("requests a minute that a judge's provider allows", 5_000, _ASSUMED),
}
"""Everything that is not counted, by name."""


@dataclass(frozen=True)
class Load:
    """What a run takes.

    Attributes:
        samples: Samples (answers, or rows).
        logs: Logs without shards.
        calls: Calls of models on GPUs.
        judge_calls: Calls of judges behind an API.
        read: Tokens read on GPUs.
        written: Tokens written on GPUs.
        judge_money: Money for judges.
    """

    samples: int
    logs: int
    calls: int
    judge_calls: int
    read: int
    written: int
    judge_money: float

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU."""
        seconds = self.read / _of("read_rate") + self.written / _of("write_rate")
        return seconds / 3600

    @property
    def log_bytes(self) -> float:
        """Bytes of all logs, without images."""
        return self.samples * _of("sample_bytes") + self.every_call * _of("call_bytes")

    @property
    def every_call(self) -> int:
        """Calls of all models."""
        return self.calls + self.judge_calls

    @property
    def process_hours(self) -> float:
        """Hours of one Inspect process, if models answered at once."""
        seconds = self.every_call * _of("call_cpu") + self.samples * _of("sample_cpu")
        return seconds / 3600

    @property
    def money(self) -> float:
        """For GPUs and judges."""
        return self.gpu_hours * _of("gpu_hour") + self.judge_money


def matrix_load(matrix: Matrix) -> Load:
    """What a matrix takes, by its plan; targets and guards are on GPUs, judges behind an API.

    Args:
        matrix: A configuration with one judge, for which it has prices.

    Raises:
        UserError: The plan does not know a number, or the judge has no price.
    """
    lines = plan(matrix)
    grader = matrix.roles.get("grader")
    if not isinstance(grader, ModelChoice) or grader.model not in matrix.prices:
        raise UserError("the configuration has no price for its one grader: add it to prices:.")
    judge, usual = matrix.prices[grader.model], Prices(input=0, output=0)
    calls = _sum(lines, "target_calls") + _sum(lines, "guard_calls")
    asked = _sum(lines, "judge_calls")
    read = calls * usual.input_tokens
    judged = asked * (judge.input_tokens + judge.output_tokens)
    money = judge.input * judge.input_tokens + judge.output * judge.output_tokens
    return Load(
        samples=_sum(lines, "samples"),
        logs=len(lines),
        calls=calls,
        judge_calls=asked,
        read=read,
        # The plan writes less for answers that a benchmark ends sooner.
        written=_sum(lines, "tokens") - judged - read,
        judge_money=asked * money / 1e6,
    )


def synthesis_load(rows: int) -> Load:
    """What a synthesis of so many rows takes; the reasoner checks its own rows, as by default."""
    safety = round(rows * _of("safety_share"))
    calls = round(safety * _of("safety_calls") + (rows - safety) * _of("benign_calls"))
    return Load(
        samples=rows,
        logs=1,
        calls=calls,
        judge_calls=0,
        read=round(calls * _of("reasoner_read")),
        written=round(calls * _of("reasoner_written")),
        judge_money=0,
    )


def renewed(text: str, page: Path) -> str:
    """The page with its tables as they are now.

    Args:
        text: The page.
        page: Where it stands; the configuration is `cluster/matrix.yaml` beside it.

    Raises:
        UserError: A table has no end.
    """
    matrix = matrix_load(read_config(page.parent / "cluster/matrix.yaml"))
    for name, rows in (
        ("figures", _figures()),
        ("computed", _computed([matrix, synthesis_load(1_000_000)])),
    ):
        before, start, rest = text.partition(f"<!-- {name}: made by `make readme` -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not (start and end):
            raise UserError(f"{page}: no table of {name}, or no line '<!-- end -->' behind it.")
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        text = f"{before}{start}{table}\n{end}{after}"
    return text


def _figures() -> list[list[str]]:
    rows = [["Figure", "Value", "From"], ["---", "---", "---"]]
    return rows + [[each.what, _short(each.value), each.source] for each in FIGURES.values()]


def _computed(loads: Sequence[Load]) -> list[list[str]]:
    def row(what: str, *values: str) -> list[str]:
        return [what, *values]

    images = [each.samples * _of("image_bytes") for each in loads]
    made = loads[-1].samples
    shared = _of("row_bytes") / 4 + _of("other_row_bytes") * 3 / 4
    return [
        ["", "13 defenses x 12 benchmarks x 6 targets", "synthesis of a million rows"],
        ["---", "---", "---"],
        row("samples (answers, rows)", *(f"{each.samples:,}" for each in loads)),
        row("logs, with one shard a cell", *(f"{each.logs:,}" for each in loads)),
        row(
            "seconds to read their headers, one reader",
            *(f"{each.logs * _of('header_cpu'):,.0f}" for each in loads),
        ),
        row("calls on GPUs", *(f"{each.calls:,}" for each in loads)),
        row("calls of the judge", *(f"{each.judge_calls:,}" for each in loads)),
        row("tokens read on GPUs", *(_millions(each.read) for each in loads)),
        row("tokens written on GPUs", *(_millions(each.written) for each in loads)),
        row("GPU hours", *(f"{each.gpu_hours:,.0f}" for each in loads)),
        row("days on 8 GPUs", *(f"{each.gpu_hours / 8 / 24:,.1f}" for each in loads)),
        row("money for GPUs", *(f"{each.gpu_hours * _of('gpu_hour'):,.0f}" for each in loads)),
        row("money for the judge", *(f"{each.judge_money:,.0f}" for each in loads)),
        row("money", *(f"{each.money:,.0f}" for each in loads)),
        row("logs without images", *(_gigabytes(each.log_bytes) for each in loads)),
        row(
            "logs with images",
            *(_gigabytes(e.log_bytes + i) for e, i in zip(loads, images, strict=True)),
        ),
        row(
            "hours of one Inspect process, if models answered at once",
            *(f"{each.process_hours:,.1f}" for each in loads),
        ),
        row(
            "hours that the judge's rate limit asks for",
            *(f"{each.judge_calls / _of('judge_rate') / 60:,.1f}" for each in loads),
        ),
        row("memory of the rows, one process", "-", _gigabytes(made * _of("row_bytes"))),
        row("memory of the rows, each of four shards", "-", _gigabytes(made * shared)),
        row("hours of an export", "-", f"{made / _of('export_rate') / 3600:,.1f}"),
        row("memory of an export", "-", _gigabytes(made * _of("export_bytes"))),
    ]


def _of(name: str) -> float:
    return FIGURES[name].value


def _sum(lines: Sequence[Planned], field: str) -> int:
    """The sum of a field of a plan.

    Raises:
        UserError: One of them is not known.
    """
    values: list[int | None] = [vars(line)[field] for line in lines]
    known = [each for each in values if each is not None]
    if len(known) < len(values):
        raise UserError(f"the plan does not know {field} of all its runs.")
    return sum(known)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:,.0f} M"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:,.1f} GB"


if __name__ == "__main__":
    # Counts come from cards: data of this machine, whole or not, make no difference to the page.
    os.environ.pop(DATA_ROOT, None)
    for written in map(Path, sys.argv[1:]):
        written.write_text(renewed(written.read_text("utf-8"), written), encoding="utf-8")
