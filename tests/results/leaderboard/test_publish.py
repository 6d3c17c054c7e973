"""A caller's additions to a leaderboard, in every format."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from support.toy import Toy, run_toy, say

from vlmguard.guard.errors import UserError
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.publish import board_sheets, write_leaderboard
from vlmguard.results.logs.frame import read_results


def components() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().bar(["detector"], [91.0])
    return figure


def test_notes_tables_and_figures_stand_in_every_format(board: Leaderboard, tmp_path: Path) -> None:
    rates = Sheet(
        "Components",
        ["Component", "True positives %", "False positives %"],
        [["detector", "91.0", "4.5"], ["self-check <i>", "70.0", "20.0"]],
        notes=["On held-out scenes."],
        labels=1,
    )
    extras = Extras(["A toy world:\nno word about real models."], [rates], {"rates": components()})
    names = write_leaderboard(board, tmp_path, extras)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert {"rates.svg", "rates.png", "rates.pdf"} <= set(names)
    texts = {form: (tmp_path / f"leaderboard.{form}").read_text() for form in ("md", "tex", "html")}
    assert texts["md"].startswith("> A toy world: no word about real models.\n")
    assert "| detector | 91.0 | 4.5 |" in texts["md"]
    assert "- On held-out scenes." in texts["md"]
    assert texts["tex"].startswith("% A toy world: no word")
    assert r"detector & 91.0 & 4.5 \\" in texts["tex"]
    assert f'<p class="caveat">{extras.notes[0]}</p>' in texts["html"]
    assert "detector 91.0 4.5" in " ".join(re.sub("<[^>]*>", " ", texts["html"]).split())
    assert '<p class="note">On held-out scenes.</p>' in texts["html"]
    assert "<figcaption>Rates</figcaption>" in texts["html"]
    assert "<i>" not in texts["html"]
    stored = json.loads((tmp_path / "leaderboard.json").read_text())
    assert "Components" in [each["title"] for each in stored["tables"]]
    assert stored["notes"] == extras.notes


def test_a_figure_name_may_not_leave_the_folder(board: Leaderboard, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="extra figure"):
        write_leaderboard(board, tmp_path, Extras(figures={"../rates": components()}))
    assert list(tmp_path.iterdir()) == []


def test_what_a_task_wants_said_is_said_once(tmp_path: Path) -> None:
    noted = Toy(metadata={"note": "Synthetic, <b>no</b> model."})
    run_toy(tmp_path / "logs", noted, [say(5, True)] * 6)
    run_toy(tmp_path / "logs", noted, [say(8, True)] * 6, defended=True)
    run_toy(tmp_path / "logs", Toy(name="plain"), [say(8, True)] * 6)
    board = build(read_results([str(tmp_path / "logs")]))
    assert board.notes == ["Synthetic, <b>no</b> model."]
    write_leaderboard(board, tmp_path / "site")
    assert (
        (tmp_path / "site" / "leaderboard.md")
        .read_text()
        .startswith("> Synthetic, \\<b\\>no\\</b\\> model.\n")
    )


def test_tables_can_be_chosen(board: Leaderboard, tmp_path: Path) -> None:
    write_leaderboard(board, tmp_path, tables=board_sheets(board)[:1])
    text = (tmp_path / "leaderboard.md").read_text()
    assert text.startswith("## What each defense brings")
    assert "## Toy all" not in text
