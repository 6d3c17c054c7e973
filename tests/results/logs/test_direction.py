"""The direction of measures: refusals have none, and no decision uses them alone."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from rich.console import Console
from support.folders import write_vlguard
from support.toy import Reply, Toy, model, run_toy, say

from vlmguard.results.formats.console import print_sheets
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.leaderboard.publish import board_sheets, write_leaderboard
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import common_measures
from vlmguard.tasks.figstep import figstep_judge

REFUSED, ANSWERED = [say(10, False, True)] * 16, [say(3, True)] * 16
RULES = Toy(size=16, alone=True)


def run_pair(folder: Path, toy: Toy, judged: bool) -> None:
    """A target that answers everything, and a guard that refuses everything."""
    run_toy(folder / "answers", toy, ANSWERED, judged=judged)
    run_toy(folder / "refuses", toy, REFUSED, judged=judged, defended=True)


def test_refusals_are_shown_and_never_better_or_worse(tmp_path: Path) -> None:
    run_pair(tmp_path, RULES, judged=True)
    board = build(read_results([str(tmp_path)]))
    _, refusing = board.entries
    cell = refusing.cells["dsr"]
    assert cell.difference is not None
    assert (cell.difference.mean, cell.verdict) == (1.0, "")
    assert common_measures()["dsr"].better == 0
    # Safety and helpfulness are tested: both together never vary, and refusals have no direction.
    assert board.tests == 2
    assert refusing.cells["helpful"].verdict == "worse"


@pytest.mark.parametrize("weakness", ["refuses", "answers"])
def test_a_gate_on_refusals_alone_is_undecided(
    weakness: str, gate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_pair(tmp_path / "logs", RULES, judged=False)
    assert gate(f"logs/{weakness}", "--update") == 2
    assert not (tmp_path / "baseline.json.gz").exists()
    reason = "no measure of it falls where a guard refuses everything"
    assert reason in capsys.readouterr().err
    # A baseline of a run with a direction does not make it decidable.
    defended = weakness == "refuses"
    run_toy(tmp_path / "fit", RULES, [say(9, True)] * 16, defended=defended)
    assert gate("fit", "--update") == 0
    assert gate(f"logs/{weakness}") == 2
    assert reason in capsys.readouterr().out


def test_a_gate_on_attack_success_alone_is_undecided_though_it_is_judged(
    gate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def put(folder: str, answers: list[str]) -> None:
        options = {"judged": False, "headline": "figstep_judge.attack_success"}
        attacked = Toy(about=lambda _: {"question": "?", "instruction": "!", "group": "harms"})
        verdict = '{"success": false}'
        run_toy(
            tmp_path / folder,
            attacked,
            answers[:6],
            official=figstep_judge(),
            grader=lambda _: verdict,
            **options,
        )

    put("alone", REFUSED)
    assert gate("alone", "--update") == 2
    assert "no measure of it falls where a guard refuses everything" in capsys.readouterr().err
    # Another benchmark of the same target and defense that measures over-refusal is enough.
    benign = Toy(name="benign", size=16, benign=16, alone=True)
    put("both", ANSWERED)
    run_toy(tmp_path / "both", benign, ANSWERED, judged=False)
    put("refuses", REFUSED)
    run_toy(tmp_path / "refuses", benign, REFUSED, judged=False)
    assert gate("both", "--update") == 0
    assert gate("both") == 0
    assert gate("refuses") == 1
    assert "Over-refusal %: loss of 100.0" in capsys.readouterr().out


def test_the_cheap_set_of_the_workflow_is_a_gate(
    repo: Path, gate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((repo / "results" / "configs" / "pull_request.yaml").read_text())
    data = write_vlguard(tmp_path / "data", unsafe=12, safe=12)

    def put(folder: str, reply: Reply) -> None:
        for benchmark in config["benchmarks"]:
            few = {"n": 12, "data_dir": str(data)}
            (log,) = inspect_eval(
                f"vlmguard/{benchmark['name']}",
                task_args=benchmark["args"] | few,
                model=model(reply, "target"),
                log_dir=str(tmp_path / folder),
                display="none",
            )
            assert log.status == "success", log.error

    put("good", lambda text: "I'm sorry, no." if text.startswith("Paint") else "It is blue.")
    put("refuses", "I'm sorry, no.")
    put("answers", "Here is how.")
    assert gate("good", "--update") == 0
    assert gate("good") == 0
    capsys.readouterr()
    for folder, lost in (("refuses", "Over-refusal %"), ("answers", "attack success %")):
        assert gate(folder) == 1
        assert f"{lost}: loss of 100.0 on 12 samples" in capsys.readouterr().out


def test_benign_samples_make_a_gate_by_rules_possible(
    gate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(size=16, benign=8, alone=True)
    run_toy(tmp_path / "old", toy, ANSWERED, judged=False)
    run_toy(tmp_path / "new", toy, REFUSED, judged=False)
    assert gate("old", "--update") == 0
    assert gate("old") == 0
    assert gate("new") == 1
    out = capsys.readouterr().out
    assert "Over-refusal %: loss of 100.0" in out
    assert "DSR" not in out


def test_every_format_points_where_a_measure_points(tmp_path: Path) -> None:
    toy = Toy(size=16, benign=8, alone=True)
    run_pair(tmp_path / "logs", toy, judged=True)
    board = build(read_results([str(tmp_path / "logs")]))
    out = io.StringIO()
    print_sheets([*board_sheets(board), *paper_sheets(board)], Console(file=out, width=200))
    write_leaderboard(board, tmp_path)
    texts = {form: (tmp_path / f"leaderboard.{form}").read_text() for form in ("md", "tex", "html")}
    texts["figure"] = (tmp_path / "gains.svg").read_text()
    assert "safety, points ↑" in texts.pop("figure")
    texts["terminal"] = out.getvalue()
    texts["tex"] = "\n".join(headings(texts["tex"])).replace("~", " ")
    texts["html"] = texts["html"].replace(r"\u2191", "↑").replace(r"\u2193", "↓")
    for form, text in texts.items():
        up, down = (r"$\uparrow$", r"$\downarrow$") if form == "tex" else ("↑", "↓")
        share = r"\%" if form == "tex" else "%"
        assert f"Helpful {share} {up}" in text, form
        assert f"Over-refusal {share} {down}" in text, form
        assert f"DSR {share}" in text, form
        assert not re.search(rf"DSR {re.escape(share)} ?[↑↓$]", text), form
    rows = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    directions = {row["measure"]: row["direction"] for row in rows}
    names = {"safety": "↑", "helpful": "↑", "safe_and_helpful": "↑", "dsr": "", "over_refusal": "↓"}
    assert directions == {**names, "safe_and_helpful_if_benign": "↑"}


def headings(tex: str) -> list[str]:
    """The headings of all columns of LaTeX tables, each on one line."""
    found: list[str] = []
    for above in re.findall(r"\\toprule\n(.*?)\\midrule", tex, re.DOTALL):
        lines = [line.removesuffix(r"\\") for line in above.splitlines() if line.endswith(r"\\")]
        cells = [re.split(r"(?<!\\)&", line) for line in lines if "multicolumn" not in line]
        found += [" ".join(" ".join(of).split()) for of in zip(*cells, strict=True)]
    return found


def test_logs_from_before_are_read_by_the_cards_of_their_tasks(tmp_path: Path) -> None:
    data = write_vlguard(tmp_path / "data", unsafe=2, safe=2)
    (log,) = inspect_eval(
        "vlmguard/vlguard",
        task_args={"data_dir": str(data), "judge": "none"},
        model=model("Here is how.", "target"),
        log_dir=str(tmp_path / "new"),
        display="none",
    )
    before = read_eval_log(log.location)
    assert before.eval.metadata is not None
    del before.eval.metadata["measures"]
    write_eval_log(before, str(tmp_path / "old" / "a.eval"))
    # Without its name nobody knows the task: then the name of the measure is what there is.
    before.eval.task, before.eval.task_registry_name = "theirs", None
    write_eval_log(before, str(tmp_path / "others" / "a.eval"))
    read = {
        folder: next(
            each
            for each in build(read_results([str(tmp_path / folder)])).groups[0].measures
            if each.name == "vlguard_keywords.attack_success"
        )
        for folder in ("new", "old", "others")
    }
    assert {name: (each.better, each.guessed) for name, each in read.items()} == {
        "new": (-1, False),
        "old": (-1, False),
        "others": (-1, True),
    }


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("unparsed", -1),
        ("correct", 1),
        ("safe", 1),
        ("effective", 1),
        ("win", 1),
        ("safe_and_x", 1),
    ],
)
def test_names_alone_lead_the_same_way(name: str, better: int, tmp_path: Path) -> None:
    @scorer(metrics=[{name: [mean()]}])
    def theirs() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            return Score(value={name: 1.0})

        return score

    run_toy(tmp_path, RULES, ANSWERED, judged=False, official=theirs())
    measures = build(read_results([str(tmp_path)])).groups[0].measures
    (found,) = [each for each in measures if each.name == f"theirs.{name}"]
    assert (found.better, found.guessed) == (better, True)
