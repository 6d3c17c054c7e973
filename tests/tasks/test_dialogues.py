"""Sets of dialogues, end to end: replay, every turn judged, measures by hand, tables and plans."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.solver import generate
from support.folders import draw_image
from support.openai_server import openai_server
from support.scripted import choices

from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.plan import plan
from vlmguard.scorers import refusal
from vlmguard.tasks import vlm_safety

GOOD, BAD = '{"right": true}', '{"right": false}'


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Five dialogues of two or three turns; `turns` is a list, JSON or text."""
    draw_image(tmp_path / "pear.png", 40)
    rows = [
        {"turns": ["A1", "A2", "A3"], "kind": "bad"},
        {
            "turns": json.dumps([{"role": "user", "content": f"B{n}"} for n in (1, 2)]),
            "kind": "bad",
        },
        {"turns": "User: C1\nAssistant: Somebody's.\nUser: C2", "kind": "bad"},
        {"turns": ["D1", "D2"], "kind": "good"},
        {"turns": ["E1", "E2"], "kind": "bad"},
    ]
    lines = [json.dumps({**row, "img": "pear.png"}) for row in rows]
    (tmp_path / "talks.jsonl").write_text("\n".join(lines))
    return tmp_path


def task_of(folder: Path, **options: Any) -> Any:
    given: dict[str, Any] = {
        "file": str(folder / "talks.jsonl"),
        "map": {"turns": "turns", "image": "img"},
        "expected": "field:kind",
        "expected_values": {"bad": "refuse", "good": "comply"},
        "keywords": "own",
    }
    return vlm_safety(**{**given, **options})


def answer(messages: Any) -> str | ModelOutput:
    """Answers with the turn's name; C1 gets none."""
    last = messages[-1].text
    return choices("") if last == "C1" else f"Answer to {last}."


def judge(messages: Any) -> str:
    """Wrong are A2, B2, D1; E1 gets no verdict."""
    text = messages[-1].text
    (name,) = [
        line.removeprefix("Answer to ").rstrip(".")
        for line in text.partition("answer")[2].splitlines()[::-1]
        if line.startswith("Answer to ")
    ][:1]
    if '"safety"' in text:
        safety = {"A1": 6, "A2": 2, "B2": 0}.get(name, 9)
        return f'{{"safety": {safety}, "helpful": true}}'
    if name == "E1":
        return "Hm."
    return BAD if name in ("A2", "B2", "D1") else GOOD


def test_last_and_worst_turns_are_counted_by_hand(
    talks: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    log = run(task_of(talks), scripted(answer), model_roles={"grader": scripted(judge, "grader")})
    found = metrics(log)
    own = "vlm_safety_judge"
    # A fails at turn 2, B at 2, D at 1; C1 has no answer, E1 no verdict, and neither fails later.
    assert found[f"{own}.right.mean"] == pytest.approx(4 / 5)
    assert found[f"{own}.{own}.asr_last"] == pytest.approx(1 / 4)
    assert found[f"{own}.{own}.asr_any"] == pytest.approx(2 / 2)
    assert found[f"{own}.{own}.wrong_any"] == pytest.approx(3 / 3)
    assert found[f"{own}.{own}.wrong_any_scored"] == 3
    assert found[f"{own}.{own}.wrong_any_low"] == pytest.approx(3 / 5)
    assert found[f"{own}.{own}.wrong_any_high"] == pytest.approx(5 / 5)
    assert found[f"{own}.{own}.first_wrong"] == pytest.approx((2 + 2 + 1) / 3)
    # The general judge: A is unsafe at 1, B at 2; C is not known; D and E are never unsafe.
    assert found["judge.safety.mean"] == pytest.approx((9 + 0 + 9 + 9 + 9) / 5)
    assert found["judge.judge.safety_worst"] == pytest.approx((2 + 0 + 9 + 9) / 4)
    assert found["judge.judge.unsafe_any"] == pytest.approx(2 / 4)
    assert found["judge.judge.first_unsafe"] == pytest.approx((1 + 2) / 2)
    assert found["judge.judge.never_failed"] == 2
    assert "judge.judge.unscored_never_failed" not in found
    assert "vlm_safety_judge.vlm_safety_judge.never_failed" not in found
    assert found["refusal.refusal.refused_any"] == 0
    (first, _, third, _, fifth) = [sample.scores or {} for sample in log.samples]
    assert [each["right"] for each in first[own].metadata["turns"]] == [1, 0, 1]
    assert third[own].metadata["unscored"] == {
        "wrong_any": "no_response",
        "first_wrong": "no_response",
    }
    assert fifth[own].metadata["unscored"]["wrong_any"] == "invalid_format"
    assert first[own].metadata["defense"]["calls"] == 3


def test_the_judge_sees_the_conversation_as_it_was(talks: Path, scripted: Any, run: Any) -> None:
    asked: list[str] = []

    def say(messages: Any) -> str:
        asked.append(messages[-1].text)
        return GOOD

    task = task_of(talks, judge="official")
    run(task, scripted(answer), model_roles={"grader": scripted(say, "grader")}, limit=(0, 3))
    # Three turns, two, and one of two.
    assert len(asked) == 6
    (second,) = [text for text in asked if "user: A2" in text and "user: A3" not in text]
    assert "user: A1\nassistant: Answer to A1.\nuser: A2\n" in second
    assert "Answer to A2." in second
    (late,) = [text for text in asked if "user: C2" in text]
    assert "user: C1\nassistant: (no answer)\nuser: C2" in late
    assert "Somebody" not in late


def test_another_solver_answers_the_last_turn_alone(
    talks: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    heard: list[list[str]] = []

    def say(messages: Any) -> str:
        heard.append([message.text for message in messages])
        return "Answer to it."

    log = run(task_of(talks, judge="none"), scripted(say), solver=generate(), limit=(2, 3))
    assert log.status == "success", log.error
    assert heard == [["C1", "Somebody's.", "C2"]]
    assert not any("refused_any" in name for name in metrics(log))


def test_tables_show_the_measures_of_dialogues(talks: Path, scripted: Any, run: Any) -> None:
    run(task_of(talks), scripted(answer), model_roles={"grader": scripted(judge, "grader")})
    read = read_results([str(talks / "logs")])
    assert not read.left_out, read.left_out
    (group,) = build(read).groups
    headings = {measure.heading for measure in group.measures}
    assert {"ASR, last turn % ↓", "ASR, any turn % ↓", "First wrong turn ↑"} <= headings
    assert {"Safety 0-10, worst turn ↑", "Unsafe at any turn % ↓"} <= headings
    assert not any(measure.guessed for measure in group.measures)
    row = read.frame.set_index("sample").loc["talks/0"]
    assert (row["calls"], row["vlm_safety_judge.first_wrong"]) == (3, 2)
    assert math.isnan(read.frame.set_index("sample").loc["talks/2"]["judge.safety_worst"])


@pytest.mark.parametrize(
    ("target", "defense", "calls"),
    [
        ("mockllm/model", "none", (3, 0, 6)),
        ("guarded/vlmguard/mockllm/model", "none", (3, 6, 6)),
        ("mockllm/model", "vlmguard", (1, 2, 2)),
    ],
)
def test_a_plan_counts_the_turns(
    talks: Path, target: str, defense: str, calls: tuple[int, int, int]
) -> None:
    (talks / "matrix.yaml").write_text(
        json.dumps(
            {
                "targets": [target],
                "defenses": [defense],
                "benchmarks": [
                    {
                        "name": "vlm_safety",
                        "args": {
                            "file": str(talks / "talks.jsonl"),
                            "map": {"turns": "turns", "image": "img"},
                            "expected": "refuse",
                        },
                    }
                ],
                "roles": {"grader": "mockllm/grader", "rewriter": "mockllm/rewriter"},
            }
        )
    )
    (line,) = plan(read_config(talks / "matrix.yaml"))
    per_sample = (line.target_calls, line.guard_calls, line.judge_calls)
    assert per_sample == tuple(5 * each for each in calls)


@pytest.mark.slow
def test_the_command_line_replays_a_file(talks: Path) -> None:
    def say(text: str, messages: list[dict[str, Any]]) -> str:
        if '"right"' in text:
            return GOOD
        if "<prompt>" in text or '"prompt"' in text:
            return '{"reasoning": "r", "prompt": "Kindly."}'
        return f"Answer {len(messages)}."

    with openai_server(say) as server:
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "inspect"),
                *("eval", "vlmguard/vlm_safety", "-T", "file=talks.jsonl", "--limit", "1"),
                *("-T", "map={turns: turns, image: img}", "-T", "expected=refuse"),
                *("-T", "judge=official", "--model", "guarded/vlmguard/openai/gpt-4o-mini"),
                *("--model-role", "rewriter=openai/gpt-4-turbo", "--model-role"),
                *("grader=openai/gpt-4o", "--log-dir", "logs"),
            ],
            cwd=talks,
            env={**os.environ, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": server.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        asked = [body["model"] for body in server.requests]
    assert [asked.count(name) for name in ("gpt-4-turbo", "gpt-4o-mini", "gpt-4o")] == [3, 3, 3]
    (info,) = list_eval_logs(str(talks / "logs"))
    (sample,) = read_eval_log(info).samples or []
    assert [each.text for each in sample.messages] == [
        *("A1", "Answer 1.", "A2", "Answer 3.", "A3", "Answer 5.")
    ]
    assert (sample.scores or {})["vlm_safety_judge"].value["wrong_any"] == 0  # type: ignore[index,call-overload]


def test_a_log_is_scored_again_turn_by_turn(
    talks: Path, scripted: Any, run: Any, metrics: Any
) -> None:
    model = scripted(
        lambda messages: "I'm sorry, but I can't help." if messages[-1].text == "A2" else "Yes."
    )
    log = run(task_of(talks, judge="none"), model, limit=1)
    (again,) = [score(log, refusal("own"), action="overwrite")]
    for each in (log, again):
        found = metrics(each)
        assert found["refusal.refused.mean"] == 0
        assert found["refusal.refusal.refused_any"] == 1
