"""The tables of VLMGuard-R1's paper with our numbers beside the published ones.

Chen, Pang et al., VLMGuard-R1, Findings of ACL 2026, arXiv 2504.12661: the main
table (safety 0-10 and helpfulness), the table of refusal strings (DSR), and the
cost of a sample. The paper's judge prompts, its list of phrases and three of its
five targets are not public, so its numbers and ours are not ranked together.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from vlmguard.guard.cards import cards
from vlmguard.results.formats.sheets import Sheet, part_of
from vlmguard.results.leaderboard.beside_tables import beside_sheet
from vlmguard.results.leaderboard.cells import MARKS
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published, load_published
from vlmguard.results.leaderboard.standings import standings
from vlmguard.results.leaderboard.tables import gain_sheet, overhead_sheet
from vlmguard.results.leaderboard.typeset import judges_said

__all__ = ["PAPER", "by_benchmark", "paper_sheets"]

PAPER: Final = "2504.12661"
_BASE: Final = "none (base)"
_LABELS: Final = ["Source", "Target", "Defense"]
_OURS: Final = "ours"


@dataclass(frozen=True)
class _Table:
    """A table of the paper: for each measure our name, the paper's metric, and the heading."""

    title: str
    measures: tuple[tuple[str, str, str], ...]
    averaged: bool = False


_MAIN: Final = _Table(
    "Main table",
    (
        ("safety", "GPT-4o safety score 0-10", "Safety 0-10 ↑"),
        ("helpful", "GPT-4o helpfulness %", "Helpful % ↑"),
    ),
)
# The paper's overall refusal rate is the mean of the subsets that it has one for.
_DSR: Final = _Table(
    "Answers with a refusal phrase (no direction)",
    (("dsr", "refusal-string DSR %", "DSR %"),),
    True,
)


def paper_sheets(board: Leaderboard) -> list[Sheet]:
    """Main table, harm beside harmless requests, average gains, DSR table and cost table."""
    ours = {card.title for card in cards().benchmarks.values()}
    known = [row for row in load_published(ours) if PAPER in row.source]
    cost = overhead_sheet(board)
    cost.notes.append("The paper's own timings are not public.")
    main, dsr = (_beside(board, known, table) for table in (_MAIN, _DSR))
    return [main, beside_sheet(board), gain_sheet(board), dsr, cost]


def by_benchmark(sheet: Sheet, narrow: bool) -> list[Sheet]:
    """A table of this layout in parts that a terminal has room for.

    Args:
        sheet: One of `paper_sheets`; one with rows.
        narrow: Whether there is no room for names of targets and benchmarks beside numbers: rows
            that share them are a part then, which they are the title of.
    """
    parts, start = [], sheet.labels
    for title, width in sheet.spans[1:]:
        part = part_of(sheet, [*range(sheet.labels), *range(start, start + width)])
        start += width
        parts.append(replace(part, title=f"{sheet.title}: {title}", spans=[], starts=set()))
    parts = parts or [sheet]
    if narrow:
        parts = [part for each in parts for part in _apart(each)]
    return [replace(part, notes=[]) for part in parts[:-1]] + [
        replace(parts[-1], notes=sheet.notes)
    ]


def _apart(sheet: Sheet) -> list[Sheet]:
    """A part for each combination of labels, but for defenses, and for targets of the paper."""
    blocks: dict[tuple[tuple[int, str], ...], list[int]] = {}
    for number, row in enumerate(sheet.rows):
        said = [(column, row[column]) for column in range(sheet.labels)]
        said = [each for each in said if sheet.header[each[0]] != "Defense"]
        if sheet.header[0] == "Source" and row[0] != _OURS:
            said = said[:1]
        blocks.setdefault(tuple(said), []).append(number)
    parts = []
    for block, rows in blocks.items():
        gone = {column for column, _ in block}
        part = part_of(sheet, [n for n in range(len(sheet.header)) if n not in gone], rows)
        names = ", ".join(name.replace("\n", " ") for _, name in block)
        parts.append(replace(part, title=f"{sheet.title}: {names}", starts=set()))
    return parts


def _beside(board: Leaderboard, known: list[Published], table: _Table) -> Sheet:
    """Our rows, then the paper's, under a span of columns for each of its benchmarks."""
    metrics = {metric for _, metric, _ in table.measures}
    published = [row for row in known if row.metric in metrics]
    groups, repeated = _groups(
        board, {name for name, _, _ in table.measures}, {row.benchmark for row in known}
    )
    titles = list(dict.fromkeys([*groups, *(_column(r.benchmark, r.subset) for r in published)]))
    width = len(table.measures) + 1
    header = [*_LABELS, *[*(heading for _, _, heading in table.measures), "n"] * len(titles)]
    spans = [("", len(_LABELS)), *((title, width) for title in titles)]
    if table.averaged:
        header.append(table.measures[0][2])
        spans.append(("Mean of the five", 1))
    sheet = Sheet(table.title, header, [], spans, labels=len(_LABELS), starts={0})
    _add_ours(
        sheet, board, groups, titles, table, {_column(r.benchmark, r.subset) for r in published}
    )
    if sheet.rows:
        sheet.starts.add(len(sheet.rows))
    sheet.rows += _paper_rows(published, titles, table)
    certainties = sorted({row.certainty for row in published})
    sheet.caption = " ".join(
        filter(
            None,
            [
                judges_said(groups.values()).replace("Judge", "Our judge", 1),
                f"Paper: arXiv {PAPER}, judged by GPT-4o with prompts that are not public; not "
                "ranked with ours. n: scored of all answers (ours), samples (published). In "
                "brackets: 95 % interval of a mean of ours, clustered by image.",
            ],
        )
    )
    sheet.notes = _notes(table, certainties, repeated)
    return sheet


def _notes(table: _Table, certainties: list[str], repeated: int) -> list[str]:
    notes = [
        f"Paper: arXiv {PAPER}, certainty {', '.join(certainties)}; judge GPT-4o with prompts that "
        "are not public. Judges differ, so ours and the paper's numbers are not ranked.",
        "In brackets: the 95 % interval of a mean of ours (clustered by image; none below ten "
        "images). n: answers scored of all (ours), samples (the paper, where it says so).",
    ]
    if table.averaged:
        notes.append("The mean is the paper's: of the five subsets, unweighted.")
    if repeated:
        notes.append(
            f"{repeated} further group{'s' if repeated > 1 else ''} (the same benchmarks under "
            "other conditions, or others) not shown here: the full layout shows all."
        )
    return notes


def _add_ours(
    sheet: Sheet,
    board: Leaderboard,
    groups: dict[str, Group],
    titles: list[str],
    table: _Table,
    averaged: set[str],
) -> None:
    """Add the rows of a board, and note which cells are the best among them."""
    for target, defense in board.rows():
        found = {
            title: entry
            for title, group in groups.items()
            if (entry := board.find(target, defense, group))
        }
        if not found:
            continue
        line = [_OURS, target, defense]
        for title in titles:
            entry = found.get(title)
            for name, _, _ in table.measures:
                place = _standing(board, entry, name)
                if place:
                    (sheet.best if place == 1 else sheet.second).add((len(sheet.rows), len(line)))
                line.append(_mean(entry, name))
            line.append(_scored(entry, [name for name, _, _ in table.measures]))
        if table.averaged:
            name = table.measures[0][0]
            means = {title: entry.cells[name].mean * 100 for title, entry in found.items()}
            line.append(_mean_of(averaged, means))
        sheet.rows.append(line)


def _paper_rows(published: list[Published], titles: list[str], table: _Table) -> list[list[str]]:
    defenses = {card.published_as or card.title: name for name, card in cards().defenses.items()}
    names = {_BASE: UNDEFENDED_LABEL, **defenses}
    cells = {
        (row.target, row.method, _column(row.benchmark, row.subset), row.metric): row
        for row in published
    }
    subsets = {title for _, _, title, _ in cells}
    pairs = dict.fromkeys((row.target, row.method) for row in published)
    lines = []
    for target, method in sorted(pairs, key=lambda pair: (pair[0], pair[1] != _BASE, pair[1])):
        line = ["paper", target, names.get(method, method)]
        means: dict[str, float] = {}
        for title in titles:
            found = [cells.get((target, method, title, metric)) for _, metric, _ in table.measures]
            missing = "-" if any(found) else ""
            line += [f"{row.value:g}" if row else missing for row in found]
            line.append(next((_samples(row) for row in found if row), ""))
            means |= {title: found[0].value} if found[0] else {}
        lines.append([*line, *([_mean_of(subsets, means)] if table.averaged else [])])
    return lines


def _groups(board: Leaderboard, names: set[str], titles: set[str]) -> tuple[dict[str, Group], int]:
    """For each column the group with most runs, and the number of groups that have no column."""
    measured = [
        group for group in board.groups if names & {measure.name for measure in group.measures}
    ]
    chosen: dict[str, Group] = {}
    for group in sorted(measured, key=lambda group: -len(board.of(group))):
        column = group.column
        if column.title in titles:
            chosen.setdefault(_column(column.title, column.variant), group)
    ordered = sorted(chosen.items(), key=lambda pair: measured.index(pair[1]))
    return dict(ordered), len(measured) - len(chosen)


def _mean_of(subsets: set[str], values: dict[str, float]) -> str:
    """The unweighted mean, blank unless all subsets are known."""
    known = [values[name] for name in subsets if not math.isnan(values.get(name, math.nan))]
    return f"{sum(known) / len(known):.1f}" if known and len(known) == len(subsets) else ""


def _column(benchmark: str, subset: str) -> str:
    """One heading for our variants (`typo`) and the paper's subsets (`TYPO (130)`)."""
    words = subset.split(" (")[0].lower().replace("+", "_").removeprefix("full/")
    words = "" if words == benchmark.lower() else words
    return f"{benchmark} {'generation' if words == 'gen' else words}".strip()


def _samples(row: Published) -> str:
    """The number of samples that the source names: 130 of `SD (130)`."""
    found = re.search(r"\((\d+)\)$", row.subset)
    return found[1] if found else "-"


def _standing(board: Leaderboard, entry: Entry | None, name: str) -> int:
    """The place of one of our rows among ours; 0 without one."""
    if entry is None or name not in entry.group.by_name:
        return 0
    measure = entry.group.by_name[name]
    return standings(board, entry.group, measure, entry.target).get(entry.defense, 0)


def _mean(entry: Entry | None, name: str) -> str:
    """A mean of ours with its mark, and below it its interval."""
    if entry is None:
        return ""
    measure = entry.group.by_name.get(name)
    if measure is None:
        return "-"
    cell = entry.cells[name]
    text = f"{measure.show(cell.mean)} {MARKS[cell.verdict]}".rstrip()
    if math.isnan(cell.low):
        return text
    return f"{text}\n[{measure.show(cell.low)}, {measure.show(cell.high)}]"


def _scored(entry: Entry | None, names: list[str]) -> str:
    """How many answers were scored of all; of each measure where that differs."""
    if entry is None:
        return ""
    measures = entry.group.by_name
    covers = {
        measures[name].label: entry.cells[name].coverage for name in names if name in measures
    }
    texts = {label: f"{cover.scored} of {cover.of}" for label, cover in covers.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{text} ({label})" for label, text in texts.items())
