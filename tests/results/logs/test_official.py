"""Logs with the benchmarks' own scorers: headlines, ranges, several answers, coverage."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Epochs
from inspect_ai.log import EvalLog, HeadlineMetric, read_eval_log, write_eval_log
from inspect_ai.scorer import Score, Scorer, ScoreReducer, Target, mean, scorer
from inspect_ai.solver import TaskState
from support.toy import Toy, grade, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.cards import as_metadata, cards
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import Measure, counts_help
from vlmguard.scorers.metrics import any_success, vote
from vlmguard.tasks.figstep import figstep_judge
from vlmguard.tasks.mm_safetybench import mm_safetybench_judge
from vlmguard.tasks.siuo import siuo_judge
from vlmguard.tasks.vlguard import vlguard_keywords, vlguard_win_rate

HIT, MUTE = "[hit]", "[mute]"


def grader(prompt: str) -> str:
    """Finds the attack (or the answer) successful if the answer says so; may have no verdict."""
    hit = HIT in prompt
    for key, yes, no in (
        ('"success"', "true", "false"),
        ('"verdict"', '"unsafe"', '"safe"'),
        ('"safe": <true', "true", "false"),
        ('"effective"', '"very"', '"ineffective"'),
        ('"better"', '"first"', '"second"'),
        ('"winner"', '"second"', '"first"'),
    ):
        if key in prompt:
            name = key.split(":")[0]
            return "hm" if MUTE in prompt else f"{{{name}: {yes if hit else no}}}"
    return grade(prompt)


def about(number: int) -> dict[str, Any]:
    """The metadata of a sample that official scorers need."""
    return {
        "category": "01-Illegal_Activitiy" if number < 4 else "08-Political_Lobbying",
        "question": "?",
        "instruction": "!",
        "group": "harms",
        "safety_warning": "care",
        "reference_answer": "" if number == 1 else "As stored.",
    }


@dataclass(frozen=True)
class Kind:
    """A benchmark's own scorer, as its task uses it."""

    official: Callable[[], Scorer]
    headline: HeadlineMetric
    reducer: Callable[[], ScoreReducer]
    column: str


KINDS = {
    "siuo": Kind(
        siuo_judge,
        HeadlineMetric(scorer="siuo_judge", score="safe_and_effective"),
        vote,
        "siuo_judge.safe_and_effective",
    ),
    "vlguard": Kind(
        vlguard_win_rate,
        HeadlineMetric(scorer="vlguard_win_rate", score="win"),
        vote,
        "vlguard_win_rate.win",
    ),
    "keywords": Kind(
        vlguard_keywords,
        HeadlineMetric(scorer="vlguard_keywords", score="attack_success"),
        vote,
        "vlguard_keywords.attack_success",
    ),
    "mm": Kind(
        mm_safetybench_judge,
        HeadlineMetric(scorer="mm_safetybench_judge", score="mm_safetybench_judge", metric="macro"),
        vote,
        "mm_safetybench_judge.attack_success",
    ),
    "figstep": Kind(
        figstep_judge,
        HeadlineMetric(scorer="figstep_judge", score="attack_success"),
        any_success,
        "figstep_judge.attack_success",
    ),
}
STATED = {
    name: said
    for card in cards().benchmarks.values()
    for name, said in as_metadata(card.measures).items()
}
# The judge's verdicts on three answers to each of six questions.
GIVEN = (
    (say(8, True), say(2, True), say(9, True) + HIT),
    (say(3, True) + HIT, say(2, False), say(9, True) + HIT),
    (say(8, True) + MUTE, say(8, True), say(8, True) + HIT),
    ("no grade" + MUTE, say(6, True) + MUTE, say(7, False) + MUTE),
    (say(8, True), say(8, True) + MUTE, say(8, True)),
    (say(8, True) + HIT, say(8, True) + HIT, say(8, True) + HIT),
)


def run_kind(folder: Path, kind: Kind, epochs: int, *reducers: str) -> EvalLog:
    seen: dict[str, int] = {}

    def target(text: str) -> str:
        seen[text] = seen.get(text, -1) + 1
        return GIVEN[int(text.split()[1].strip("?"))][seen[text]]

    return run_toy(
        folder,
        Toy(about=about, alone=True, metadata={"measures": STATED}),
        target,
        official=kind.official(),
        headline=kind.headline,
        grader=grader,
        epochs=Epochs(epochs, list(reducers) or kind.reducer()),
    )


def measure_of(board: Leaderboard, column: str) -> Measure:
    (found,) = [each for each in board.groups[0].measures if each.name == column]
    return found


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_bounds_are_the_logs_own_and_hold_the_mean(name: str, epochs: int, tmp_path: Path) -> None:
    kind = KINDS[name]
    log = run_kind(tmp_path, kind, epochs)
    results = read_results([str(tmp_path)])
    assert results.left_out == {}
    board = build(results)
    assert measure_of(board, kind.column).primary
    (entry,) = board.entries
    for cell in entry.cells.values():
        if not math.isnan(cell.mean):
            cover = cell.coverage
            assert cover.low <= cell.mean + 1e-9
            assert cell.mean <= cover.high + 1e-9
    assert log.results
    own = {
        f"{score.scorer}.{key}": metric.value
        for score in log.results.scores
        for key, metric in score.metrics.items()
    }
    for measure in board.groups[0].measures:
        cover = entry.cells[measure.name].coverage
        if f"{measure.column}_of" in own:
            assert (cover.scored, cover.of) == (
                own[f"{measure.column}_scored"],
                own[f"{measure.column}_of"],
            )
            # MM-SafetyBench bounds the mean over answers; the table has the mean over scenarios.
            if not measure.macro:
                assert cover.low == pytest.approx(own[f"{measure.column}_low"])
                assert cover.high == pytest.approx(own[f"{measure.column}_high"])


def test_a_blank_reference_leaves_no_log_out(tmp_path: Path) -> None:
    run_kind(tmp_path, KINDS["vlguard"], 1)
    board = build(read_results([str(tmp_path)]))
    cell = board.entries[0].cells["vlguard_win_rate.win"]
    # Question 1 has no stored answer, 2 and 3 no verdict; of 0, 4 and 5 the last is better.
    assert (cell.coverage.scored, cell.coverage.of) == (3, 6)
    assert cell.mean == pytest.approx(1 / 3)
    assert measure_of(board, "vlguard_win_rate.win").better == 1


def test_the_mean_over_scenarios_is_the_headline(tmp_path: Path) -> None:
    log = run_kind(tmp_path / "none", KINDS["mm"], 1)
    board = build(read_results([str(tmp_path)]))
    measure = measure_of(board, "mm_safetybench_judge.attack_success")
    assert (measure.primary, measure.macro, measure.better, measure.guessed) == (
        *(True, True, -1),
        False,
    )
    assert measure.label == "attack success % (macro)"
    assert "macro: the mean over categories" in board.groups[0].note
    cell = board.entries[0].cells[measure.name]
    # Of questions 0 and 1 (2 and 3 have no verdict) one is unsafe, of 4 and 5 one.
    assert log.results
    (own,) = [s.metrics["macro"].value for s in log.results.scores if "macro" in s.metrics]
    assert cell.mean == pytest.approx(own) == pytest.approx(0.5)
    # Without 2 and 3: 1/4 and 3/4 in the first scenario.
    assert cell.coverage.low == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert cell.coverage.high == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_differences_count_each_category_alike(tmp_path: Path) -> None:
    kind = KINDS["mm"]
    before = [say(2, True) + HIT] * 6
    # One of four in the first scenario and one of two in the second are still unsafe.
    after = [say(8, True)] * 3 + [before[0], say(8, True), before[0]]
    for answers, defended in ((before, False), (after, True)):
        run_toy(
            tmp_path,
            Toy(about=about),
            answers,
            official=kind.official(),
            headline=kind.headline,
            grader=grader,
            defended=defended,
        )
    board = build(read_results([str(tmp_path)]))
    (guarded,) = [each for each in board.entries if each.defense == "vlmguard"]
    difference = guarded.cells[kind.column].difference
    assert difference is not None
    assert difference.mean == pytest.approx(-(3 / 4 + 1 / 2) / 2)


def test_one_success_is_enough_where_the_benchmark_says_so(tmp_path: Path) -> None:
    run_kind(tmp_path, KINDS["figstep"], 3)
    (entry,) = build(read_results([str(tmp_path)])).entries
    # Successes in questions 0, 1, 2 and 5; question 3 is not known; no success in 4.
    assert entry.cells["figstep_judge.attack_success"].mean == pytest.approx(4 / 5)
    assert entry.cells["figstep_judge.attack_success"].coverage.low == pytest.approx(4 / 6)
    assert entry.cells["figstep_judge.attack_success"].coverage.high == pytest.approx(1.0)


def test_several_answers_in_a_json_log(tmp_path: Path) -> None:
    log = run_kind(tmp_path / "eval", KINDS["figstep"], 3)
    whole = read_eval_log(log.location)
    write_eval_log(whole, str(tmp_path / "json" / "run.json"))
    first, second = (read_results([str(tmp_path / name)]) for name in ("eval", "json/run.json"))
    assert first.runs[0].samples().equals(second.runs[0].samples())
    whole.reductions = whole.reductions[:1] if whole.reductions else None
    write_eval_log(whole, str(tmp_path / "less" / "run.json"))
    (reason,) = read_results([str(tmp_path / "less" / "run.json")]).left_out.values()
    assert "no single score of them by judge, refusal" in reason


def test_of_several_reducers_the_first_is_shown_and_named(tmp_path: Path) -> None:
    run_kind(tmp_path, KINDS["siuo"], 2, "mean", "max")
    results = read_results([str(tmp_path)])
    (entry,) = build(results).entries
    assert "reduced in several ways (mean, max); mean is shown" in entry.note
    assert results.runs[0].samples().loc["toy/0", "judge.safety"] == 5.0


@scorer(metrics={"*": [mean()]})
def named(*keys: str) -> Scorer:
    """A foreign measure of each name."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=dict.fromkeys(keys, 50.0))

    return score


def own_measures(folder: Path, *keys: str, **metadata: Any) -> tuple[Leaderboard, list[Measure]]:
    answers = [say(5, True)] * 6
    toy = Toy(metadata=metadata)
    run_toy(folder, toy, answers, official=named(*keys), headline=f"named.{keys[0]}")
    board = build(read_results([str(folder)]))
    return board, [each for each in board.groups[0].measures if each.name.startswith("named.")]


def test_directions_are_guessed_and_said_to_be(tmp_path: Path) -> None:
    less = ("asr", "jailbreak_rate", "hallucination")
    more = ("attack_resisted", "correct_refusal", "basr_score")
    board, found = own_measures(tmp_path, *less, *more)
    assert {each.name.removeprefix("named."): each.better for each in found} == {
        **dict.fromkeys(less, -1),
        **dict.fromkeys(more, 1),
    }
    assert "guessed from the name: named.asr (less is better)" in board.groups[0].note


def test_names_that_mean_refusals_point_nowhere(tmp_path: Path) -> None:
    board, found = own_measures(tmp_path, "refusal_rate", "dsr", "over_refusal", "attack_resisted")
    better = {each.name.removeprefix("named."): each.better for each in found}
    assert better == {"refusal_rate": 0, "dsr": 0, "over_refusal": -1, "attack_resisted": 1}
    assert "named.dsr (neither more nor less is better)" in board.groups[0].note
    # A target that refuses everything resists every attack.
    helping = {each.name.removeprefix("named.") for each in found if counts_help(each)}
    assert helping == {"over_refusal"}


HELP = (
    *("helpful", "is_helpful", "helpfulness", "usefulness", "effective", "correct", "accuracy"),
    *("answer_correctness", "win", "win_rate", "safe_and_helpful", "safe_and_effective"),
    *("helpful_and_safe", "over_refusal", "false_refusal_rate", "over_refusal_avoided"),
)
NO_HELP = (
    *("is_safe", "safe", "safety", "safe_rate", "safety_score", "safe_response", "safety_accuracy"),
    *("rejected", "rejection_accuracy", "refusal_accuracy", "correct_refusal", "harmless", "score"),
    *("correctly_rejected", "attack_resisted", "defense_effectiveness", "detection_accuracy"),
    *("unhelpful", "ineffective", "incorrect", "blocked", "winter", "attack_accuracy", "policy"),
)


@pytest.mark.parametrize(("names", "helps"), [(HELP, True), (NO_HELP, False)])
def test_names_that_speak_of_help(names: tuple[str, ...], helps: bool) -> None:
    for name in names:
        for better in (-1, 1) if "refusal" in name and helps else (1,):
            measure = Measure(f"named.{name}", f"named.{name}", name, 1.0, better)
            assert counts_help(measure) == helps, name
            # A scorer of this name with plain numbers as scores.
            assert counts_help(replace(measure, column=f"{name}.value")) == helps, name


def test_tasks_declare_what_is_help(tmp_path: Path) -> None:
    said = {"solved": {"help": True}, "correct": {"help": False}}
    _, found = own_measures(tmp_path, "solved", "correct", "score", measures=said)
    helping = {each.name.removeprefix("named.") for each in found if counts_help(each)}
    assert helping == {"solved"}


def test_tasks_declare_direction_and_range(tmp_path: Path) -> None:
    said = {"attack_points": {"lower_is_better": False, "max": 100}}
    board, (measure,) = own_measures(tmp_path / "a", "attack_points", measures=said)
    assert (measure.better, measure.highest, measure.guessed) == (1, 100.0, False)
    assert board.groups[0].note == ""
    assert measure.show(board.entries[0].cells[measure.name].mean) == "50.00"
    wrong = {"attack_points": {"lower_is_better": "perhaps"}}
    board, (measure,) = own_measures(tmp_path / "b", "attack_points", measures=wrong)
    assert (measure.better, measure.guessed) == (-1, True)
    assert "measures.attack_points.lower_is_better is not used" in board.entries[0].note


def test_an_undeclared_range_is_said_and_no_share(tmp_path: Path) -> None:
    board, (measure,) = own_measures(tmp_path, "points")
    assert (measure.highest, measure.is_share, measure.label) == (50.0, False, "points")
    assert "range not declared: named.points" in board.groups[0].note
    cell = board.entries[0].cells[measure.name]
    assert measure.show(cell.mean) == "50.00"
    assert (cell.coverage.low, cell.coverage.high) == (50.0, 50.0)


def test_the_gate_tests_the_mean_over_scenarios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = KINDS["mm"]
    before, after = [say(8, True)] * 6, [say(8, True)] * 5 + [say(2, True) + HIT]
    for folder, answers in (("old", before), ("new", after)):
        run_toy(
            tmp_path / folder,
            Toy(about=about),
            answers,
            official=kind.official(),
            headline=kind.headline,
            grader=grader,
        )
    options = ["--baseline", str(tmp_path / "baseline.json")]
    assert main(["gate", str(tmp_path / "old"), *options, "--update"]) == 0
    assert main(["gate", str(tmp_path / "new"), *options]) == 0
    # None of four in the first scenario, one of two in the second: a quarter, not a sixth.
    said = capsys.readouterr().out
    assert "attack success % (macro): loss of 25.0 on 6 samples, not proven" in said


def test_a_headline_that_is_not_there_makes_the_first_measure_primary(tmp_path: Path) -> None:
    answers = [say(5, True)] * 6
    official, headline = named("one", "two"), HeadlineMetric(scorer="named", score="gone")
    run_toy(tmp_path, Toy(), answers, official=official, headline=headline)
    board = build(read_results([str(tmp_path)]))
    primary = [each.name for each in board.groups[0].measures if each.primary]
    assert primary == ["safety", "helpful", "safe_and_helpful", "dsr", "named.one"]
