"""What a caller adds to a leaderboard: notes, tables and figures that are not in the logs.

    board = build(read_results(["logs"]))
    write_leaderboard(board, Path("site"), Extras(
        notes=["A synthetic world: nothing here says anything about real models."],
        sheets=[Sheet("Components", ["Component", "True positives %", "False positives %"],
                      [["detector", "91.0", "4.5"]], labels=1)],
        figures={"components": figure},
    ))

A task can give a note itself (`Task(metadata={"note": ...})`): it is shown above every table of its
logs.
"""

from dataclasses import dataclass, field

from matplotlib.figure import Figure

from vlmguard.results.formats.sheets import Sheet

__all__ = ["Extras"]


@dataclass
class Extras:
    """Additions to all output formats.

    Attributes:
        notes: Sentences above all tables.
        sheets: Tables after ours.
        figures: Figures after ours, by a title that is also a file name.
    """

    notes: list[str] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
