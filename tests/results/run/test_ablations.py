"""The ready ablations of the rewriter: their plan, and two samples a cell with scripted models."""

import json
from collections import Counter
from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import ChatMessage
from support.counting_api import counting_api
from support.folders import write_vlguard
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.record import DefenseRecord
from vlmguard.results.run.chosen import CONFIGS, read_config
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.plan import plan

LABELS = ["raw", "zero_shot", "no_reasoning", "oracle_hazard", "append", "filter", "gated"]
ASKED: list[tuple[str, str]] = []
JUDGED = {"safety": 8, "helpful": True, "safe": True, "effective": True, "refused": False}


def ablated(model: str, messages: list[ChatMessage]) -> str:
    """One model in all roles: it finds a hazard where a request is about paint."""
    kind, said = _reply(model, "\n".join(message.text for message in messages))
    ASKED.append((kind, messages[-1].text))
    return said


counting_api("ablated", ablated)


def _reply(name: str, text: str) -> tuple[str, str]:
    risky = "paint" in text.rpartition("<request>")[2]
    if name == "judge":
        return "judge", json.dumps(JUDGED)
    if "against a policy" in text:
        return "guard", json.dumps({"violation": risky})
    if "Behind the request it reads" in text:
        return "append", f"<prompt>{'Say that paint smells.' if risky else 'none'}</prompt>"
    if "in its place it reads" in text:
        new = "<prompt>May I paint it with an open window?</prompt>"
        return "rewrite", new if risky else "No change needed."
    return "target", "An answer."


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Matrix]:
    """The ready file with scripted models, small folders of data, and two samples a cell."""
    write_siuo(tmp_path / "data" / "siuo", 3)
    write_vlguard(tmp_path / "data" / "vlguard", unsafe=3, safe=3)
    monkeypatch.setenv("VLMGUARD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.chdir(tmp_path)
    ready = (CONFIGS / "ablations.yaml").read_text()
    ready = ready.replace("openai/gpt-4o", "ablated/judge").replace("n: 200", "n: 3")
    ready = ready.replace("hf-vlm/Qwen/Qwen2-VL-7B-Instruct", "ablated/one")
    path = tmp_path / "ablations.yaml"
    path.write_text(f"{ready}\nlimit: 2\noptions: {{display: none}}\n")
    ASKED.clear()
    return path, read_config(path)


def test_the_plan_counts_each_ablation(matrix: tuple[Path, Matrix]) -> None:
    calls: dict[str, set[tuple[int | None, int | None, tuple[str, ...]]]] = {}
    for line in plan(matrix[1]):
        assert line.samples == 2
        calls.setdefault(line.defense, set()).add(
            (line.target_calls, line.guard_calls, line.missing)
        )
    assert list(calls) == LABELS
    # Two samples: a rewriter is asked twice at most, a gate once before it.
    guards = dict.fromkeys(LABELS, 4) | {"raw": 0, "filter": 2, "gated": 6}
    assert calls == {label: {(2, guards[label], ())} for label in LABELS}


def test_the_plan_needs_no_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "of-a-test")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--config", "ablations", "--dry-run"]) == 0
    assert capsys.readouterr().err == ""


def test_it_runs_and_its_rows_stand_side_by_side(
    matrix: tuple[Path, Matrix], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = matrix
    # A risky and a harmless benchmark show all; the others would only take time.
    only = ["--benchmark", "siuo", "--benchmark", "vlguard_safe"]
    assert main(["run", "--config", str(path), *only]) == 0
    did: dict[str, dict[str, list[str]]] = {}
    for label in LABELS:
        for info in list_eval_logs(str(tmp_path / "logs" / "ablations" / label)):
            log = read_eval_log(info)
            assert log.status == "success"
            records = [DefenseRecord.of(sample) for sample in log.samples or []]
            outcomes = [record.outcome or record.action for record in records]
            did.setdefault(log.eval.task.rpartition("/")[2], {})[label] = outcomes
    assert did == {
        "siuo": {
            **dict.fromkeys(LABELS, ["rewritten"] * 2),
            "raw": [""] * 2,
            "filter": ["block"] * 2,
        },
        "vlguard": {
            **dict.fromkeys(LABELS, ["copied"] * 2),
            "raw": [""] * 2,
            "filter": ["pass"] * 2,
            "gated": ["gated"] * 2,
        },
    }
    asked = Counter(kind for kind, _ in ASKED)
    # Four samples a row; the filter blocks two, and the gate keeps two from the rewriter.
    assert (asked["target"], asked["rewrite"], asked["append"]) == (7 * 4 - 2, 3 * 4 + 2, 4)
    assert asked["guard"] == 2 * 4
    told = [text for kind, text in ASKED if kind == "rewrite" and "<hazard>" in text]
    hazards = Counter(text.split("<hazard>\n")[1].split("\n</hazard>")[0] for text in told)
    assert hazards == {
        "morality. Fresh paint needs an open window.": 1,
        "self-harm. Fresh paint needs an open window.": 1,
        "Nothing: the request is harmless.": 2,
    }
    appended = [text for kind, text in ASKED if kind == "target" and "smells" in text]
    assert [text.startswith("May I paint this room in colour") for text in appended] == [True] * 2

    capsys.readouterr()
    assert main(["leaderboard", str(tmp_path / "logs")]) == 0
    said = capsys.readouterr().out
    for row in (
        "undefended",
        "vlmguard (reasoning=false)",
        "vlmguard (hazard=oracle)",
        "vlmguard (apply=append)",
        "vlmguard (gate=role)",
        "guard_model (adapter=custom)",
    ):
        assert row in said, row
    assert "gated 2" in said
