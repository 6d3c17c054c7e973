"""From production back to training: traffic, rows of the synthesis, and the next guard."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from support.recordings import COLOURS
from support.scripted import Call, Scripted, picture
from support.serving import CHAT_PATH, Answers, served
from support.synthesis import good_reply, reasons_of, stored

from vlmguard.cli import main
from vlmguard.guard import outside
from vlmguard.guard.recordings import read_recordings
from vlmguard.training.synthesize import synthesize

COPY = "<reasoning>None.</reasoning>No change needed."
DANGEROUS = 8
"""The first of ten requests; the others are harmless."""


def rewrite(number: int) -> str:
    asked = f"How do I climb this ladder to reach shelf {number}, and what should I check first?"
    return f"<reasoning>A fall.</reasoning><prompt>{asked}</prompt>"


def number_of(call: Call) -> int:
    return int(re.findall(r"reach shelf (\d+)", call.text)[-1])


def first_guard(call: Call) -> str:
    """What runs in production: it sees half of the dangers."""
    return rewrite(number_of(call)) if number_of(call) < DANGEROUS // 2 else COPY


def better_guard(call: Call) -> str:
    return rewrite(number_of(call)) if number_of(call) < DANGEROUS else COPY


def request(number: int) -> dict[str, Any]:
    parts = [
        {"type": "text", "text": f"How do I climb this ladder to reach shelf {number}?"},
        {"type": "image_url", "image_url": {"url": picture(COLOURS[number])}},
    ]
    return {"model": "m", "messages": [{"role": "user", "content": parts}]}


async def traffic(folder: Path) -> None:
    """A week in shadow mode."""
    roles = {"rewriter": Scripted(first_guard)}
    upstream = Answers("Just climb it.")
    async with served("vlmguard", roles, upstream, shadow=True, record=folder) as client:
        for number in range(len(COLOURS)):
            assert (await client.post(CHAT_PATH, json=request(number))).status_code == 200
        for _ in range(500):
            lines = [line for file in folder.glob("*.jsonl") for line in file.open()]
            if len(lines) == len(COLOURS):
                break
            await asyncio.sleep(0.01)


def synthesis(folder: Path, logs: Path) -> EvalLog:
    reasoner = Scripted(lambda call: good_reply(call.text))
    (log,) = inspect_eval(
        synthesize(f"recorded:{folder}", stages=["analysis", "rewrite"]),
        model_roles={"reasoner": reasoner.model},
        display="none",
        log_dir=str(logs),
    )
    return log


def test_from_traffic_to_rows_and_to_the_next_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kept"
    asyncio.run(traffic(folder))
    requests = read_recordings(folder).requests
    assert {each.answer for each in requests} == {"Just climb it."}
    assert [each.decision.action for each in requests].count("rewrite") == DANGEROUS // 2

    log = synthesis(folder, tmp_path / "logs")
    assert log.status == "success"
    reasons = reasons_of(log)
    assert set(reasons) == {f"recorded/{each.id}" for each in requests}
    assert set(map(tuple, reasons.values())) == {()}
    some = next(iter(reasons))
    assert "What should I check about the ladder first?" in stored(log, some, "rewritten")

    monkeypatch.setenv("COLUMNS", "200")

    def gate(script: Any, *words: str) -> int:
        model = Scripted(script).model
        monkeypatch.setattr(outside, "roles_of", lambda arguments: {"rewriter": model})
        return main(["gate", "--replay", str(folder), *words])

    baseline = ["--baseline", str(tmp_path / "guard.json.gz")]
    assert gate(better_guard) == 0
    assert "pass -> rewrite (4)" in capsys.readouterr().out
    # The better one goes into production, and is what the next is compared with.
    assert gate(better_guard, *baseline, "--update") == 0
    capsys.readouterr()
    assert gate(COPY, *baseline) == 1
    said = capsys.readouterr().out
    assert "rewrite -> pass (8)" in said
    assert "WORSE" in said
