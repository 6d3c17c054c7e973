"""The tables of VLMGuard-R1's paper with our numbers beside the published ones.

Chen, Pang et al., VLMGuard-R1, Findings of ACL 2026, arXiv 2504.12661: the main
table (safety 0-10 and helpfulness), the table of refusal strings (DSR), and the
cost of a sample. The paper's judge prompts, its list of phrases and three of its
five targets are not public, so numbers that stand side by side are not ranked.
"""

from vlmguard.results.leaderboard import UNDEFENDED, Entry, Leaderboard
from vlmguard.results.measures import Measure
from vlmguard.results.published import Published, load_published
from vlmguard.results.sheets import Sheet, group_title, overhead_sheet

PAPER = "2504.12661"
_METHODS = {
    "none (base)": UNDEFENDED,
    "VLMGuard-R1": "vlmguard",
    "ETA": "eta",
    "ECSO": "ecso",
    "MLLM-Protector": "mllm_protector",
    "FigStep defence prompt": "figstep_defense",
}
_SAFETY, _HELPFUL = "GPT-4o safety score 0-10", "GPT-4o helpfulness %"
_DSR = "refusal-string DSR %"


def paper_sheets(board: Leaderboard) -> list[Sheet]:
    """Main table, DSR table and cost table.

    Args:
        board: Our numbers.

    Returns:
        Three sheets.
    """
    published = [row for row in load_published() if PAPER in row.source]
    main = _beside(
        board,
        [row for row in published if row.metric in (_SAFETY, _HELPFUL)],
        "Main table: safety 0-10 / helpfulness %",
        ["safety", "helpful"],
        [_SAFETY, _HELPFUL],
    )
    dsr = _beside(
        board,
        [row for row in published if row.metric == _DSR],
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
    """Our rows, then the paper's, in columns of benchmarks."""
    ours = [
        place
        for place, group in enumerate(board.groups)
        if {measure.name for measure in group.measures} & set(names)
    ]
    theirs = list(dict.fromkeys(f"{row.benchmark} {row.subset}" for row in published))
    sheet = Sheet(title, ["Source", "Target", "Defense"], [], labels=3)
    sheet.header += [f"ours: {group_title(board.groups[place])}" for place in ours]
    sheet.header += [f"paper: {name}" for name in theirs]
    for target, defense in board.rows():
        cells = [_ours(board, board.find(target, defense, place), place, names) for place in ours]
        if any(cells):
            sheet.rows.append(["ours", target, defense, *cells, *[""] * len(theirs)])
    sheet.starts = {0, len(sheet.rows)}
    values = {
        (row.target, row.method, f"{row.benchmark} {row.subset}", row.metric): row.value
        for row in published
    }
    for target, method in dict.fromkeys((row.target, row.method) for row in published):
        cells = []
        for place in theirs:
            found = [values.get((target, method, place, metric)) for metric in metrics]
            shown = " / ".join("-" if value is None else f"{value:g}" for value in found)
            cells.append("" if all(value is None for value in found) else shown)
        label = _METHODS.get(method, method)
        sheet.rows.append(["paper", target, label, *[""] * len(ours), *cells])
    certainties = sorted({row.certainty for row in published})
    sheet.notes.append(
        f"Paper: arXiv {PAPER}, certainty {', '.join(certainties)}; judge GPT-4o with prompts that "
        f"are not public. Judges differ, so ours and the paper's numbers are not ranked."
    )
    return sheet


def _ours(board: Leaderboard, entry: Entry | None, place: int, names: list[str]) -> str:
    if entry is None:
        return ""
    measures: dict[str, Measure] = {each.name: each for each in board.groups[place].measures}
    shown = [
        f"{measures[name].show(entry.cells[name].mean)}" if name in measures else "-"
        for name in names
    ]
    first = next(name for name in names if name in measures)
    found = entry.cells[first].coverage
    return f"{' / '.join(shown)}\nn {found.scored} of {found.of}"
