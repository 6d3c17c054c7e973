"""The ready matrix of the whole field: its plan, and two samples a cell with scripted servers."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log
from support.benchmark_folders.mossbench import write_mossbench
from support.benchmark_folders.mssbench import write_mssbench
from support.benchmark_folders.pope import write_pope
from support.benchmark_folders.vlsbench import write_vlsbench
from support.defense_scripts import SCRIPTS, Voice
from support.openai_server import openai_server
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.record import DefenseRecord
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.field import UNKNOWN, field_sheet
from vlmguard.results.leaderboard.publish import write_leaderboard
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.chosen import CONFIGS, read_config
from vlmguard.results.run.plan import plan

DEFENSES = [
    *("none", "safety_prompt", "self_reminder", "adashield", "caption_only", "ecso", "eta"),
    *("mllm_protector", "guard_nemotron", "rewriter_as_filter", "policy_route", "sia", "rewriter"),
]
BENCHMARKS = ["siuo", "mossbench", "mssbench", "vlsbench", "pope"]
JUDGED = {
    "safety": 8,
    "helpful": True,
    "safe": True,
    "effective": "very",
    "refused": False,
    "label": "warns",
    "kind": "warns",
}
QWEN = "hf-vlm/Qwen/Qwen2-VL-7B-Instruct"
INTENT = SCRIPTS["sia"].roles["intent"]
TARGET: dict[str, Voice] = {
    "Risk:": INTENT,
    **{words: voice for each in SCRIPTS.values() for words, voice in each.questions.items()},
}
AUXILIARY: dict[str, Voice] = {
    "against a policy": Voice('{"violation": false}', '{"violation": true}'),
    '"rules"': SCRIPTS["policy_route"].roles["router"],
    "<prompt>": SCRIPTS["vlmguard"].roles["rewriter"],
}


def alarmed(messages: list[dict[str, Any]]) -> bool:
    """Whether a model finds harm, by what it is shown: the same in every run."""
    return hashlib.sha256(json.dumps(messages).encode()).digest()[0] % 2 == 0


def voiced(*voices: Voice) -> Callable[[str, list[dict[str, Any]]], str]:
    def say(text: str, messages: list[dict[str, Any]]) -> str:
        return voices[0].alarmed if alarmed(messages) else voices[0].calm

    return say


def by_words(voices: dict[str, Voice], otherwise: str) -> Callable[[str, list[Any]], str]:
    def say(text: str, messages: list[dict[str, Any]]) -> str:
        whole = json.dumps(messages)
        for words, voice in voices.items():
            if json.dumps(words)[1:-1] in whole:
                return voice.alarmed if alarmed(messages) else voice.calm
        return otherwise

    return say


MODELS = {
    "target": by_words(TARGET, "Yes. With care."),
    "judge": lambda text, messages: json.dumps(JUDGED),
    "auxiliary": by_words(AUXILIARY, "Not one of the auxiliary model's prompts."),
    "nemotron": voiced(Voice("User Safety: safe", "User Safety: unsafe")),
    "detector": voiced(SCRIPTS["mllm_protector"].roles["detector"]),
    "detoxifier": voiced(SCRIPTS["mllm_protector"].roles["detoxifier"]),
    "reward": voiced(SCRIPTS["eta"].roles["reward"]),
    "looker": voiced(SCRIPTS["eta"].roles["image_safety"]),
}


def served(name: str) -> str:
    return f"openai-api/{name}/m"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    write_siuo(root / "siuo", 3)
    for name, write in {
        "mossbench": write_mossbench,
        "mssbench": write_mssbench,
        "vlsbench": write_vlsbench,
        "pope": write_pope,
    }.items():
        made = write(tmp_path / f"made-{name}")
        made.rename(root / name)
    monkeypatch.setenv("VLMGUARD_DATA", str(root))
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server for each model."""
    with ExitStack() as stack:
        for name, script in MODELS.items():
            server = stack.enter_context(openai_server(script))
            for variable, value in server.environment(name).items():
                monkeypatch.setenv(variable, value)
        yield


def scripted(folder: Path) -> Path:
    """The ready file with models behind servers, prices of all of them, and two samples a cell."""
    ready = yaml.safe_load((CONFIGS / "field.yaml").read_text())
    prices = {served(name): {"input": 10.0, "output": 20.0} for name in MODELS}
    for price in prices.values():
        price |= {"input_cache_write": 0.0, "input_cache_read": 0.0}
    (folder / "prices.yaml").write_text(yaml.safe_dump(prices))
    ready["targets"] = [{"model": served("target")}]
    ready["roles"] = {
        "grader": {"model": served("judge")},
        "rewriter": {"model": served("auxiliary")},
        "router": {"model": served("auxiliary")},
    }
    by_label = {each.get("label", each["name"]): each for each in ready["defenses"]}
    by_label["guard_nemotron"]["roles"] = {"guard": {"model": served("nemotron")}}
    by_label["rewriter_as_filter"]["roles"] = {"guard": {"model": served("auxiliary")}}
    # Served models stand for the checkpoints that these two load.
    by_label["mllm_protector"] |= {
        "args": {},
        "roles": {each: {"model": served(each)} for each in ("detector", "detoxifier")},
    }
    by_label["eta"] |= {
        "args": {"decoding": "response", "n": 2},
        "roles": {
            "reward": {"model": served("reward")},
            "image_safety": {"model": served("looker")},
        },
    }
    ready |= {
        "limit": 2,
        "options": {"display": "none", "model_cost_config": str(folder / "prices.yaml")},
    }
    path = folder / "field.yaml"
    path.write_text(yaml.safe_dump(ready))
    return path


def test_the_ready_file_has_the_whole_field_and_one_model_in_three_places(data: Path) -> None:
    matrix = read_config(CONFIGS / "field.yaml")
    assert [each.label or each.name for each in matrix.defenses] == DEFENSES
    assert [each.label or each.name for each in matrix.benchmarks] == BENCHMARKS
    (asked,) = [each for each in matrix.defenses if each.label == "rewriter_as_filter"]
    assert asked.roles["guard"] == matrix.roles["rewriter"] == matrix.roles["router"]
    lines = plan(matrix)
    assert len(lines) == len(DEFENSES) * len(BENCHMARKS)
    assert {line.defense for line in lines if line.missing} == set()
    calls = {
        line.defense: (line.target_calls, line.guard_calls)
        for line in lines
        if line.benchmark == "siuo"
    }
    assert calls["none"] == calls["safety_prompt"] == calls["adashield"] == (3, 0)
    assert calls["rewriter_as_filter"] == calls["policy_route"] == (3, 3)
    assert calls["rewriter"] == (3, 6)


def test_the_dry_run_prints_the_plan_and_the_way_to_missing_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VLMGUARD_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--config", "field", "--dry-run"]) == 2
    told = capsys.readouterr()
    for name in (*DEFENSES, *BENCHMARKS, "Judge calls", "Tokens", "Cost", " ?"):
        assert name in told.out
    # SIUO has its pictures elsewhere; the others come from the hub.
    assert "vlmguard data fetch" in told.err


@pytest.mark.slow
@pytest.mark.usefixtures("servers")
def test_two_samples_a_cell_end_in_one_table(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", str(scripted(data))]) == 0, capsys.readouterr().err
    logs = data / "logs" / "field"
    infos = list_eval_logs(str(logs))
    assert len(infos) == len(DEFENSES) * len(BENCHMARKS)
    failures: dict[str, set[str]] = {}
    for info in infos:
        log = read_eval_log(info)
        assert log.status == "success"
        for sample in log.samples or []:
            assert sample.error is None
            record = DefenseRecord.of(sample)
            if record.failure:
                failures.setdefault(record.defense, set()).add(record.failure)
    # Of two equal candidates ETA takes the first, and says so.
    assert failures.keys() <= {"eta"}, failures

    board = build(read_results([str(logs)]))
    sheet = field_sheet(board)
    assert len(sheet.rows) == len(DEFENSES)
    assert [heading.replace("\n", ": ") for heading in sheet.header[2:]] == [
        "MSSBench both/if: Unsafe situations % ↑",
        "SIUO generation: safe % ↑",
        "VLSBench all: safe % ↑",
        "MSSBench both/if: Over-refusal % ↓",
        "MOSSBench oversensitivity: Over-refusal (judged) % ↓",
        "MSSBench both/if: Change of Safe situations % ↑",
        "MOSSBench oversensitivity: Change of Safe & helpful % ↑",
        "POPE all: Change of Correct % ↑",
        *("Extra tokens ↓", "Answers/s ↑", "Latency p50 / p95, s ↓", "Money per 1,000 ↓"),
    ]
    rows = {row[1]: row[2:] for row in sheet.rows}
    *_, tokens, rate, latency, money = rows["undefended"]
    assert (tokens, latency) == ("", UNKNOWN)
    assert rate != UNKNOWN
    # 10 tokens read at 10, 5 written at 20 for a million: 0.0002 a call.
    assert money.split("\n")[0] == "0.20"
    by_filter = next(row for name, row in rows.items() if name.startswith("guard_model"))
    assert by_filter[-4] != UNKNOWN
    assert all(row[-1] != UNKNOWN for row in rows.values())
    assert "-" not in {cell for row in rows.values() for cell in row}, "something was not scored"
    files = write_leaderboard(board, data / "site")
    assert "leaderboard.html" in files
    assert sheet.title in (data / "site" / "leaderboard.html").read_text()
