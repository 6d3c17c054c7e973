"""A leaderboard as a folder of files: tables for people and programs, a page, figures."""

import re
from pathlib import Path

from vlmguard.guard.errors import UserError
from vlmguard.results.formats.documents import escape_markdown, latex, markdown
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.formats.writing import write_files
from vlmguard.results.leaderboard.exports import as_csv, as_json, page
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.figures import as_bytes, figures
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published, load_published
from vlmguard.results.leaderboard.tables import (
    coverage_sheets,
    duel_sheet,
    gain_sheet,
    group_sheets,
    left_out_sheet,
    main_sheet,
    overhead_sheet,
    published_sheet,
    slice_sheets,
)
from vlmguard.results.sanitize import one_line

__all__ = ["board_sheets", "published_for", "write_leaderboard"]


def board_sheets(board: Leaderboard) -> list[Sheet]:
    """All tables of the full layout except the main one, which is too wide for terminals.

    Returns:
        A table for each benchmark, what was scored if verdicts are missing, the best row against
        the others, slices if there are any, cost, gains.
    """
    return [
        *group_sheets(board),
        *coverage_sheets(board),
        duel_sheet(board),
        *slice_sheets(board),
        overhead_sheet(board),
        gain_sheet(board),
    ]


def published_for(board: Leaderboard) -> list[Published]:
    """Published numbers on the benchmarks of a leaderboard."""
    return load_published({group.column.title for group in board.groups})


def write_leaderboard(
    board: Leaderboard,
    folder: Path,
    extras: Extras | None = None,
    tables: list[Sheet] | None = None,
) -> list[str]:
    """Write Markdown, LaTeX, CSV, JSON, a page, and figures as SVG, PNG and PDF.

    Args:
        board: The leaderboard.
        folder: Made if it does not exist.
        extras: Additions of the caller.
        tables: Replace the tables of the full layout.

    Returns:
        Names of the files.

    Raises:
        UserError: The folder cannot be written to (nothing in it has changed then), or the title
            of an extra figure cannot be a file name.
    """
    extras = extras or Extras()
    for title in extras.figures:
        if not re.fullmatch(r"[\w-]+", title):
            raise UserError(f"extra figure {title!r}: name it by letters, digits, - and _ alone.")
    shown = [main_sheet(board), *board_sheets(board)] if tables is None else tables
    ours = [each for each in [*shown, *extras.sheets] if each.rows]
    published = published_for(board)
    notes = [*board.notes, *extras.notes]
    written = [*ours, published_sheet(published), left_out_sheet(board)]
    drawn = figures(board) | extras.figures
    vector = {name: as_bytes(figure, "svg") for name, figure in drawn.items()}
    head = "".join(f"> {escape_markdown(one_line(note))}\n\n" for note in notes)
    remarks = "".join(f"% {one_line(note)}\n" for note in notes)
    files = {
        "leaderboard.md": head + "\n".join(markdown(each) for each in written if each.rows),
        "leaderboard.tex": remarks + "\n".join(latex(each) for each in ours),
        "leaderboard.csv": as_csv(board),
        "leaderboard.json": as_json(board, published, extras),
        "leaderboard.html": page(board, published, vector, extras),
    }
    content = {name: text.encode() for name, text in files.items()}
    for name, figure in drawn.items():
        content |= {f"{name}.svg": vector[name], f"{name}.png": as_bytes(figure, "png")}
        content[f"{name}.pdf"] = as_bytes(figure, "pdf")
    write_files(folder, content)
    return list(content)
