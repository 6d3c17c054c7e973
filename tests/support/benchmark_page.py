"""The page of all benchmarks, docs/benchmarks.md: a section for each script, renewed one by one."""

import ast
import re
import statistics
from collections.abc import Iterable
from pathlib import Path

from support.findings import Figures, Interval, Verdict

HEAD = """\
# Benchmarks

What this project costs, as ratios of two programs that are measured in one run. `make bench` runs
each script of `tests/bench/` and writes this page; `make bench ARGS="overhead startup"` renews two
of its sections. Each section names the machine, the day and the commit that it was measured on, and
how much of the processor others had meanwhile: ratios can be compared with each other, seconds only
within a section. Measured on one GPU instead: `make bench-gpu`, which prints its figures.

A *ratio* is the median over pairs, in which both sides run right after each other (there and back)
or at the same time (duets, `tests/support/duets.py`). Its *interval* is the exact one of a median
by order statistics (the inverted sign test): it assumes of the pairs that they are independent, and
nothing else. Its level stands beside it; of five pairs it is 93.8 %, of six 96.9 %, since the
lowest and the highest are the widest that there is. Whether a limit is kept is decided by the
median; where the interval holds the limit, the verdict says that it is open. A figure without an
interval was measured once, or is counted and has none. Intervals say how far chance moved this run,
not what another machine shows.
"""

_OPEN = " (open: the interval holds the limit)"
_NOT_RUN = "Not measured yet."


def describe(script: Path) -> str:
    """What a script measures: its docstring without the command that starts it."""
    text = ast.get_docstring(ast.parse(script.read_text())) or ""
    parts = [part for part in re.split(r"\n\n+", text) if not part.startswith("    ")]
    return "\n\n".join(parts)


def renewed(page: str, bodies: dict[str, str], scripts: Iterable[Path]) -> str:
    """The page with other bodies of some sections.

    Args:
        page: The page as it was; it may be empty.
        bodies: New bodies by the name of the script, without their headings.
        scripts: All scripts; sections of others are left out, missing ones say so.

    Returns:
        The page.
    """
    known = sections(page) | bodies
    found = {path.stem: known.get(path.stem, _unmeasured(path)) for path in sorted(scripts)}
    summary = ["| script | limits kept |", "|---|---|"]
    summary += [f"| [{name}](#{name}) | {_summary(body)} |" for name, body in found.items()]
    parts = [HEAD.rstrip(), "\n".join(summary)]
    parts += [f"## {name}\n\n{body.strip()}" for name, body in found.items()]
    return "\n\n".join(parts) + "\n"


def sections(page: str) -> dict[str, str]:
    """The bodies of a page's sections, by their names."""
    # A list with what stands before the first heading, then names and bodies in turn.
    parts = re.split(r"^## (\S+)\n", page, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def section(
    script: Path, verdicts: list[Verdict], figures: list[Figures], status: int, where: str
) -> str:
    """The body of one script's section.

    Args:
        script: The script.
        verdicts: Its figures with limits.
        figures: Its figures without.
        status: Its exit status; one that its verdicts do not explain is a failure.
        where: Day, commit, machine and versions.

    Returns:
        Markdown.
    """
    parts = [describe(script)]
    if failed(verdicts, status):
        what = "before it had a verdict" if not verdicts else "although it kept its limits"
        parts.append(f"**FAILED**: it ended with exit status {status} {what}.")
    if verdicts:
        head = "| figure | value | interval | limit | verdict |\n|---|--:|---|---|---|\n"
        parts.append(head + "\n".join(map(_verdict_row, verdicts)))
    for each in figures:
        head = f"| {each.title} | median, {each.unit} | lowest to highest |\n|---|--:|---|\n"
        rows = [_figure_row(name, values) for name, values in each.rows.items()]
        parts.append(head + "\n".join(rows))
    return "\n\n".join([*parts, where])


def failed(verdicts: list[Verdict], status: int) -> bool:
    """Whether a script ended otherwise than its verdicts say."""
    return not verdicts or (status != 0) == all(each.kept for each in verdicts)


def _unmeasured(script: Path) -> str:
    return f"{describe(script)}\n\n{_NOT_RUN}"


def _summary(body: str) -> str:
    if body.endswith(_NOT_RUN):
        return "not measured yet"
    if "\n**FAILED**" in body:
        return "**failed**"
    verdicts = re.findall(r"\| (kept|\*\*MISSED\*\*)(?: \(open:[^|]*)? \|$", body, re.MULTILINE)
    kept = verdicts.count("kept")
    return (
        f"{kept} of {len(verdicts)}" if kept == len(verdicts) else f"**{kept} of {len(verdicts)}**"
    )


def _verdict_row(found: Verdict) -> str:
    what = found.what if found.count == 1 else f"{found.what}, median of {found.count} pairs"
    limit = f"at {'least' if found.at_least else 'most'} {found.limit:g}"
    word = "kept" if found.kept else "**MISSED**"
    doubt = "" if found.beyond_doubt else _OPEN
    inside = "none" if found.interval is None else _interval(found.interval)
    return f"| {what} | {found.value:.3f} | {inside} | {limit} | {word}{doubt} |"


def _interval(inside: Interval) -> str:
    return f"{inside.low:.3f} to {inside.high:.3f} ({100 * inside.level:.1f} %)"


def _figure_row(name: str, values: list[float]) -> str:
    return f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f} |"
