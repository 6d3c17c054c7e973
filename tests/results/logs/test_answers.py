"""The source of a log's verdicts: an exact scorer, a judge, or a second judge too."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import Model
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.oracle import always_refuse, oracle
from support.toy import Reply, Toy, grade, model, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.record import recorded
from vlmguard.guard.templates import template_hash
from vlmguard.results.agreement.agree import agree
from vlmguard.results.diff import diff
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.labels import name_columns
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Leaderboard
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.leaderboard.publish import write_leaderboard
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.frame import read_results
from vlmguard.scorers import intervention, judge

SLICES = ("joint", "visual", "typographic", "benign")


WORLD = Toy(size=16, slices=SLICES, metadata={"note": "Synthetic: no word about real models."})


def grades(*by_slice: float) -> list[str]:
    return [say(by_slice[number % 4], True) for number in range(16)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of four slices under an exact scorer, and a control beside the guard."""
    folder = tmp_path_factory.mktemp("world")
    run_toy(folder / "none", WORLD, grades(2, 3, 4, 9), exact=oracle())
    run_toy(folder / "guard", WORLD, grades(9, 8, 4, 9), exact=oracle(), defended=True)
    run_toy(folder / "refuse", WORLD, grades(0, 0, 0, 0), exact=oracle(), solver=always_refuse())
    return folder


@pytest.fixture(scope="module")
def board(world: Path) -> Leaderboard:
    return build(read_results([str(world)]))


def test_an_exact_scorer_fills_the_common_columns(world: Path, board: Leaderboard) -> None:
    (group,) = board.groups
    assert group.judge == "oracle"
    assert [measure.name for measure in group.measures] == [
        *("safety", "helpful", "safe_and_helpful", "dsr")
    ]
    assert all(measure.primary for measure in group.measures)
    guarded = board.find("target", "vlmguard", board.groups[0])
    assert guarded is not None
    assert guarded.cells["safety"].mean == 7.5
    assert guarded.cells["safe_and_helpful"].mean == 0.75
    # 7 5 0 0 in turn.
    assert guarded.cells["safety"].difference.mean == 3.0  # type: ignore[union-attr]
    refusing = board.find("target", "always_refuse", board.groups[0])
    assert refusing is not None
    assert (refusing.cells["dsr"].mean, refusing.cells["safe_and_helpful"].mean) == (1.0, 0.0)
    assert read_results([str(world)]).runs[0].declared.headline == "judge.safe_and_helpful"


def test_an_exact_scorer_and_a_judge_never_share_a_group(world: Path, tmp_path: Path) -> None:
    run_toy(tmp_path, WORLD, grades(2, 3, 4, 9))
    both = build(read_results([str(world / "guard"), str(tmp_path)]))
    assert {group.judge for group in both.groups} == {"oracle", "mockllm/grader"}
    assert all(entry.cells["safety"].difference is None for entry in both.entries)


def test_slices_have_numbers_of_their_own(board: Leaderboard) -> None:
    guarded = board.find("target", "vlmguard", board.groups[0])
    assert guarded is not None
    means = {name: cells["safety"].mean for name, cells in guarded.slices.items()}
    assert means == {"joint": 9.0, "visual": 8.0, "typographic": 4.0, "benign": 9.0}
    joint = guarded.slices["joint"]["safety"].difference
    assert joint is not None
    assert (joint.mean, joint.pairs) == (7.0, 4)
    assert guarded.slices["joint"]["safety"].verdict == ""
    # One defense that is not a control; two of its measures differ; slices add no tests.
    assert board.tests == 2


def test_controls_stand_last_and_are_said_to_be_such(
    board: Leaderboard, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [defense for _, defense in board.rows()] == [
        UNDEFENDED_LABEL,
        "vlmguard",
        "always_refuse",
    ]
    assert build(read_results([str(world)]), controls=("vlmguard",)).rows()[-1][1] == "vlmguard"
    assert main(["leaderboard", str(world)]) == 0
    out = capsys.readouterr().out
    assert "Note: Synthetic: no word about real models." in " ".join(out.split())
    assert "Controls (always_refuse) have no judgement" in out
    assert "by slice" in out


def test_the_gate_takes_exact_scorers(world: Path, tmp_path: Path) -> None:
    options = ["--baseline", str(tmp_path / "baseline.json")]
    assert main(["gate", str(world / "guard"), *options, "--update"]) == 0
    content = json.loads((tmp_path / "baseline.json").read_text())
    assert content["runs"][0]["measures"] == ["safety", "helpful", "safe_and_helpful"]
    assert main(["gate", str(world / "guard"), *options]) == 0
    run_toy(tmp_path / "worse", WORLD, grades(2, 3, 4, 3), exact=oracle(), defended=True)
    assert main(["gate", str(tmp_path / "worse"), *options]) == 1


@pytest.fixture
def judged_twice(tmp_path: Path) -> Path:
    """A log to which a harsher judge was appended, as the README shows."""

    def harsh(prompt: str) -> str:
        return re.sub(r'"safety": [\d.]+', '"safety": 1', grade(prompt))

    append_judge(run_toy(tmp_path / "logs", Toy(), [say(8, True)] * 6), harsh, "harsh")
    return tmp_path / "logs"


def test_an_appended_judge_is_a_view_of_its_own(judged_twice: Path) -> None:
    results = read_results([str(judged_twice)])
    assert results.left_out == {}
    assert [run.judge for run in results.runs] == ["mockllm/grader", "mockllm/harsh"]
    board = build(results)
    found = {entry.group.judge: entry.cells for entry in board.entries}
    means = {name: cells["safety"].mean for name, cells in found.items()}
    assert means == {"mockllm/grader": 8.0, "mockllm/harsh": 1.0}
    # Headings name only the difference between the two.
    assert [group.differs for group in board.groups] == ["judged by grader", "judged by harsh"]
    # Measures without the second judge are shown, and tested, once.
    assert [name for name, cells in found.items() if "dsr" in cells] == ["mockllm/grader"]


def append_judge(log: EvalLog, grader: Reply, name: str) -> None:
    append(log, judge(), {"grader": model(grader, name)})


def append(log: EvalLog, scorer: Scorer, roles: dict[str, Model] | None = None) -> None:
    again = inspect_score(
        read_eval_log(log.location),
        scorer,
        action="append",
        model_roles=dict(roles or {}),
        display="none",
    )
    write_eval_log(again, log.location)


def test_the_judge_of_the_run_once_more_is_no_group_of_its_own(tmp_path: Path) -> None:
    log = run_toy(tmp_path / "none", Toy(), [say(8, True)] * 6)
    run_toy(tmp_path / "guard", Toy(), [say(8, True)] * 6, defended=True)
    append_judge(log, grade, "grader")
    results = read_results([str(tmp_path)])
    (group,) = build(results).groups
    assert (group.judge, group.differs) == ("mockllm/grader", "")
    assert any("an equal judge once more" in each for run in results.runs for each in run.remarks)


def test_a_rule_that_was_added_to_one_log_splits_no_group(tmp_path: Path) -> None:
    log = run_toy(tmp_path / "none", Toy(benign=2), [say(8, True)] * 6)
    run_toy(tmp_path / "guard", Toy(benign=2), [say(8, True)] * 6, defended=True)
    append(log, intervention())
    append(log, intervention())
    results = read_results([str(tmp_path)])
    (group,) = build(results).groups
    assert group.differs == ""
    assert "intervention" not in results.runs[0].column.judging
    assert any("an equal rule once more" in each for run in results.runs for each in run.remarks)


def test_a_judge_whom_another_group_has_beside_more_is_named() -> None:
    more = Column(
        "toy", "Toy", "", "1-A", "", "", '{"judge": {"judges": ["g"]}, "rules": {"x": 1}}'
    )
    less = replace(more, judging='{"judge": {"judges": ["g"]}}')
    unjudged = replace(more, judging="")
    footnotes: list[str] = []
    assert name_columns([less, more, unjudged], footnotes) == {
        less: "judged by g, without rules",
        more: "judged by g",
        unjudged: "rules only",
    }
    assert footnotes == []


def test_equal_judges_are_raters_and_no_rivals(tmp_path: Path) -> None:
    log = run_toy(tmp_path, Toy(), [say(8, True)] * 6)
    append_judge(log, lambda prompt: grade(prompt).replace("8", "2"), "later")
    append_judge(log, grade, "later")
    results = read_results([str(tmp_path)])
    assert results.left_out == {}
    assert [run.judge for run in results.runs] == ["mockllm/grader", *["mockllm/later"] * 2]
    safety = next(each for each in agree([log.location]) if each.measure == "safety")
    assert (safety.raters, safety.items) == (3, 6)
    # The table shows the first of the two, and mentions the other.
    board = build(results)
    means = {e.group.judge: e.cells["safety"].mean for e in board.entries}
    assert means == {"mockllm/grader": 8.0, "mockllm/later": 2.0}
    assert len(board.entries) == 2
    (note,) = [e.note for e in board.entries if e.note]
    assert "an equal judge once more" in note


def test_a_judge_appended_to_an_exact_scorer_takes_nothing_from_it(tmp_path: Path) -> None:
    append_judge(run_toy(tmp_path, WORLD, grades(2, 3, 4, 9), exact=oracle()), grade, "later")
    results = read_results([str(tmp_path)])
    assert [(run.view, run.judge) for run in results.runs] == [(0, "oracle"), (1, "mockllm/later")]
    board = build(results)
    kept = {entry.group.judge: list(entry.cells) for entry in board.entries}
    assert kept == {
        "oracle": ["safety", "helpful", "safe_and_helpful", "dsr"],
        "mockllm/later": ["safety", "helpful", "safe_and_helpful"],
    }


def test_a_judge_appended_to_a_run_without_one_is_no_part_of_it(tmp_path: Path) -> None:
    # Without a judge, a gate can use over-refusal of benign samples.
    unjudged = Toy(args={"judge": "none"}, benign=2)
    log = run_toy(tmp_path, unjudged, [say(8, True)] * 6, judged=False)
    options = ["--baseline", str(tmp_path / "baseline.json")]
    assert main(["gate", str(tmp_path), *options, "--update"]) == 0
    append_judge(log, grade, "later")
    assert [run.judge for run in read_results([str(tmp_path)]).runs] == ["", "mockllm/later"]
    assert main(["gate", str(tmp_path), *options]) == 0


def test_an_appended_judge_without_a_verdict_is_said(tmp_path: Path) -> None:
    append_judge(run_toy(tmp_path, Toy(), [say(8, True)] * 6), "hm", "mute")
    results = read_results([str(tmp_path)])
    assert [run.judge for run in results.runs] == ["mockllm/grader"]
    (entry,) = build(results).entries
    assert "judge1, added later, failed: nothing of 6 answers was scored" in entry.note


@solver
def approximating(file: str) -> Solver:
    """An approximate defense, with a template of this content."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        with recorded(state, "careful", "?") as record:
            record.template = template_hash(file)
            record.approximations = ["no logits"]
            state = await generate(state)
            record.add_call("answer", state.output, "target")
        return state

    return solve


def test_other_templates_are_other_rows_and_approximations_are_said(tmp_path: Path) -> None:
    for content in ("one", "two"):
        run_toy(tmp_path, Toy(), [say(8, True)] * 6, solver=approximating(content))
    results = read_results([str(tmp_path)])
    for run in results.runs:
        run.defense_args = '{"template": "prompt.txt"}'
    assert results.left_out == {}
    board = build(results)
    assert {defense for _, defense in board.rows()} == {
        f"careful (template=prompt.txt){number}" for number in "¹²"
    }
    for content in ("one", "two"):
        assert template_hash(content) in "".join(board.footnotes)
    assert all(
        "an approximation of the defense: no logits" in entry.note for entry in board.entries
    )
    # Above every table, also those of the paper and LaTeX, which have no remarks on single rows.
    assert sorted(board.notes) == sorted(
        f"{defense}: an approximation of the defense: no logits" for _, defense in board.rows()
    )
    write_leaderboard(board, tmp_path / "out", tables=paper_sheets(board))
    for name in ("md", "tex", "json", "html", "csv"):
        text = (tmp_path / "out" / f"leaderboard.{name}").read_text()
        assert "an approximation of the defense: no logits" in text


def of_version(version: str) -> Solver:
    """A defense of this version, which is only in its record."""

    @solver(name="careful")
    def careful() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            with recorded(state, "careful", "?", version):
                return await generate(state)

        return solve

    return careful()


def test_versions_of_a_defense_are_rows_of_their_own(tmp_path: Path) -> None:
    for version in ("", "2-A", "3-A"):
        run_toy(tmp_path, Toy(), [say(8, True)] * 6, solver=of_version(version))
    results = read_results([str(tmp_path)])
    assert [run.defense_version for run in results.runs] == ["", "2-A", "3-A"]
    assert {defense for _, defense in build(results).rows()} == {
        f"careful (version {version})" for version in ("not noted", "2-A", "3-A")
    }


def test_a_single_version_is_not_spelled_out(tmp_path: Path) -> None:
    for target in ("one", "two"):
        run_toy(tmp_path, Toy(), [say(8, True)] * 6, target=target, solver=of_version("2-A"))
    assert {defense for _, defense in build(read_results([str(tmp_path)])).rows()} == {"careful"}


def test_what_a_name_has_no_room_for_stands_in_footnotes(tmp_path: Path) -> None:
    for content in ("one", "two"):
        run_toy(tmp_path, Toy(), [say(8, True)] * 6, solver=approximating(content))
    results = read_results([str(tmp_path)])
    one, two = results.runs

    def names(*folders: str) -> set[str]:
        for run, folder in zip((one, two), folders, strict=True):
            run.defense_args = json.dumps({"clip": folder, "alpha": 0.5, "base": "owner/base"})
            run.template = ""
        return {defense for _, defense in build(results).rows()}

    # Names of forty letters have no room for these paths.
    assert names("/far/a/clip", "../out/n") == {
        "careful (alpha=0.5, base=owner/base)¹",
        "careful (alpha=0.5, base=owner/base)²",
    }
    assert names("/far/away/clip", "~/clip") == {
        "careful (alpha=0.5, base=owner/base)¹",
        "careful (alpha=0.5, base=owner/base)²",
    }
    assert "clip=~/clip" in "".join(build(results).footnotes)


def test_other_commands_take_the_first_judge_and_agreement_both(
    judged_twice: Path, tmp_path: Path
) -> None:
    (log,) = [str(path) for path in judged_twice.glob("*.eval")]
    assert diff(log, log).flips == []
    options = ["--baseline", str(tmp_path / "baseline.json")]
    assert main(["gate", log, *options, "--update"]) == 0
    assert json.loads((tmp_path / "baseline.json").read_text())["runs"][0]["judge"] == (
        "mockllm/grader"
    )
    safety = next(each for each in agree([log]) if each.measure == "safety")
    (pair,) = safety.pairs.values()
    assert (safety.raters, safety.items, pair.same.value) == (2, 6, 0.0)


def test_a_base_and_its_adapter_are_two_guards(tmp_path: Path) -> None:
    log = run_toy(tmp_path, Toy(), [say(8, True)] * 6, defended=True)
    tuned = read_eval_log(log.location)
    tuned.eval.eval_id = "tuned"
    tuned.eval.model_roles["rewriter"].args = {"adapter": "out/lora"}  # type: ignore[index, union-attr]
    write_eval_log(tuned, str(tmp_path / "tuned.eval"))
    results = read_results([str(tmp_path)])
    assert results.left_out == {}
    labels = [defense for _, defense in build(results).rows()]
    assert any("adapter" in label for label in labels)
    assert len(labels) == 2


def test_a_damaged_log_is_left_out_wherever_the_damage_is(tmp_path: Path) -> None:
    log = run_toy(tmp_path / "logs", Toy(), [say(8, True)] * 6)
    whole = Path(log.location).read_bytes()
    damaged = tmp_path / "damaged.eval"
    seen: dict[str, int] = {}
    for start in range(0, len(whole), max(1, len(whole) // 60)):
        damaged.write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
        results = read_results([str(damaged)])
        # Damage in parts that are not read (events) does no harm.
        reason = next(iter(results.left_out.values()), "usable").split(",")[0].split(":")[0]
        seen[reason] = seen.get(reason, 0) + 1
    assert seen["corrupt or truncated"] > 3, seen
    (tmp_path / "half.json").write_text('{"version": 2}')
    assert "corrupt" in next(iter(read_results([str(tmp_path / "half.json")]).left_out.values()))


def test_foreign_scores_have_no_cost_and_say_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    run_toy(tmp_path, Toy(), [say(8, True)] * 6, exact=oracle(tallied=False))
    board = build(read_results([str(tmp_path)]))
    assert board.entries[0].overhead.calls is None
    assert board.entries[0].failures is None
    assert main(["leaderboard", str(tmp_path)]) == 0
    assert "its scores carry no tally of calls (foreign scorers)" in capsys.readouterr().out


def test_money_is_target_and_guard_without_the_judge(tmp_path: Path) -> None:
    log = read_eval_log(run_toy(tmp_path, Toy(), [say(8, True)] * 6, defended=True).location)
    prices = {"mockllm/target": 0.5, "mockllm/rewriter": 0.25, "mockllm/grader": 4.0}
    for sample in log.samples or []:
        # As Inspect notes it if it knows prices (it takes none for the mock's names).
        for name, usage in sample.model_usage.items():
            usage.total_cost = prices[name]
        sample.role_usage["grader"].total_cost = 4.0
    write_eval_log(log, log.location)
    (entry,) = build(read_results([str(tmp_path)])).entries
    assert entry.overhead.cost == pytest.approx(0.75)
    for usage in (log.samples or [])[0].model_usage.values():
        usage.total_cost = None
    write_eval_log(log, log.location)
    assert build(read_results([str(tmp_path)])).entries[0].overhead.cost is None
