"""The figures of a leaderboard: what they show, and that nothing in them overlaps or is cut."""

import math
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog
from matplotlib.figure import Figure
from support.clones import clone, template_log
from support.drawn_boards import Row, board_of
from support.geometry import faults_in, markers_of, texts_of

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.figures import (
    COLUMN,
    PAGE,
    Figures,
    all_figures,
    as_bytes,
    figures,
)
from vlmguard.results.leaderboard.figures.heat import contrast, diverging, letters_on, sequential
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results

USUAL: dict[str, Row] = {
    "undefended": (4.2, 0.98, 0.0),
    "vlmguard": (9.9, 0.98, 0.0),
    "ecso": (6.4, 0.97, 0.01),
    "eta": (8.0, 0.98, 0.0),
    "figstep_defense": (6.2, 0.92, 0.1),
    "always_refuse": (10.0, 0.0, 1.0),
}
LONG = "mllm_protector (detector=hf-vlm/organisation/a-very-long-name-of-a-checkpoint, threshold="
ODD: dict[str, dict[str, Row]] = {
    "usual": USUAL,
    "one row": {"undefended": (5.0, 0.5, 0.2)},
    "twenty defenses": {
        "undefended": (3.0, 0.95, 0.01),
        **{
            f"defense_number_{n}": (3 + 6.5 * n / 20, 0.95 - (n * 7 % 20) / 90, n * 3 % 20 / 90)
            for n in range(20)
        },
    },
    "all equal": dict.fromkeys(USUAL, (8.0, 0.8, 0.1)),
    "nothing known": dict.fromkeys(USUAL, (math.nan, math.nan, math.nan)),
    "one unknown": {**USUAL, "eta": (math.nan, 0.5, math.nan)},
    "long names": {
        "undefended": (3.0, 0.9, 0.0),
        f"{LONG}0.25)": (8.0, 0.9, 0.0),
        f"{LONG}0.75)": (8.1, 0.8, 0.1),
        "ünïcödé ← arrows →" * 9: (5.0, 0.7, 0.1),
    },
    "controls alone": {"always_refuse": (10.0, 0.0, 1.0), "always_caution": (7.0, 0.9, 0.1)},
    "extremes": {
        "undefended": (0.0, 1.0, 0.0),
        "ecso": (10.0, 0.0, 1.0),
        "vlmguard": (10.0, 1.0, 0.0),
    },
}
NARROW = ("usual", "twenty defenses", "long names")


@pytest.mark.parametrize("name", ODD)
def test_nothing_overlaps_or_is_cut(name: str) -> None:
    board = board_of(ODD[name])
    # The width of a column is harder, but few figures of one panel differ there.
    made = all_figures(board) if name in NARROW else Figures(figures(board), {})
    assert [faults_in(each) for each in made.page.values()] == [[]] * len(made.page)
    assert [faults_in(each) for each in made.column.values()] == [[]] * len(made.column)
    assert list(made.column) == (["gains"] if name in NARROW else [])
    assert {each.get_figwidth() for each in made.column.values()} <= {COLUMN}
    assert all(each.get_figwidth() <= PAGE for each in made.page.values())


def test_many_panels_go_on_in_another_figure() -> None:
    targets = [f"vllm/organisation/model-{n}-with-a-long-name-7b-instruct" for n in range(3)]
    rows = {name: USUAL[name] for name in ("undefended", "vlmguard")}
    board = board_of(rows, targets, ["First all", "Second all", "Third (judge other)"], [])
    made = figures(board)
    assert list(made)[:3] == ["frontier", "frontier-2", "refusals"]
    assert len(made["frontier"].axes) == 8
    assert len(made["frontier-2"].axes) == 1
    assert [faults_in(made[name]) for name in ("frontier", "frontier-2", "gains")] == [[]] * 3


def test_many_categories_go_on_below() -> None:
    names = [f"category {n} of unusually long words" for n in range(11)]
    made = all_figures(board_of(USUAL, categories=names))
    assert words_in(made.page["categories"]).count("vlmguard") == 2
    assert words_in(made.column["categories"]).count("vlmguard") > 2
    assert [faults_in(made.page["categories"]), faults_in(made.column["categories"])] == [[], []]


def test_a_real_leaderboard_is_drawn_with_the_same_bytes_each_time(evil: Leaderboard) -> None:
    drawn = figures(evil)
    assert list(drawn) == ["frontier", "refusals", "gains", "categories", "cost"]
    assert as_bytes(drawn["frontier"], "png").startswith(b"\x89PNG")
    again = figures(evil)
    for form in ("svg", "pdf"):
        for name, figure in drawn.items():
            assert as_bytes(figure, form) == as_bytes(again[name], form)


def test_a_control_far_away_stands_at_the_border_with_its_value() -> None:
    figure = figures(board_of(USUAL))["frontier"]
    axis = figure.axes[0]
    assert axis.get_xlim()[0] > 60
    assert "← always_refuse (0 %, 10.0)" in words_in(figure)
    assert "(axis not from 0)" in axis.get_xlabel()
    assert any("lies outside" in each for each in words_in(figure))
    inside = axis.get_window_extent()
    assert all(inside.overlaps(each) for each in markers_of(figure))


def test_an_axis_that_begins_at_zero_says_nothing() -> None:
    rows: dict[str, Row] = {"undefended": (0.4, 0.1, 0.0), "ecso": (9.0, 0.9, 0.0)}
    axis = figures(board_of(rows))["frontier"].axes[0]
    assert axis.get_xlabel() == "helpful % ↑"
    assert axis.get_ylabel() == "safety 0-10 ↑"


def test_tiny_differences_do_not_look_large() -> None:
    rows: dict[str, Row] = {"undefended": (5.0, 0.5, 0.0), "ecso": (5.01, 0.501, 0.0)}
    low, high = figures(board_of(rows))["frontier"].axes[0].get_xlim()
    assert high - low >= 20


def test_rows_at_one_place_are_one_marker_with_their_number_and_all_names() -> None:
    rows: dict[str, Row] = {
        **dict.fromkeys(["undefended", "ecso", "eta"], (8.0, 0.8, 0.1)),
        "vlmguard": (9.0, 0.9, 0.1),
    }
    figure = figures(board_of(rows))["frontier"]
    assert len(markers_of(figure)) == 2
    assert {"3", "undefended", "ecso", "eta", "vlmguard"} <= set(words_in(figure))


def test_a_long_name_is_cut_and_two_never_become_one() -> None:
    figure = figures(board_of(ODD["long names"]))["gains"]
    names = [each for each in words_in(figure) if "…" in each and each.startswith("mllm")]
    assert len(names) == len(set(names)) == 2
    assert max(map(len, names)) <= 30


def test_rows_without_a_harmless_partner_are_counted() -> None:
    board = board_of(USUAL)
    board.beside[1].partner = None
    figure = figures(board)["refusals"]
    said = " ".join(words_in(figure))
    assert "1 more rows have no harmless partner run" in said
    assert "vlmguard" not in words_in(figure)
    board.beside = [each for each in board.beside if each.partner is None]
    assert "refusals" not in figures(board)


def test_heat_maps_can_be_read_and_have_a_middle() -> None:
    shares = [step / 50 - 1 for step in range(101)]
    for colour in [*map(diverging, shares), *map(sequential, shares)]:
        assert contrast(letters_on(colour), colour) >= 4.5
    red, green, blue = (int(diverging(0)[at : at + 2], 16) for at in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 4
    assert contrast(diverging(0), "#ffffff") < 1.1


def test_a_cell_without_a_value_is_hatched_and_said() -> None:
    board = board_of(USUAL)
    del board.entries[2].categories["fire"]
    figure = figures(board)["categories"]
    hatched = [each for axis in figure.axes for each in axis.patches if each.get_hatch()]
    assert len(hatched) == 1
    assert "Hatched: nothing was scored there." in words_in(figure)
    assert "n=12" in words_in(figure)


def test_without_an_undefended_run_colours_are_values() -> None:
    figure = figures(board_of({"ecso": (9.0, 0.9, 0.0)}))["categories"]
    assert "value" in words_in(figure)
    assert "no undefended run" in figure.caption


def test_alternative_texts_say_the_finding() -> None:
    made = figures(board_of(USUAL))
    assert made["frontier"].alt == (
        "target, Toy all: undefended safety 4.2 at helpful 98 %; vlmguard safety 9.9 at helpful "
        "98 %; always_refuse safety 10.0 at helpful 0 %; 3 more rows are beaten in both."
    )
    assert "vlmguard" in made["gains"].alt
    assert "(fire)" in made["categories"].alt
    assert all(each.caption for each in made.values())


def test_targets_lose_their_provider_and_keep_their_name(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 6)
    names = {
        "microworld/qwen2-vl/low": "qwen2-vl/low",
        "hf-vlm/Qwen/Qwen2-VL-7B-Instruct": "Qwen2-VL-7B-Instruct",
        "mockllm/model": "model",
    }
    for number, target in enumerate(names):
        path = tmp_path / "logs" / f"{number}.eval"
        clone(log, path, lambda _: (5.0, 1.0, 0.0), defense="none", target=target)
    figure = figures(build(read_results([str(tmp_path / "logs")])))["frontier"]
    assert set(names.values()) <= set(words_in(figure))
    assert not set(names) & set(words_in(figure))


def test_gains_without_safety_have_no_empty_axes(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 6)
    for defense in ("none", "ecso"):

        def unjudged(log: EvalLog) -> None:
            for sample in log.samples or []:
                assert sample.scores
                del sample.scores["judge"]

        path = tmp_path / "logs" / f"{defense}.eval"
        clone(log, path, lambda _: (5.0, 1.0, 0.0), defense=defense, change=unjudged)
    board = build(read_results([str(tmp_path / "logs")]))
    assert board.entries[1].cells["dsr"].difference is not None
    assert "gains" not in figures(board)


def words_in(figure: Figure) -> list[str]:
    return [text for text, _ in texts_of(figure)]
