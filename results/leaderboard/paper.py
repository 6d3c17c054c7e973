"""The tables of VLMGuard-R1's paper with our numbers beside the published ones.

Chen, Pang et al., VLMGuard-R1, Findings of ACL 2026, arXiv 2504.12661: the main
table (safety 0-10 and helpfulness), the table of refusal strings (DSR), and the
cost of a sample. The paper's judge prompts, its list of phrases and three of its
five targets are not public, so its numbers and ours are not ranked together.
"""

import math
from typing import Final

from vlmguard.guard.cards import cards
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside_tables import beside_sheet
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published, load_published
from vlmguard.results.leaderboard.tables import gain_sheet, overhead_sheet

PAPER: Final = "2504.12661"
_BASE: Final = "none (base)"
_SAFETY: Final = "GPT-4o safety score 0-10"
_HELPFUL: Final = "GPT-4o helpfulness %"
_DSR: Final = "refusal-string DSR %"


def paper_sheets(board: Leaderboard) -> list[Sheet]:
    """Main table, harm beside harmless requests, average gains, DSR table and cost table."""
    ours = {card.title for card in cards().benchmarks.values()}
    known = [row for row in load_published(ours) if PAPER in row.source]
    titles = {row.benchmark for row in known}
    main = _beside(
        board,
        [row for row in known if row.metric in (_SAFETY, _HELPFUL)],
        titles,
        "Main table: safety 0-10 ↑ / helpfulness % ↑",
        ["safety", "helpful"],
        [_SAFETY, _HELPFUL],
    )
    dsr = _beside(
        board,
        [row for row in known if row.metric == _DSR],
        titles,
        "Share of answers with a refusal phrase (DSR %, no direction)",
        ["dsr"],
        [_DSR],
    )
    cost = overhead_sheet(board)
    cost.notes.append("The paper's own timings are not public.")
    return [main, beside_sheet(board), gain_sheet(board), dsr, cost]


def _beside(
    board: Leaderboard,
    published: list[Published],
    titles: set[str],
    title: str,
    names: list[str],
    metrics: list[str],
) -> Sheet:
    """Our rows, then the paper's, in a column for each of its benchmarks."""
    groups, repeated = _groups(board, names, titles)
    columns = list(dict.fromkeys([*groups, *(_column(r.benchmark, r.subset) for r in published)]))
    # The paper's overall refusal rate is the mean of the subsets that it has one for.
    of_rates = {_column(row.benchmark, row.subset) for row in published}
    averaged = tuple(sorted(of_rates)) if metrics == [_DSR] else ()
    header = ["Source", "Target", "Defense", *columns, *(["Mean of the five"] if averaged else [])]
    sheet = Sheet(title, header, [], labels=3)
    sheet.rows += _our_rows(board, groups, columns, names, averaged)
    sheet.rows += _paper_rows(published, columns, metrics, averaged)
    certainties = sorted({row.certainty for row in published})
    sheet.notes.append(
        f"Paper: arXiv {PAPER}, certainty {', '.join(certainties)}; judge GPT-4o with prompts that "
        "are not public. Judges differ, so ours and the paper's numbers are not ranked."
    )
    if averaged:
        sheet.notes.append("The mean is the paper's: of the five subsets, unweighted.")
    if repeated:
        sheet.notes.append(
            f"{repeated} further group{'s' if repeated > 1 else ''} (the same benchmarks under "
            "other conditions, or others) not shown here: the full layout shows all."
        )
    return sheet


def _our_rows(
    board: Leaderboard,
    groups: dict[str, Group],
    columns: list[str],
    names: list[str],
    averaged: tuple[str, ...],
) -> list[list[str]]:
    lines = []
    for target, defense in board.rows():
        found = {
            name: entry
            for name, group in groups.items()
            if (entry := board.find(target, defense, group))
        }
        if found:
            cells = [_ours(found.get(name), names) for name in columns]
            means = {
                name: cell.mean * 100
                for name, entry in found.items()
                if not math.isnan((cell := entry.cells[names[0]]).mean)
            }
            lines.append(["ours", target, defense, *cells, *_mean_of(averaged, means)])
    return lines


def _paper_rows(
    published: list[Published], columns: list[str], metrics: list[str], averaged: tuple[str, ...]
) -> list[list[str]]:
    lines = []
    defenses = {card.published_as or card.title: name for name, card in cards().defenses.items()}
    names = {_BASE: UNDEFENDED_LABEL, **defenses}
    values = {
        (row.target, row.method, _column(row.benchmark, row.subset), row.metric): row.value
        for row in published
    }
    pairs = dict.fromkeys((row.target, row.method) for row in published)
    for target, method in sorted(pairs, key=lambda pair: (pair[0], pair[1] != _BASE, pair[1])):
        cells, known = [], {}
        for name in columns:
            numbers = [values.get((target, method, name, metric)) for metric in metrics]
            shown = ["-" if number is None else f"{number:g}" for number in numbers]
            cells.append(" / ".join(shown) if set(shown) != {"-"} else "")
            if numbers[0] is not None:
                known[name] = numbers[0]
        line = ["paper", target, names.get(method, method), *cells]
        lines.append([*line, *_mean_of(averaged, known)])
    return lines


def _groups(board: Leaderboard, names: list[str], titles: set[str]) -> tuple[dict[str, Group], int]:
    """For each column the group with most runs, and the number of groups that have no column."""
    wanted = set(names)
    measured = [
        group for group in board.groups if wanted & {measure.name for measure in group.measures}
    ]
    chosen: dict[str, Group] = {}
    for group in sorted(measured, key=lambda group: -len(board.of(group))):
        column = group.column
        if column.title in titles:
            chosen.setdefault(_column(column.title, column.variant), group)
    ordered = sorted(chosen.items(), key=lambda pair: measured.index(pair[1]))
    return dict(ordered), len(measured) - len(chosen)


def _mean_of(subsets: tuple[str, ...], values: dict[str, float]) -> list[str]:
    """The unweighted mean, blank unless all subsets are known; no cell without subsets."""
    if not subsets:
        return []
    known = [values[name] for name in subsets if name in values]
    return [f"{sum(known) / len(known):.1f}" if len(known) == len(subsets) else ""]


def _column(benchmark: str, subset: str) -> str:
    """One heading for our variants (`typo`) and the paper's subsets (`TYPO (130)`)."""
    words = subset.split(" (")[0].lower().replace("+", "_").removeprefix("full/")
    return f"{benchmark} {'generation' if words == 'gen' else words}".strip()


def _ours(entry: Entry | None, names: list[str]) -> str:
    if entry is None:
        return ""
    measures = entry.group.by_name
    shown = [
        measures[name].show(entry.cells[name].mean) if name in measures else "-" for name in names
    ]
    found = entry.cells[next(name for name in names if name in measures)].coverage
    return f"{' / '.join(shown)}\nn {found.scored} of {found.of}"
