"""The tables of VLMGuard-R1's paper with our numbers beside the published ones.

Chen, Pang et al., VLMGuard-R1, Findings of ACL 2026, arXiv 2504.12661: the main
table (safety 0-10 and helpfulness), the table of refusal strings (DSR), and the
cost of a sample. The paper's judge prompts, its list of phrases and three of its
five targets are not public, so numbers that stand side by side are not ranked.
"""

from typing import Final

from vlmguard.results.leaderboard import UNDEFENDED, Entry, Leaderboard
from vlmguard.results.published import Published, load_published
from vlmguard.results.sheets import Sheet, overhead_sheet

PAPER: Final = "2504.12661"
BENCHMARKS: Final = ("SIUO", "VLGuard", "MM-SafetyBench", "FigStep")
_METHODS: Final = {
    "none (base)": UNDEFENDED,
    "VLMGuard-R1": "vlmguard",
    "ETA": "eta",
    "ECSO": "ecso",
    "MLLM-Protector": "mllm_protector",
    "FigStep defence prompt": "figstep_defense",
}
_SAFETY: Final = "GPT-4o safety score 0-10"
_HELPFUL: Final = "GPT-4o helpfulness %"
_DSR: Final = "refusal-string DSR %"


def paper_sheets(board: Leaderboard) -> list[Sheet]:
    """Main table, DSR table and cost table.

    Args:
        board: Our numbers.

    Returns:
        Three sheets.
    """
    known = [row for row in load_published(set(BENCHMARKS)) if PAPER in row.source]
    main = _beside(
        board,
        [row for row in known if row.metric in (_SAFETY, _HELPFUL)],
        "Main table: safety 0-10 / helpfulness %",
        ["safety", "helpful"],
        [_SAFETY, _HELPFUL],
    )
    dsr = _beside(
        board,
        [row for row in known if row.metric == _DSR],
        "Share of answers with a refusal phrase (DSR %)",
        ["dsr"],
        [_DSR],
    )
    cost = overhead_sheet(board)
    cost.notes.append("The paper's own timings are not public.")
    return [main, dsr, cost]


def _beside(
    board: Leaderboard,
    published: list[Published],
    title: str,
    names: list[str],
    metrics: list[str],
) -> Sheet:
    """Our rows, then the paper's, in common columns of benchmarks."""
    places = {
        _column(group.column.title, group.column.variant): place
        for place, group in enumerate(board.groups)
        if {measure.name for measure in group.measures} & set(names)
    }
    columns = list(dict.fromkeys([*places, *(_column(r.benchmark, r.subset) for r in published)]))
    sheet = Sheet(title, ["Source", "Target", "Defense", *columns], [], labels=3)
    for target, defense in board.rows():
        cells = [
            _ours(board, board.find(target, defense, places[name]), names) if name in places else ""
            for name in columns
        ]
        if any(cells):
            sheet.rows.append(["ours", target, defense, *cells])
    values = {
        (row.target, row.method, _column(row.benchmark, row.subset), row.metric): f"{row.value:g}"
        for row in published
    }
    for target, method in dict.fromkeys((row.target, row.method) for row in published):
        cells = []
        for name in columns:
            found = [values.get((target, method, name, metric)) for metric in metrics]
            cells.append(" / ".join(each or "-" for each in found) if any(found) else "")
        sheet.rows.append(["paper", target, _METHODS.get(method, method), *cells])
    certainties = sorted({row.certainty for row in published})
    sheet.notes.append(
        f"Paper: arXiv {PAPER}, certainty {', '.join(certainties)}; judge GPT-4o with prompts that "
        "are not public. Judges differ, so ours and the paper's numbers are not ranked."
    )
    repeated = len(board.groups) - len(
        {_column(g.column.title, g.column.variant) for g in board.groups}
    )
    if repeated:
        sheet.notes.append(
            f"{repeated} further groups of the same benchmarks under other conditions are not "
            "shown; the full layout shows them."
        )
    return sheet


def _column(benchmark: str, subset: str) -> str:
    """One heading for our variants (`typo`) and the paper's subsets (`TYPO (130)`)."""
    words = subset.split(" (")[0].lower().replace("+", "_").removeprefix("full/")
    return f"{benchmark} {'generation' if words == 'gen' else words}".strip()


def _ours(board: Leaderboard, entry: Entry | None, names: list[str]) -> str:
    if entry is None:
        return ""
    measures = {each.name: each for each in board.groups[entry.group].measures}
    shown = [
        measures[name].show(entry.cells[name].mean) if name in measures else "-" for name in names
    ]
    found = entry.cells[next(name for name in names if name in measures)].coverage
    return f"{' / '.join(shown)}\nn {found.scored} of {found.of}"
