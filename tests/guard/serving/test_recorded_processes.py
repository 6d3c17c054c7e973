"""`--record` of several workers that are stopped: nothing of what was answered is lost."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.answer_server import answer_server
from support.guard_process import guard_process
from support.load.processes import free_port
from support.recordings import COLOURS
from support.scripted import picture

from vlmguard.cli import main
from vlmguard.guard.recordings import read_recordings

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Just climb it."},
            "finish_reason": "stop",
        }
    ],
}
REQUESTS = 24


def request(number: int) -> dict[str, Any]:
    shown = {"url": picture(COLOURS[number % len(COLOURS)])}
    parts = [
        {"type": "image_url", "image_url": shown},
        {"type": "text", "text": f"How do I climb ladder {number}?"},
    ]
    return {"model": "m", "messages": [{"role": "user", "content": parts}]}


@pytest.mark.slow
def test_workers_that_are_stopped_have_written_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, port = tmp_path / "kept", free_port()
    with answer_server(200, ANSWER) as address:
        words = ["--defense", "figstep_defense", "--upstream", f"{address}/v1", "--workers", "2"]
        words += ["--shadow", "--on-failure", "original", "--log-content", "--record", str(folder)]
        with guard_process(words, port, tmp_path):
            for number in range(REQUESTS):
                # A connection each, so that both workers get some.
                url = f"http://127.0.0.1:{port}/v1/chat/completions"
                assert httpx.post(url, json=request(number), timeout=60).status_code == 200
            # Stopped at once, while decisions and files may still be open.
    found = read_recordings(folder)
    assert found.torn == []
    asked = {each.prompt for each in found.requests}
    assert asked == {f"How do I climb ladder {number}?" for number in range(REQUESTS)}
    assert {each.answer for each in found.requests} == {"Just climb it."}
    assert {each.decision.action for each in found.requests} == {"rewrite"}
    assert len([*(folder / "images").iterdir()]) == len(COLOURS)

    # With the words of the server, without anything scripted.
    assert main(["gate", "--replay", str(folder), "--defense", "figstep_defense"]) == 0
    said = capsys.readouterr().out
    assert f"Decisions on {REQUESTS}" in said
    assert "0 of the same kind reach the target with other words" in " ".join(said.split())
