"""The documented commands, from the repository root and from elsewhere, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from support.openai_server import Server, openai_server
from support.synthesis import good_reply, raw_row, request_in

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
REASONER = ("--model-role", "reasoner=openai-api/scripted/reasoner")


def reply(text: str, messages: list[dict[str, Any]]) -> str:
    return good_reply(text)


def words(path: Path, logs: Path, *more: str, task: str = "training/synthesize.py") -> list[str]:
    return [
        *("inspect", "eval", task, "-T", f"data={path}", *REASONER),
        *("--log-dir", str(logs), "--display", "plain", *more),
    ]


def asked(server: Server) -> Counter[str]:
    """Number of calls for each request."""
    texts = [body["messages"][-1]["content"] for body in server.requests]
    return Counter(request_in(next(p["text"] for p in t if p["type"] == "text")) for t in texts)


@pytest.mark.parametrize("task", ["training/synthesize.py", "vlmguard/synthesize"])
def test_rows_to_data_set(
    task: str, write_rows: Write, tmp_path: Path, cli: Any, repo: Path
) -> None:
    path = write_rows(*(raw_row(number) for number in range(3)), raw_row(7, benign=True))
    # A relative path starts from the user's folder.
    cwd = repo if task.endswith(".py") else path.parent
    given = path if cwd == repo else Path(path.name)
    with openai_server(reply) as server:
        made = cli(*words(given, tmp_path / "logs", task=task), cwd=cwd, env=server.environment())
        assert made.returncode == 0, made.stdout + made.stderr
        assert asked(server) == {
            **{raw_row(number)["prompt"]: 4 for number in range(3)},
            raw_row(7)["prompt"]: 2,
        }
    # Inspect prints yield and cost of each stage.
    assert "kept_share" in made.stdout
    assert "calls_hindsight" in made.stdout
    out = tmp_path / "out"
    exported = cli("vlmguard", "export", str(tmp_path / "logs"), "--out", str(out))
    assert exported.returncode == 0, exported.stderr
    assert "4 rows read, 4 exported" in exported.stdout
    data = datasets.load_from_disk(str(out))
    assert sorted([*data["train"]["id"], *data["validation"]["id"]]) == [
        "rows/r0",
        "rows/r1",
        "rows/r2",
        "rows/r7",
    ]
    again = cli("vlmguard", "export", str(tmp_path / "logs"), "--out", str(out))
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_real_leaks_stop_the_command(
    real_data: Any, tmp_path: Path, repo: Path, cli: Any, write_rows: Write
) -> None:
    # A row that carries the name of an image that VLGuard has in train and test.
    folder = real_data("vlguard")
    leaked = "vlguard/HOD/img_hod_008677.jpg"
    path = write_rows(raw_row(0), raw_row(1, image_id=leaked))
    with openai_server(reply) as server:
        made = cli(*words(path, tmp_path / "logs"), cwd=repo, env=server.environment())
    assert made.returncode == 0, made.stdout + made.stderr
    command = ("vlmguard", "export", str(tmp_path / "logs"), "--out", str(tmp_path / "out"))
    stopped = cli(*command, "--test-sets", str(folder.parent))
    assert stopped.returncode == 2
    assert leaked in stopped.stderr
    assert not (tmp_path / "out").exists()
    dropped = cli(*command, "--test-sets", str(folder.parent), "--on-leak", "drop")
    assert dropped.returncode == 0, dropped.stderr
    assert "Dropped: leak 1." in dropped.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-T", "stages=rewrit"], "stages=rewrit is not known"),
        (["-T", "safety=99"], "hold 2 such rows"),
        (["-T", "data=nothing.jsonl"], "does not exist"),
        (["-T", "rejection=1"], "grader"),
    ],
)
def test_mistakes_are_told_before_anything_is_paid_for(
    more: list[str], message: str, write_rows: Write, tmp_path: Path, cli: Any, repo: Path
) -> None:
    path = write_rows(raw_row(0), raw_row(1))
    with openai_server(reply) as server:
        made = cli(*words(path, tmp_path / "logs", *more), cwd=repo, env=server.environment())
        assert message in " ".join((made.stdout + made.stderr).split())
        assert server.requests == []


def test_a_killed_run_resumes_and_pays_for_nothing_twice(
    write_rows: Write, tmp_path: Path, cli: Any, repo: Path
) -> None:
    count = 8
    path = write_rows(*(raw_row(number) for number in range(count)))
    logs = tmp_path / "logs"
    command = words(path, logs, "--max-samples", "1", "--log-buffer", "1", "--no-log-realtime")

    reached, killed_now = threading.Event(), threading.Event()

    def held(text: str, messages: list[dict[str, Any]]) -> str:
        if len(server.requests) == 14:  # three rows are done and the fourth has begun
            reached.set()
            killed_now.wait(120)
        return good_reply(text)

    with openai_server(held) as server:
        environment = {**os.environ, **server.environment(), "NO_COLOR": "1"}
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=repo,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert reached.wait(120)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_now.set()
        paid = asked(server)
        (killed,) = list_eval_logs(str(logs))
        assert read_eval_log(killed, header_only=True).status == "started"

        # Finished rows can be exported at once.
        partial = cli("vlmguard", "export", str(logs), "--out", str(tmp_path / "partial"))
        assert partial.returncode == 0, partial.stderr
        assert "inspect eval-retry" in partial.stderr

        killed_path = killed.name.removeprefix("file://")
        resumed = cli(
            *("inspect", "eval-retry", killed_path, "--log-dir", str(logs), "--display", "plain"),
            cwd=repo,
            env=server.environment(),
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        total = asked(server)
    finished = [prompt for prompt, calls in paid.items() if calls == 4]
    assert len(finished) >= 3
    assert set(total) == {raw_row(number)["prompt"] for number in range(count)}
    # The running row when the process died starts again; no finished row does. The last row that
    # looks finished may not have been written yet.
    assert all(total[prompt] == 4 for prompt in finished[:-1])
    assert sum(total.values()) <= 4 * count + 4

    exported = cli("vlmguard", "export", str(logs), "--out", str(tmp_path / "out"))
    assert exported.returncode == 0, exported.stderr
    provenance = json.loads((tmp_path / "out/provenance.json").read_text())
    assert provenance["rows"]["exported"] == count
    assert "unfinished" not in provenance["dropped"]


def test_a_row_that_the_endpoint_will_not_take_is_left_and_tried_again(
    write_rows: Write, tmp_path: Path, cli: Any, repo: Path
) -> None:
    path = write_rows(*(raw_row(number) for number in range(21)))
    logs = tmp_path / "logs"
    broken = [True]

    def fussy(text: str, messages: list[dict[str, Any]]) -> str:
        if broken and "shelf 7?" in text:
            raise ConnectionAbortedError
        return good_reply(text)

    with openai_server(fussy) as server:
        command = words(path, logs, "--max-retries", "0")
        made = cli(*command, cwd=repo, env=server.environment())
        assert made.returncode == 0, made.stdout + made.stderr
        exported = cli("vlmguard", "export", str(logs), "--out", str(tmp_path / "first"))
        assert "20 rows read, 20 exported" in exported.stdout
        assert "Dropped: unfinished 1." in exported.stdout
        assert "inspect eval-retry" in exported.stderr

        broken.clear()
        before = len(server.requests)
        (log,) = list_eval_logs(str(logs))
        retry = ("inspect", "eval-retry", log.name.removeprefix("file://"), "--log-dir", str(logs))
        again = cli(*retry, "--display", "plain", cwd=repo, env=server.environment())
        assert again.returncode == 0, again.stdout + again.stderr
        assert len(server.requests) - before == 4
    exported = cli("vlmguard", "export", str(logs), "--out", str(tmp_path / "second"))
    assert "21 rows read, 21 exported" in exported.stdout
    assert "20 rows of older logs superseded by newer ones." in exported.stdout
    assert "unfinished" not in exported.stdout


def test_a_failing_server_and_eval_set(
    write_rows: Write, tmp_path: Path, cli: Any, repo: Path
) -> None:
    count = 6
    path = write_rows(*(raw_row(number) for number in range(count)))

    def breaking(text: str, messages: list[dict[str, Any]]) -> str:
        if len(server.requests) == 10:  # two rows are done and the third has begun
            server.fail.set()
        return good_reply(text)

    with openai_server(breaking) as server:
        command = [
            *("inspect", "eval-set", "training/synthesize.py", "-T", f"data={path}", *REASONER),
            *("--log-dir", str(tmp_path / "logs"), "--display", "plain", "--max-samples", "1"),
            *("--retry-attempts", "0", "--max-retries", "0", "--log-buffer", "1"),
        ]
        first = cli(*command, cwd=repo, env=server.environment())
        assert first.returncode == 1, first.stdout + first.stderr
        failed = len(server.requests)
        server.fail.clear()
        second = cli(*command, cwd=repo, env=server.environment())
        assert second.returncode == 0, second.stdout + second.stderr
        # Two rows were finished before the failure and are not asked again.
        assert len(server.requests) - failed <= 4 * (count - 2)
        third = cli(*command, cwd=repo, env=server.environment())
        assert third.returncode == 0
        assert len(server.requests) - failed <= 4 * (count - 2)
    exported = cli("vlmguard", "export", str(tmp_path / "logs"), "--out", str(tmp_path / "out"))
    assert exported.returncode == 0, exported.stderr
    assert f"{count} exported" in exported.stdout
