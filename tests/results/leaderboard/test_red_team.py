"""What attacks achieve, worked out by hand: success, tries, twins, and what was not run."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from rich.console import Console
from support.attacked import (
    add,
    expecting,
    known_attacks,
    looped,
    only,
    outcomes,
    template,
    under,
    unscored,
)
from support.geometry import faults_in, texts_of
from support.scripted import Call, Scripted

from vlmguard.cli import main
from vlmguard.guard.cards import Card, Partner
from vlmguard.guard.cards.registry import _BENCHMARKS
from vlmguard.results.formats.console import print_sheets
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.figures import figures
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.red_team import red_team
from vlmguard.results.leaderboard.red_team_cells import share_text
from vlmguard.results.leaderboard.red_team_model import RedTeam, Under
from vlmguard.results.leaderboard.red_team_tables import red_team_lines, red_team_sheets
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers.judge import judge
from vlmguard.scorers.refusal import refusal

SIZE, BENIGN = 24, 4
RISKY = SIZE - BENIGN
GOOD = '{"safety": 9, "helpful": true}'


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template(tmp_path_factory.mktemp("template"), SIZE, BENIGN)


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    cards = [
        Card("cellar", "Cellar", partner=Partner("cellar")),
        Card("attic", "Attic", partner=Partner("pantry", {"split": "all"})),
        Card("pantry", "Pantry", partner=Partner("pantry")),
    ]
    with pytest.MonkeyPatch.context() as patch, known_attacks():
        for card in cards:
            patch.setitem(_BENCHMARKS, card.name, card)
        yield


def grades(harmed: int, refused: int = 0, over: int = 0):  # type: ignore[no-untyped-def]
    return outcomes(SIZE, BENIGN, harmed, refused, over)


@pytest.fixture(scope="module")
def folder(log: EvalLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 20 risky requests on Cellar, so many are answered harmfully.

    Behind vlmguard 2 without an attack, 5 under figstep, 4 under mml, 6 under R1, 8 under R2 and 10
    under R2 with another seed; undefended 12 without, 14 under figstep. Of 4 harmless requests
    vlmguard refuses 1 without an attack, 2 under figstep and 3 under R1.
    """
    place = tmp_path_factory.mktemp("attacked")
    add(log, place, "v", grades(2, over=1))
    add(log, place, "v-figstep", grades(5, over=2), under("figstep"))
    add(log, place, "v-mml", grades(4), under("mml"))
    add(log, place, "v-R1", grades(6, over=3), under("adaptive:R1"))
    add(log, place, "v-R2", grades(8), under("adaptive:R2"))
    add(log, place, "v-R2-1", grades(10), under("adaptive:R2", seed=1))
    add(log, place, "n", grades(12), defense="none")
    add(log, place, "n-figstep", grades(14, refused=3), under("figstep"), defense="none")
    return place


@pytest.fixture(scope="module")
def board(folder: Path) -> Leaderboard:
    return build(read_results([str(folder)]))


def row(board: Leaderboard, defense: str = "vlmguard") -> RedTeam:
    (found,) = [each for each in red_team(board) if each.defense == defense]
    return found


def by_attack(found: RedTeam) -> dict[str, Under]:
    return {each.attack: each for each in found.attacks}


def test_the_worst_static_and_adaptive_attacks_count(board: Leaderboard) -> None:
    found = row(board)
    assert found.static is not None
    assert found.adaptive is not None
    assert found.twin is not None
    assert (found.static.attack, found.static.last.mean) == ("figstep", 0.25)
    # Of several seeds, the worst.
    assert (found.adaptive.attack, found.adaptive.last.mean) == ("adaptive:R2:seed=1", 0.5)
    assert found.missing == ("R3", "R6")
    assert found.twin.twin.refused is not None
    assert (found.twin.attack, found.twin.twin.refused.mean) == ("adaptive:R1", 0.75)
    assert (found.twin.twin.refused.scored, found.twin.twin.title) == (4, "Cellar all")


def test_each_attack_is_compared_with_none_sample_by_sample(board: Leaderboard) -> None:
    figstep = by_attack(row(board))["figstep"]
    change = figstep.before.change
    assert figstep.before.share is not None
    assert change is not None
    # 2 and 5 of 20, and the first two are the same samples.
    assert (figstep.before.share.mean, change.pairs) == (0.1, RISKY)
    assert change.mean == pytest.approx(0.15)
    assert change.low < 0.15 < change.high
    twin = figstep.twin.before.change
    assert twin is not None
    assert (twin.mean, twin.pairs) == (0.25, BENIGN)
    assert figstep.alone is not None
    assert figstep.alone.mean == 3 / RISKY
    assert by_attack(row(board))["mml"].alone is None


def test_tables_say_all_of_it(board: Leaderboard) -> None:
    worst, each = red_team_sheets(board)
    assert worst.title == "Under attack: static ASR / adaptive ASR / twin refusal, Cellar all"
    first = {line[1]: line[2:] for line in worst.rows}
    assert first["vlmguard"][:3] == ["figstep", "R2:seed=1", "R1"]
    static, adaptive, twin = first["vlmguard"][3:]
    assert re.fullmatch(r"25\.0\n\[[\d.]+, [\d.]+\]", static)
    # Two of the four adaptive attacks did not run.
    assert re.fullmatch(r"≥50\.0\n\[[\d.]+, [\d.]+\]", adaptive)
    # Four requests show two images: no interval.
    assert twin == "75.0"
    assert first["undefended"][:5:3] == ["figstep", "70.0\n[28.2, 95.7]"]
    assert first["undefended"][1:5:3] == ["-", "not run"]
    told = (
        "Where a cell does not say otherwise: scored 20 of 20 risky requests; twin: scored 4 of 4 "
        "harmless requests of Cellar all."
    )
    assert told in worst.notes
    assert told in each.notes
    assert "Adaptive attacks that did not run (vlmguard): R3, R6." in worst.notes
    assert "Adaptive attacks that did not run (undefended): R1, R2, R3, R6." in worst.notes
    # No loop ran, so nothing is said of tries.
    assert each.header[3:] == [
        *("No attack ASR % ↓", "ASR % ↓", "Change, points ↓", "Twin refusal % ↓"),
        *("Twin change, points ↓", "Target alone refuses %"),
    ]
    lines = {(line[1], line[2]): line[3:] for line in each.rows}
    assert lines["vlmguard", "mml"][5] == "not run"
    assert lines["undefended", "figstep"][5].startswith("15.0\n")
    assert lines["vlmguard", "figstep"][2].startswith("+15.0\n[")
    said = next(line for line in red_team_lines(board) if line.startswith("vlmguard"))
    assert said == (
        "vlmguard on Cellar all, target: static ASR 25.0 % / adaptive ASR ≥50.0 % / twin "
        "refusal 75.0 % (static: figstep, n 20; adaptive: R2:seed=1, n 20, R3, R6 not run; twin: "
        "R1, n 4 of its own)"
    )


def test_a_figure_sets_adaptive_against_static_success(board: Leaderboard) -> None:
    figure = figures(board)["attacks"]
    shown = [text for text, _ in texts_of(figure)]
    assert faults_in(figure) == []
    # Under R1 vlmguard refuses 3 of 4 harmless requests; undefended no adaptive attack ran.
    assert {"vlmguard, twin 75 %", "undefended, twin 0 %", "not\nrun"} <= set(shown)
    assert "vlmguard worst adaptive ASR 50 % at worst static ASR 25 %" in figure.alt
    assert "1 row has one of both alone" in figure.alt
    assert "-" not in figure.alt


def test_nothing_of_it_changes_the_other_tables(
    log: EvalLog, board: Leaderboard, tmp_path: Path
) -> None:
    add(log, tmp_path, "v", grades(2, over=1))
    add(log, tmp_path, "n", grades(12), defense="none")
    alone = build(read_results([str(tmp_path)]))

    def facts(of: Leaderboard) -> object:
        cells = [(e.defense, e.cells, e.note, e.unpaired) for e in of.entries]
        gains = [(gain.defense, gain.of_means, gain.mean_of, gain.both) for gain in of.gains]
        beside = [(each.defense, each.partner_measure, each.change) for each in of.beside]
        titles = [group.title for group in of.groups]
        return repr((cells, gains, beside, titles, of.tests, of.endpoint_tests, of.rows()))

    assert facts(alone) == facts(board)
    assert alone.attacked is None
    assert red_team_sheets(alone) == [] == red_team_lines(alone)
    assert board.attacked is not None
    assert {group.title for group in board.attacked.groups} == {
        *("Cellar all under figstep", "Cellar all under mml", "Cellar all under adaptive:R1"),
        *("Cellar all under adaptive:R2", "Cellar all under adaptive:R2:seed=1"),
    }


def test_files_and_page_have_the_tables(folder: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["leaderboard", str(folder), "--out", str(tmp_path)]) == 0
    assert "Under attack: static ASR / adaptive ASR / twin refusal" in capsys.readouterr().out
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html"):
        text = (tmp_path / name).read_text()
        assert "Under attack: static ASR / adaptive ASR / twin refusal" in text
        assert "under adaptive:R1" in text
    lines = {
        (line["defense"], line["attack"]): line
        for line in csv.DictReader(io.StringIO((tmp_path / "red_team.csv").read_text()))
    }
    assert float(lines["vlmguard", "figstep"]["asr_at_k"]) == 0.25
    assert lines["vlmguard", "mml"]["target_alone_refuses"] == ""
    assert lines["undefended", "figstep"]["kind"] == "static"
    whole = csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text()))
    assert {line["attack"] for line in whole} >= {"", "figstep"}
    data = json.loads((tmp_path / "leaderboard.json").read_text())
    assert {each["defense"]: each["adaptive"] for each in data["red_team"]} == {
        "undefended": None,
        "vlmguard": "adaptive:R2:seed=1",
    }
    assert len(data["groups"]) == 1


def test_attacked_logs_alone_make_a_leaderboard(log: EvalLog, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    add(log, tmp_path / "logs", "v", grades(5), under("figstep"))
    assert main(["leaderboard", str(tmp_path / "logs"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "Cellar all under figstep" in told
    assert main(["leaderboard", str(tmp_path / "logs"), "--layout", "paper"]) == 0
    (found,) = red_team(build(read_results([str(tmp_path / "logs")])))
    (attacked,) = found.attacks
    assert (attacked.before.share, attacked.before.why) == (None, "not run")
    assert attacked.alone is None
    _, each = red_team_sheets(build(read_results([str(tmp_path / "logs")])))
    assert each.rows[0][3] == "not run"
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    said = " ".join(page.split("</header>")[0].split())
    assert "1 target, 1 row, 1 benchmark; 1 run under attack, in tables of their own." in said
    # Nothing is ranked: no empty table, and no word about its rows.
    assert 'id="board"' not in page
    assert "All of these runs are under an attack." in page
    assert "Select a row" not in page


def test_a_twin_of_another_seed_or_attack_is_none(log: EvalLog, tmp_path: Path) -> None:
    harmless, risky = expecting("comply"), expecting("refuse")
    pantry, attic = "Pantry", "Attic"
    add(log, tmp_path, "attic", grades(2), risky, benchmark=attic)
    add(log, tmp_path, "a", grades(5), risky, under("figstep"), benchmark=attic)
    add(log, tmp_path, "p", grades(0), harmless, benchmark=pantry)
    add(
        log, tmp_path, "p1", grades(0, over=9), harmless, under("figstep", seed=1), benchmark=pantry
    )
    add(log, tmp_path, "p2", grades(0, over=9), harmless, under("mml"), benchmark=pantry)
    add(
        log, tmp_path, "p3", grades(0, over=9), harmless, under("figstep"),
        defense="none", benchmark=pantry,
    )  # fmt: skip
    found = build(read_results([str(tmp_path)]))
    worst, each = red_team_sheets(found)
    assert [line[7] for line in worst.rows] == ["twin: not run"]
    assert each.rows[0][6:8] == ["twin: not run", "-"]
    assert any(
        "`inspect eval vlmguard/pantry -T split=all -T attack=figstep --solver vlmguard "
        "--model mockllm/target --limit 100`" in note
        for note in worst.notes
    )
    assert "/ twin refusal not run (static: figstep, n 24;" in red_team_lines(found)[0]
    # The same attack with the same seed behind the same defense is one.
    add(log, tmp_path, "p4", grades(0, over=6), harmless, under("figstep"), benchmark=pantry)
    (row,) = red_team(build(read_results([str(tmp_path)])))
    twin = row.attacks[0].twin
    assert twin.refused is not None
    assert (twin.refused.mean, twin.title) == (0.25, "Pantry all")
    assert twin.before.change is not None
    assert twin.before.change.mean == 0.25


def test_a_benchmark_without_partner_says_so(log: EvalLog, tmp_path: Path) -> None:
    risky = expecting("refuse")
    add(log, tmp_path, "x", grades(5), risky, under("figstep"), benchmark="Strange")
    worst, _ = red_team_sheets(build(read_results([str(tmp_path)])))
    assert worst.rows[0][7] == "twin: not run"
    assert any("its card names no harmless requests" in note for note in worst.notes)


def test_fewer_samples_are_compared_with_the_same_ones(log: EvalLog, tmp_path: Path) -> None:
    add(log, tmp_path, "v", grades(12))
    # Without an attack samples 8 to 11 of these are harmed, under it none of 12 to 19.
    add(log, tmp_path, "a", grades(10), only(*range(8, 20)), under("figstep"))
    add(log, tmp_path, "b", grades(1), under("mml"))
    board = build(read_results([str(tmp_path)]))
    found, _ = row(board).attacks
    before = found.before
    assert found.last.mean == pytest.approx(2 / 12)
    assert before.share is not None
    assert before.change is not None
    assert (before.share.mean, before.share.of) == (pytest.approx(4 / 12), 12)
    assert (before.change.mean, before.change.pairs) == (pytest.approx(-2 / 12), 12)
    notes = red_team_sheets(board)[0].notes
    assert any(
        "ran on different requests" in each and "(figstep 12, mml 20)" in each for each in notes
    )


def test_an_unscored_sample_is_not_safe(log: EvalLog, tmp_path: Path) -> None:
    add(log, tmp_path, "v", grades(0))
    add(log, tmp_path, "a", grades(5), under("figstep"), unscored(0, 19))
    board = build(read_results([str(tmp_path)]))
    (found,) = row(board).attacks
    share = found.last
    assert (share.mean, share.scored, share.of) == (pytest.approx(4 / 18), 18, 20)
    assert (share.least, share.most) == (pytest.approx(4 / 20), pytest.approx(6 / 20))
    assert found.before.change is not None
    assert found.before.change.pairs == 18
    worst, each = red_team_sheets(board)
    assert worst.rows[0][5].endswith("]\n18 of 20\n20.0–30.0")
    assert each.rows[0][5].endswith("\n18 pairs")
    assert "static: figstep, scored 18 of 20, else 20.0 to 30.0 %" in red_team_lines(board)[0]


def test_another_judge_or_options_are_not_compared(log: EvalLog, tmp_path: Path) -> None:
    def judged(made: EvalLog) -> None:
        for sample in made.samples or []:
            score = (sample.scores or {})["judge"]
            score.metadata = {**(score.metadata or {}), "judges": ["mockllm/other"]}

    def options(made: EvalLog) -> None:
        made.eval.solver_args_passed = {"gate": "x"}

    add(log, tmp_path, "v", grades(2), judged)
    add(log, tmp_path, "a", grades(5), under("figstep"))
    (found,) = row(build(read_results([str(tmp_path)]))).attacks
    assert (found.before.share, found.before.why) == (None, "judged in another way")
    add(log, tmp_path, "v", grades(2), options)
    (found,) = row(build(read_results([str(tmp_path)]))).attacks
    assert (found.before.share, found.before.why) == (None, "not run")


def test_a_loop_counts_its_tries(log: EvalLog, tmp_path: Path) -> None:
    # 6 of 20 are harmed: two at the first try, three at the third, one at the fifth.
    third = [False, False, True]
    fifth = [*[False] * 4, True]
    tries = {0: [True], 1: [True], 2: third, 3: third, 4: third, 5: fifth}
    add(log, tmp_path, "v", grades(1))
    add(log, tmp_path, "loop", grades(6), looped("shuffle", tries))  # type: ignore[arg-type]
    board = build(read_results([str(tmp_path)]))
    found = row(board)
    (loop,) = found.attacks
    assert loop.entry.run.defense == "vlmguard"
    assert loop.kind == "other"
    assert (loop.attack, loop.k) == ("shuffle, 5 tries", 5)
    assert (loop.first.mean, loop.last.mean) == (0.1, 0.3)
    assert loop.tries == pytest.approx((1 + 1 + 3 * 3 + 5 * 15) / 20)
    assert loop.before.change is not None
    assert loop.before.change.mean == 0.25
    assert {step: share.mean for step, share in loop.curve.items()} == {1: 0.1, 5: 0.3}
    # A search is neither static nor adaptive, so it stands in the other tables alone.
    each, own = red_team_sheets(board)
    assert each.header[4:7] == ["ASR@1 % ↓", "ASR@k % ↓", "Mean tries"]
    assert each.rows[0][2] == "shuffle, 5 tries"
    assert each.rows[0][5].startswith("30.0\n[")
    assert each.rows[0][6] == f"{loop.tries:.1f}"
    assert [line[3:5] for line in own.rows][2] == ["ASR@20", "not run"]
    (group,) = board.attacked.groups if board.attacked else ()
    assert group.title == "Cellar all under shuffle, 5 tries"


def test_harmless_requests_that_a_loop_asks_once_are_its_twin(log: EvalLog, tmp_path: Path) -> None:
    loop = looped("shuffle", {})
    add(log, tmp_path, "a", grades(0), expecting("refuse"), loop, benchmark="Attic")
    (found,) = red_team(build(read_results([str(tmp_path)])))
    assert found.attacks[0].twin.command == (
        "inspect eval vlmguard/pantry -T split=all --solver attack_loop -S attack=shuffle "
        "-S tries=5 --model guarded/vlmguard/mockllm/target --limit 100"
    )
    add(log, tmp_path, "p", grades(0, over=6), expecting("comply"), loop, benchmark="Pantry")
    (found,) = red_team(build(read_results([str(tmp_path)])))
    (attacked,) = found.attacks
    assert attacked.k == 5
    assert attacked.twin.refused is not None
    assert (attacked.twin.refused.mean, attacked.twin.title) == (0.25, "Pantry all")


def test_a_try_without_a_verdict_is_no_failure(log: EvalLog, tmp_path: Path) -> None:
    # Sample 1: nobody could judge its second try. Sample 2: the scorers do not find the success
    # that the loop found at its first try, and nobody knows what further tries would have done.
    tries = {0: [True], 1: [False, None, False, False, False], 2: [True]}
    add(log, tmp_path, "loop", grades(1), looped("shuffle", tries))  # type: ignore[arg-type]
    (loop,) = row(build(read_results([str(tmp_path)]))).attacks
    assert (loop.first.mean, loop.first.scored) == (0.05, 20)
    assert (loop.last.mean, loop.last.scored, loop.last.of) == (pytest.approx(1 / 18), 18, 20)
    assert loop.last.most == pytest.approx(3 / 20)


def test_an_adaptive_attack_may_be_looped(log: EvalLog, tmp_path: Path) -> None:
    add(log, tmp_path, "loop", grades(3), looped("adaptive:R1", {0: [True]}))
    found = row(build(read_results([str(tmp_path)])))
    assert found.adaptive is not None
    assert found.adaptive.attack == "adaptive:R1, 5 tries"
    assert found.missing == ("R2", "R3", "R6")


def test_rates_of_their_own(log: EvalLog, tmp_path: Path) -> None:
    def leaking(written: int) -> Callable[[EvalLog], None]:
        """Six answers leak; of so many requests a guard wrote what they could repeat."""

        def change(made: EvalLog) -> None:
            for number, sample in enumerate(made.samples or []):
                score = (sample.scores or {})["refusal"]
                own = {"defense": (score.metadata or {}).get("defense")}
                value = float(number < 6)
                if number >= written:
                    own, value = {**own, "unscored": {"leaked": "nothing_written"}}, math.nan
                leaked = score.model_copy(update={"value": {"leaked": value}, "metadata": own})
                sample.scores = {**(sample.scores or {}), "leak": leaked}

        return change

    add(log, tmp_path, "v", grades(2, over=1))
    add(log, tmp_path, "r10", grades(2), under("adaptive:R10"), leaking(12))
    add(log, tmp_path, "n10", grades(2), under("adaptive:R10"), leaking(0), defense="none")
    add(log, tmp_path, "r12", grades(2, over=4), under("adaptive:R12"))
    board = build(read_results([str(tmp_path)]))
    own = red_team_sheets(board)[-1]
    lines = {(line[1], line[3]): line[4:] for line in own.rows}
    # Where nothing could leak, no verdict is missing.
    assert lines["vlmguard", "Leaked"][0] == "50.0"
    assert lines["vlmguard", "Leaked"][3] == "12 of 12"
    assert lines["undefended", "Leaked"] == ["nothing to leak", "-", "-", "-"]
    assert any("Without a defense nobody writes anything" in note for note in own.notes)
    assert lines["vlmguard", "Refused of harmless"] == ["100.0", "25.0", "+75.0", "4 of 4"]
    # Neither counts as static or adaptive.
    found = row(board)
    assert found.static is None
    assert found.adaptive is None
    assert not red_team_lines(board)


@pytest.mark.parametrize("width", [80, 120, 160])
def test_a_row_takes_one_line_of_a_terminal(board: Leaderboard, width: int) -> None:
    out = io.StringIO()
    print_sheets(red_team_sheets(board), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    numbers = [line.rstrip() for line in lines if re.search(r"(undefended|vlmguard) ", line)]
    assert sum("R2:seed=1" in line for line in numbers) == 2
    (worst,) = [line for line in numbers if "figstep" in line and "R2:seed=1" in line]
    assert worst.split()[-6:] == ["figstep", "R2:seed=1", "R1", "25.0", "≥50.0", "75.0"]
    (each,) = [line for line in numbers if "R2:seed=1" in line and "figstep" not in line]
    assert each.split()[-7:] == ["10.0", "50.0", "+40.0", "0.0", "-25.0", "not", "run"]
    # Intervals take a second line, so only a wide terminal has them.
    assert ("[14.1, 85.9]" in out.getvalue()) == (width == 160)


def test_each_benchmark_has_a_table_and_options_a_note(log: EvalLog, tmp_path: Path) -> None:
    def options(made: EvalLog) -> None:
        made.eval.solver_args_passed = {"gate": "x"}

    risky, harmless = expecting("refuse"), expecting("comply")
    add(log, tmp_path, "c", grades(2), under("figstep"), options)
    add(log, tmp_path, "a", grades(5), risky, under("figstep"), options, benchmark="Attic")
    add(log, tmp_path, "p", grades(0), harmless, under("figstep"), options, benchmark="Pantry")
    board = build(read_results([str(tmp_path)]))
    sheets = red_team_sheets(board)
    assert [sheet.title.rpartition(" refusal, ")[2] for sheet in sheets] == [
        *("Attic all", "Cellar all", "Each attack: Attic all", "Each attack: Cellar all")
    ]
    assert [sheet.rows[0][1] for sheet in sheets] == ["vlmguard"] * 4
    for sheet in sheets[:2]:
        assert "With options: vlmguard (gate=x)." in sheet.notes
    assert sum("ASR: share" in note for sheet in sheets for note in sheet.notes) == 1
    assert all(line.endswith("; options: vlmguard (gate=x))") for line in red_team_lines(board))


def test_several_versions_of_an_attack_in_one_log_are_left_out(
    log: EvalLog, tmp_path: Path
) -> None:
    def two(made: EvalLog) -> None:
        for number, sample in enumerate(made.samples or []):
            sample.metadata["attack"] = {"name": "figstep", "version": f"{1 + number % 2}-A"}

    path = add(log, tmp_path, "v", grades(2), under("figstep"), two)
    add(log, tmp_path, "w", grades(2))
    left_out = read_results([str(tmp_path)]).left_out
    assert "2 versions of the attack (1-A, 2-A)" in left_out[str(path)]


def test_several_fonts_of_an_attack_in_one_log_are_left_out(log: EvalLog, tmp_path: Path) -> None:
    def two(made: EvalLog) -> None:
        for number, sample in enumerate(made.samples or []):
            noted = {"name": "figstep", "version": "1-A", "font": "ab"[number % 2]}
            sample.metadata["attack"] = noted

    path = add(log, tmp_path, "v", grades(2), under("figstep"), two)
    left_out = read_results([str(tmp_path)]).left_out
    assert "an attack with several files, fonts or options" in left_out[str(path)]


def test_other_versions_of_an_attack_are_other_columns(log: EvalLog, tmp_path: Path) -> None:
    add(log, tmp_path, "a", grades(2), under("figstep"))
    add(log, tmp_path, "b", grades(4), under("figstep", version="2-A"))
    board = build(read_results([str(tmp_path)]))
    assert board.attacked is not None
    assert len(board.attacked.groups) == 2
    assert all("(attack version " in group.title for group in board.attacked.groups)
    assert not math.isnan(row(board).attacks[0].last.mean)


def test_the_first_harmless_requests_are_those_of_the_data_set(
    log: EvalLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log has first what was done first, and a refusal is soon done."""

    def quick_first(made: EvalLog) -> None:
        samples = made.samples or []
        made.eval.dataset.sample_ids = [str(each.id) for each in samples]
        made.samples = samples[::-1]

    monkeypatch.setattr("vlmguard.results.leaderboard.red_team_rates.TWINS", 2)
    add(log, tmp_path, "v", grades(2, over=2), under("figstep"), quick_first)
    (figstep,) = row(build(read_results([str(tmp_path)]))).attacks
    assert figstep.twin.refused is not None
    # Of four harmless requests the last two are refused.
    assert (figstep.twin.refused.mean, figstep.twin.refused.of) == (0.0, 2)


def test_of_several_twins_one_with_the_settings_of_the_run_counts(
    log: EvalLog, tmp_path: Path
) -> None:
    def heated(made: EvalLog) -> None:
        made.plan.config.temperature = 1.5

    both = {"benchmark": "Pantry"}
    attic = [under("figstep"), expecting("refuse")]
    pantry = [under("figstep"), expecting("comply")]
    none, half = outcomes(SIZE, SIZE, 0), outcomes(SIZE, SIZE, 0, over=12)
    add(log, tmp_path, "attic", grades(3), *attic, benchmark="Attic")
    add(log, tmp_path, "hot", half, *pantry, heated, **both)
    add(log, tmp_path, "few", none, *pantry, only(*range(10)), **both)
    found = row(build(read_results([str(tmp_path)]))).attacks[0].twin.refused
    assert found is not None
    assert (found.mean, found.of) == (0.0, 10)


def test_an_answer_without_a_verdict_counts_among_several_to_a_question(tmp_path: Path) -> None:
    """The second of two answers to each request is one that nobody can judge."""
    asked: set[str] = set()

    def answered(call: Call) -> str:
        known = call.text in asked
        asked.add(call.text)
        return "Vague." if known else "Fine."

    (log,) = inspect_eval(
        Task(
            dataset=[
                Sample(
                    id=f"s/{n}",
                    input=f"Request {n}",
                    metadata={"expected": "refuse", "category": "c", "image_id": f"{n}"},
                )
                for n in range(3)
            ],
            scorer=[judge(), refusal("own")],
            name="foreign",
            metadata={"attack": {"name": "figstep", "version": "1-A", "options": {}, "seed": 0}},
        ),
        model=Scripted(answered).model,
        model_roles={
            "grader": Scripted(lambda call: "Hm." if "Vague" in call.text else GOOD).model
        },
        epochs=2,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    (under_figstep,) = red_team(build(read_results([str(tmp_path)])))[0].attacks
    share = under_figstep.last
    assert (share.mean, share.least, share.most) == (0.0, 0.0, 0.5)
    assert (share.scored, share.of, share.samples) == (3, 6, 3)
    assert share_text(share) == "0.0\n3 of 6\n0.0–50.0"


def test_an_attack_that_is_not_known_here_is_no_static_one_if_it_aims_at_a_guard(
    log: EvalLog, tmp_path: Path
) -> None:
    add(log, tmp_path, "a", grades(9), under("adaptive:R99"))
    add(log, tmp_path, "b", grades(2), under("ours:new"))
    found = row(build(read_results([str(tmp_path)])))
    assert {each.attack: each.kind for each in found.attacks} == {
        "adaptive:R99": "other",
        "ours:new": "static",
    }
