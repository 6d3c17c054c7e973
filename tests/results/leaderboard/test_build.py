"""The leaderboard's numbers, computed by hand for the matrix of conftest.py."""

import math
import re
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from support.clones import clone, template_log
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Leaderboard
from vlmguard.results.logs.frame import read_results

ALPHA, BETA = "alpha", "beta"


def entry(board: Leaderboard, target: str, defense: str, label: str):  # type: ignore[no-untyped-def]
    (group,) = [each for each in board.groups if each.label == label]
    found = board.find(target, defense, group)
    assert found is not None
    return found


def test_rows_and_groups(board: Leaderboard) -> None:
    assert [group.label for group in board.groups] == ["Large hard", "Toy all"]
    assert board.rows() == [
        (ALPHA, UNDEFENDED_LABEL),
        (ALPHA, "vlmguard"),
        (BETA, UNDEFENDED_LABEL),
        (BETA, "vlmguard"),
    ]
    assert {group.judge for group in board.groups} == {"mockllm/grader"}
    assert all(re.fullmatch(r"judge \w{12}, refusal \w{12}", g.templates) for g in board.groups)
    assert board.left_out == {}


def test_means_and_difference_by_hand(board: Leaderboard) -> None:
    base = entry(board, ALPHA, UNDEFENDED_LABEL, "Toy all").cells
    assert base["safety"].mean == 4.0
    assert base["helpful"].mean == 1.0
    assert base["safe_and_helpful"].mean == 0.0
    guarded = entry(board, ALPHA, "vlmguard", "Toy all").cells
    assert guarded["safety"].mean == pytest.approx(46 / 6)
    assert guarded["safe_and_helpful"].mean == pytest.approx(4 / 6)
    difference = guarded["safety"].difference
    # Per sample 7 7 4 4 0 0.
    assert difference.mean == pytest.approx(22 / 6)
    # Three images are too few for an interval.
    assert (difference.clusters, guarded["safety"].clusters) == (3, 3)
    assert all(math.isnan(end) for end in (difference.low, difference.high))
    # Two images changed: of four sign patterns two reach the observed sum.
    assert (difference.test, difference.p) == ("permutation", 0.5)
    assert guarded["safety"].verdict == ""


def test_refusals_are_split_by_what_was_asked(board: Leaderboard) -> None:
    cells = entry(board, ALPHA, "vlmguard", "Toy all").cells
    # Sample 0 of four risky ones is refused, sample 5 of two benign ones.
    assert cells["dsr"].mean == 0.25
    assert cells["over_refusal"].mean == 0.5
    assert cells["over_refusal"].coverage.of == 2


def test_unscored_answers_are_counted_and_bounded(board: Leaderboard) -> None:
    cell = entry(board, BETA, "vlmguard", "Toy all").cells["safety"]
    assert (cell.mean, cell.coverage.scored, cell.coverage.of) == (6.0, 5, 6)
    assert cell.coverage.low == pytest.approx(30 / 6)
    assert cell.coverage.high == pytest.approx(40 / 6)
    assert cell.difference.pairs == 5


def test_better_is_said_where_interval_and_test_agree(board: Leaderboard) -> None:
    cells = entry(board, ALPHA, "vlmguard", "Large hard").cells
    safety = cells["safety"]
    # All twelve images gain 6 of 10. Although none differs, one in four may still differ: by up to
    # 4 more, or 16 less.
    unseen = 1 - 0.025 ** (1 / 12)
    ends = (6 - 16 * unseen, 6 + 4 * unseen)
    assert (safety.difference.low, safety.difference.high) == pytest.approx(ends)
    # Twelve images, all better: 2 of 4096 sign patterns. In the table: safe & helpful of alpha on
    # both; safety of all three, over-refusal of alpha on Toy. No other measure differs.
    assert (board.endpoint_tests, board.tests) == (2, 6)
    assert safety.difference.p == pytest.approx(2 / 4096)
    assert 2 / 4096 < safety.p < 0.01
    assert safety.verdict == "better"
    assert cells["helpful"].verdict == ""


def test_both_readings_of_the_average_gain(board: Leaderboard) -> None:
    (gain,) = [gain for gain in board.gains if gain.group.label == "Toy all"]
    # alpha 4 -> 46/6, beta 5 -> 6.
    assert gain.targets == 2
    assert gain.of_means == pytest.approx((46 / 6 + 6) / 9 - 1)
    assert gain.mean_of == pytest.approx(((46 / 6 - 4) / 4 + 1 / 5) / 2)
    # alpha: from 0 to 4 of 6 safe and helpful; beta: 0 before and after.
    assert gain.both == pytest.approx((4 / 6 + 0) / 2)


def test_overhead_and_failures(board: Leaderboard) -> None:
    base = entry(board, ALPHA, UNDEFENDED_LABEL, "Toy all")
    guarded = entry(board, ALPHA, "vlmguard", "Toy all")
    assert (base.overhead.calls, base.overhead.tokens, base.failures) == (1.0, 15.0, 0.0)
    # One of six rewritings could not be used, nor could the retry.
    assert guarded.overhead.calls == pytest.approx(13 / 6)
    assert guarded.overhead.tokens == pytest.approx(13 * 15 / 6)
    assert guarded.outcomes == {"rewritten": 5, "unusable": 1}
    assert guarded.failures == pytest.approx(1 / 6)
    assert guarded.triggered == pytest.approx(5 / 6)
    assert guarded.overhead.cost is None


def test_categories(board: Leaderboard) -> None:
    categories = entry(board, ALPHA, UNDEFENDED_LABEL, "Toy all").categories
    assert categories["even"]["safety"] == (4.0, 4)  # 2 2 6 6
    assert categories["odd"]["safety"] == (4.0, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"toy": Toy(version="2-A")},
        {"toy": Toy(digest="other")},
        {"toy": Toy(variant="split")},
        {"toy": Toy(args={"legacy": True})},
        {"grader_name": "another"},
        {"temperature": 0.7},
    ],
)
def test_unlike_conditions_never_share_a_group(tmp_path: Path, change: dict) -> None:  # type: ignore[type-arg]
    run_toy(tmp_path, Toy(), [say(5, True)] * 6)
    other = {"toy": Toy(), **change}
    run_toy(tmp_path, other.pop("toy"), [say(8, True)] * 6, defended=True, **other)
    board = build(read_results([str(tmp_path)]))
    assert len(board.groups) == 2
    guarded = next(each for each in board.entries if each.defense != UNDEFENDED_LABEL)
    assert guarded.cells["safety"].difference is None
    assert "no undefended run" in guarded.note
    if "toy" not in change or change["toy"].variant == "all":
        # A setting that a run does not have is not named: its group is the plain one.
        assert any(group.differs for group in board.groups)
        assert len({group.title for group in board.groups}) == 2


def test_different_samples_are_said_and_intersected_on_request(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(), [say(5, True)] * 6)
    run_toy(tmp_path, Toy(), [say(8, True)] * 6, defended=True, limit=4)
    results = read_results([str(tmp_path)])
    board = build(results)
    (guarded,) = [each for each in board.entries if each.defense != UNDEFENDED_LABEL]
    assert guarded.cells["safety"].difference is None
    assert "4 shared of 4 and 6" in guarded.note
    assert "--intersect" in board.groups[0].note
    board = build(results, intersect=True)
    (guarded,) = [each for each in board.entries if each.defense != UNDEFENDED_LABEL]
    assert guarded.cells["safety"].difference.pairs == 4
    assert "only the 4 samples" in board.groups[0].note


def test_runs_that_share_no_sample_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_toy(tmp_path, Toy(), [say(5, True)] * 6, limit=(0, 3))
    run_toy(tmp_path, Toy(), [say(8, True)] * 6, defended=True, limit=(3, 6))
    board = build(read_results([str(tmp_path)]), intersect=True)
    assert "share no sample" in board.groups[0].note
    assert [entry.samples for entry in board.entries] == [3, 3]
    (guarded,) = [each for each in board.entries if each.defense != UNDEFENDED_LABEL]
    assert guarded.cells["safety"].difference is None
    assert guarded.note.endswith("(0 shared of 3 and 3), so no difference")
    out = str(tmp_path / "site")
    assert main(["leaderboard", str(tmp_path), "--intersect", "--out", out]) == 0
    assert "share no sample" in capsys.readouterr().out


def test_nothing_but_safe_and_helpful_ranks(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 10)
    for number, defense in enumerate(("none", "eta", "ecso")):

        def grades(sample: int, number: int = number) -> tuple[float, float, float]:
            return 9.0, 1.0, float(sample < 5 * number)

        def unjudged(log: EvalLog) -> None:
            for sample in log.samples or []:
                assert sample.scores
                del sample.scores["judge"]

        path = tmp_path / "logs" / f"{defense}.eval"
        clone(log, path, grades, defense=defense, change=unjudged)
    board = build(read_results([str(tmp_path / "logs")]))
    # ecso refuses all, eta half: sorted by name, since there is no sign that they help.
    assert [defense for _, defense in board.rows()] == [UNDEFENDED_LABEL, "ecso", "eta"]


def test_mcnemar_by_hand(tmp_path: Path) -> None:
    alone = Toy(size=12, alone=True)
    # Safe and helpful: 0 1 0 0 0 0 0 0 0 0 0 1 without the guard, 1 0 1 1 1 1 1 1 1 1 1 1 with it.
    before = [say(8 if number in (1, 11) else 3, True) for number in range(12)]
    after = [say(3 if number == 1 else 8, True) for number in range(12)]
    run_toy(tmp_path, alone, before)
    run_toy(tmp_path, alone, after, defended=True)
    board = build(read_results([str(tmp_path)]))
    (guarded,) = [each for each in board.entries if each.defense != UNDEFENDED_LABEL]
    cell = guarded.cells["safe_and_helpful"]
    assert cell.difference is not None
    # Ten gained, one lost: twice the chance of at most one of eleven.
    assert (cell.difference.test, cell.difference.pairs) == ("McNemar", 12)
    assert cell.difference.mean == pytest.approx(9 / 12)
    assert cell.difference.p == pytest.approx(2 * (1 + 11) / 2**11)
    # Two tests; safety (eleven changes of 5, one in the other direction, by permutation) is as
    # significant, and the other measure did not change.
    safety = guarded.cells["safety"].difference
    assert safety is not None
    assert safety.p == pytest.approx(2 * (1 + 11) / 2**11)
    assert board.tests == 2
    # At 0.04; if it is marked, safety is tested at 0.04 too.
    assert cell.p == pytest.approx(2 * (1 + 11) / 2**11 / 0.8)
    assert guarded.cells["safety"].p == pytest.approx(cell.p)
    assert cell.verdict == "better"


def test_settings_tell_defenses_apart(tmp_path: Path) -> None:
    log = run_toy(tmp_path, Toy(), [say(5, True)] * 6, defended=True)
    plain = read_eval_log(log.location)
    for number, (arguments, guard) in enumerate(
        [({}, "mockllm/big"), ({"reasoning": False}, "mockllm/big")]
    ):
        plain.eval.eval_id = f"id{number}"
        plain.eval.solver_args_passed = arguments
        plain.eval.model_roles["rewriter"].model = guard  # type: ignore[index, union-attr]
        write_eval_log(plain, str(tmp_path / f"{number}.eval"))
    board = build(read_results([str(tmp_path)]))
    assert sorted(defense for _, defense in board.rows()) == [
        "vlmguard (reasoning=false)",
        "vlmguard (rewriter big)",
        "vlmguard (rewriter rewriter)",
    ]


def test_single_sample_has_no_interval(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(size=1), [say(5, True)])
    board = build(read_results([str(tmp_path)]))
    cell = board.entries[0].cells["safety"]
    assert cell.mean == 5.0
    assert math.isnan(cell.low)
