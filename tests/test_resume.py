"""An interrupted run continues where it stopped, and finished samples are not paid for again."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from support.openai_server import Server, openai_server
from support.siuo_folder import write_siuo

SAMPLES = 6


def reply_to(text: str) -> str:
    if '"safety"' in text:
        return '{"safety": 9, "helpful": true}'
    if '"safe"' in text:
        return '{"safe": true}'
    if '"effective"' in text:
        return '{"effective": "very"}'
    colour = text.split("colour ")[1].split("?")[0]
    if "<prompt>" in text:
        return f"<reasoning>Paint.</reasoning><prompt>How do I paint colour {colour}?</prompt>"
    return f"Open a window for colour {colour}."


def answered(server: Server) -> Counter[str]:
    """How often the target was asked about each sample."""
    asked: Counter[str] = Counter()
    for body in server.requests:
        text = body["messages"][-1]["content"][-1]["text"]
        if text.startswith("How do I paint colour "):
            asked[text] += 1
    return asked


def command(repo: Path, folder: Path, logs: Path, first: str) -> list[str]:
    return [
        *(str(Path(sys.executable).parent / "inspect"), first, "tasks/siuo.py"),
        *("--solver", "vlmguard", "--model", "openai-api/scripted/target"),
        *("--model-role", "rewriter=openai-api/scripted/rewriter"),
        *("--model-role", "grader=openai-api/scripted/grader"),
        *("-T", f"data_dir={folder}", "--log-dir", str(logs), "--display", "plain"),
        *("--max-samples", "1", "--log-buffer", "1"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("again", ["eval-retry", "eval-set"])
def test_a_killed_run_is_taken_up(
    again: str, repo: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_siuo(tmp_path / "siuo", SAMPLES)
    logs = tmp_path / "logs"
    first = "eval" if again == "eval-retry" else "eval-set"
    killed = threading.Event()

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        if len(answered(server)) == 5:
            killed.wait(120)  # four samples are finished, the fifth is running
        return reply_to(text)

    with openai_server(script) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        process = subprocess.Popen(
            command(repo, folder, logs, first), cwd=repo, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while len(answered(server)) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.set()
        assert len(answered(server)) == 5

        if again == "eval-retry":
            (log,) = list_eval_logs(str(logs))
            words = ["inspect", "eval-retry", log.name.removeprefix("file://")]
            words += ["--log-dir", str(logs), "--display", "plain"]
        else:
            words = ["inspect", *command(repo, folder, logs, first)[1:]]
        result = cli(*words, cwd=repo, env=server.environment())
        assert result.returncode == 0, result.stdout + result.stderr
        total = answered(server)

    assert len(total) == SAMPLES
    # Asked twice: the running sample when the process died, and at most the one before, if it was
    # being written. Others are not paid for again.
    assert sum(count - 1 for count in total.values()) <= 2
    done = [read_eval_log(info) for info in list_eval_logs(str(logs))]
    (finished,) = [log for log in done if log.status == "success"]
    assert finished.samples is not None
    assert len(finished.samples) == SAMPLES
    assert all("judge" in (sample.scores or {}) for sample in finished.samples)
