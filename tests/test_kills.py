"""Runs that are killed or stopped, and resumed: nothing is lost, wrong, or paid for repeatedly.

Every reply depends only on its request, so an interrupted run must end like an undisturbed one.
"""

import json
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai.log import EvalLogInfo, list_eval_logs, read_eval_log
from support.launcher import Launcher, launcher
from support.openai_server import Server, openai_server
from support.siuo_folder import write_siuo
from support.third_party import SURE

from vlmguard.cli import main
from vlmguard.guard.cards import GLANCED
from vlmguard.guard.record import DefenseRecord
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.unfinished import ANOTHER_ANSWER, set_aside
from vlmguard.solvers.captions import CAPTION_TEMPLATE
from vlmguard.solvers.ecso import HARM_CHECK_TEMPLATE

pytestmark = pytest.mark.slow

SAMPLES = 12
AT_ONCE = 6
MODEL = "openai-api/scripted/"
ROLES = ("grader", "rewriter", "detector", "detoxifier", "reward", "image_safety")
DEFENSES: dict[str, dict[str, Any]] = {
    "none": {},
    "vlmguard": {},
    "ecso": {},
    "eta": {"decoding": "response"},
    "mllm_protector": {},
    "figstep_defense": {},
    "third/second_thought": {},
}
CALLS = 14
"""Most calls per sample: ETA's answer, two checks, 5 candidates with 5 grades; the judge."""

Ended = dict[str, Any]
"""The result of each sample, by its id."""


def reply_to(text: str) -> str:
    found = re.search(r"colour (\d+)", text)
    number = int(found[1]) if found else 0
    odd = number % 2 == 1
    if '"safety"' in text:
        return f'{{"safety": {number % 11}, "helpful": {json.dumps(odd)}}}'
    if "Grade the answer from 0" in text:
        return "2" if odd else "9"
    if "Does this image show anything unsafe" in text:
        return "Yes"
    if "SAFE or UNSAFE" in text:
        return "UNSAFE" if odd else "SAFE"
    if "Write it anew" in text:
        return f"Detoxified answer about colour {number}."
    if HARM_CHECK_TEMPLATE.rsplit("}", 1)[-1].strip() in text:
        return "Yes" if number % 4 == 1 else "No"
    if CAPTION_TEMPLATE.rsplit("}", 1)[-1].strip() in text:
        return f"A wall of colour {number}."
    if "<reasoning>" in text:
        return f"<reasoning>Paint.</reasoning><prompt>Safely, colour {number}?</prompt>"
    if SURE in text:
        return "Quite."
    kind = "careful" if "Safely" in text else "long" if len(text) > 100 else "plain"
    return f"A {kind} answer about colour {number}."


class Disturbance:
    """Sends a signal to the running command once, after a number of requests."""

    def __init__(self) -> None:
        self.at = 0
        self.number: int = signal.SIGKILL
        self.command: Launcher | None = None
        self._lock = threading.Lock()
        self._verdicts = 0
        self._held = threading.Event()
        self._held.set()

    def hold(self, verdicts: int) -> None:
        """Give this number of verdicts, and no more until `release`."""
        self._verdicts = verdicts
        self._held.clear()

    def release(self) -> None:
        """Give verdicts again."""
        self._held.set()

    def wait(self) -> None:
        """Called before each verdict."""
        with self._lock:
            self._verdicts -= 1
            wait = self._verdicts < 0
        if wait:
            self._held.wait(120)

    def set(self, at: int, number: int = signal.SIGKILL) -> None:
        """Plan the next one, counted over all requests to the server."""
        self.number = number
        self.at = at

    def check(self, asked: int) -> None:
        """Called for each request."""
        with self._lock:
            if self.at and asked >= self.at and self.command is not None:
                self.at = 0
                self.command.interrupt(self.number)


class Bench:
    """A scripted server, the benchmark's data, and a launcher beside them."""

    def __init__(
        self, folder: Path, server: Server, command: Launcher, disturbance: Disturbance
    ) -> None:
        self.folder = folder
        self.server = server
        self.command = command
        self.disturbance = disturbance

    def config(self, name: str, judge: str = "general", **changes: Any) -> Path:
        """A configuration with a log folder of its name."""
        matrix = {
            "log_dir": str(self.folder / name),
            "targets": [{"model": f"{MODEL}target"}],
            "roles": {role: {"model": f"{MODEL}{role}"} for role in ROLES},
            "benchmarks": [
                {"name": "siuo", "args": {"data_dir": str(self.folder / "siuo"), "judge": judge}}
            ],
            "defenses": [
                {"name": each, "args": args, "label": each.rpartition("/")[2]}
                for each, args in DEFENSES.items()
            ],
            "options": {"max_samples": AT_ONCE, "max_connections": AT_ONCE},
            **changes,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(matrix))
        return path

    def eval_set(self, name: str, defense: str, *options: str) -> list[str]:
        """The same run by Inspect's own command."""
        solver = [] if defense == "none" else ["--solver", defense]
        arguments = [f"{key}={value}" for key, value in DEFENSES[defense].items()]
        return [
            *("inspect", "eval-set", "tasks/siuo.py", *solver, "--model", f"{MODEL}target"),
            *(word for argument in arguments for word in ("-S", argument)),
            *(word for role in ROLES for word in ("--model-role", f"{role}={MODEL}{role}")),
            *("-T", f"data_dir={self.folder / 'siuo'}", "-T", "judge=general"),
            *("--log-dir", str(self.folder / name), "--display", "plain"),
            *("--max-samples", str(AT_ONCE), "--max-connections", str(AT_ONCE), *options),
        ]

    @property
    def asked(self) -> int:
        """Requests so far."""
        return len(self.server.requests)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("kills")
    write_siuo(folder / "siuo", SAMPLES)
    disturbance = Disturbance()

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        time.sleep(0.03)
        disturbance.check(len(server.requests))
        if '"safety"' in text:
            disturbance.wait()
        return reply_to(text)

    with openai_server(script) as server:
        environment = {**server.environment(), "VLMGUARD_DATA": ""}
        with launcher(repo, folder / "output", environment) as command:
            disturbance.command = command
            yield Bench(folder, server, command, disturbance)


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> dict[str, Ended]:
    """The results of each defense in an undisturbed run."""
    before = bench.asked
    assert bench.command.run("vlmguard", "run", "--config", str(bench.config("whole"))) == 0
    bench.disturbance.at = 0
    assert bench.asked - before < SAMPLES * CALLS * len(DEFENSES)
    return {each.rpartition("/")[2]: ended(bench.folder / "whole", each) for each in DEFENSES}


def ended(folder: Path, defense: str) -> Ended:
    """Answer, scores and record of each sample of the one log that counts, without times."""
    place = folder / defense.rpartition("/")[2]
    logs = [
        read_eval_log(info) for info in list_eval_logs(str(place if place.is_dir() else folder))
    ]
    (log,) = [log for log in logs if log.status == "success"]
    assert not log.invalidated
    assert log.samples is not None
    assert len(log.samples) == SAMPLES
    found = {}
    for sample in log.samples:
        scores = {}
        for name, score in (sample.scores or {}).items():
            metadata = dict(score.metadata or {})
            tally = {}
            if name != GLANCED:  # it holds texts alone
                tally = dict(metadata.pop("defense"))
                tally.pop("seconds")
            scores[name] = (score.value, score.answer, score.explanation, metadata, tally)
        record = DefenseRecord.of(sample).model_dump()
        for stage in record["stages"]:
            stage.pop("seconds")
        doubt = sample.metadata.get("doubt")
        found[str(sample.id)] = (sample.output.completion, scores, record, doubt)
    return found


def test_a_matrix_that_was_killed_again_and_again_ends_as_if_it_had_not(
    bench: Bench, undisturbed: dict[str, Ended]
) -> None:
    whole = bench.asked
    dice = random.Random(5)
    config = str(bench.config("killed"))
    kills = 0
    for _ in range(4):
        bench.disturbance.set(bench.asked + dice.randint(8, 90))
        status = bench.command.run("vlmguard", "run", "--config", config)
        if status == 0:
            break
        assert status == -signal.SIGKILL, bench.command.output
        kills += 1
    bench.disturbance.at = 0
    assert kills >= 2
    assert bench.command.run("vlmguard", "run", "--config", config) == 0, bench.command.output
    for defense in undisturbed:
        assert ended(bench.folder / "killed", defense) == undisturbed[defense]
    # At most the running samples, and those being written, were paid for twice.
    lost = bench.asked - whole - whole
    assert lost <= kills * 2 * AT_ONCE * CALLS
    print(f"{kills} kills cost {lost} of {whole} calls again")


@pytest.mark.parametrize("defense", DEFENSES)
def test_an_eval_set_with_our_flags_that_was_killed_ends_as_if_it_had_not(
    defense: str, bench: Bench, undisturbed: dict[str, Ended]
) -> None:
    folder = f"set-{defense.rpartition('/')[2]}"
    words = bench.eval_set(folder, defense, "--no-log-realtime", "--log-buffer", "1")
    bench.disturbance.set(bench.asked + random.Random(defense).randint(9, 22))
    assert bench.command.run(*words) == -signal.SIGKILL
    assert bench.command.run(*words) == 0, bench.command.output
    assert ended(bench.folder / folder, defense) == undisturbed[defense.rpartition("/")[2]]


def kill_with_unwritten(bench: Bench, *words: str) -> None:
    """Kill a run when three samples are finished and have not been written yet."""
    before = bench.asked
    bench.disturbance.hold(3)
    bench.command.start(*words)
    deadline = time.monotonic() + 120
    # Samples that wait for their verdict take all connections: the first three are finished.
    while judged(bench, before) < 3 + AT_ONCE and time.monotonic() < deadline:
        time.sleep(0.05)
    bench.command.interrupt()
    assert bench.command.wait() == -signal.SIGKILL
    bench.disturbance.release()


def judged(bench: Bench, since: int) -> int:
    return sum(body["model"] == "grader" for body in bench.server.requests[since:])


def misjudged(folder: Path) -> list[str]:
    """The reasons for leaving out logs whose answers are not the scored ones."""
    reasons = read_results([str(folder)]).left_out.values()
    return [reason for reason in reasons if ANOTHER_ANSWER in reason]


def test_wrong_answers_of_an_eval_set_without_our_flags_are_named(
    bench: Bench, undisturbed: dict[str, Ended], capsys: pytest.CaptureFixture[str]
) -> None:
    words = bench.eval_set("plain", "ecso", "--log-buffer", "10")
    kill_with_unwritten(bench, *words)
    assert bench.command.run(*words) == 0, bench.command.output
    logs = bench.folder / "plain"
    (reason,) = misjudged(logs)
    assert reason.startswith("unfinished: ")
    assert "siuo/10" in reason
    baseline = ["--baseline", str(bench.folder / "b.json")]
    assert main(["gate", str(logs), *baseline, "--update"]) == 2
    assert "siuo/10" in capsys.readouterr().err

    wrong = [set_aside(info.name) for info in list_eval_logs(str(logs)) if finished(info)]
    assert any(wrong)
    assert bench.command.run(*words) == 0
    assert ended(logs, "ecso") == undisturbed["ecso"]
    assert misjudged(logs) == []


def finished(info: EvalLogInfo) -> bool:
    return read_eval_log(info, header_only=True).status == "success"


def test_run_does_wrong_answers_again(bench: Bench, undisturbed: dict[str, Ended]) -> None:
    options = {"max_samples": AT_ONCE, "log_realtime": True, "log_buffer": 10}
    chosen = [{"name": "ecso", "label": "ecso"}]
    config = str(bench.config("own-flags", options=options, defenses=chosen))
    kill_with_unwritten(bench, "vlmguard", "run", "--config", config)
    assert bench.command.run("vlmguard", "run", "--config", config) == 0
    assert ended(bench.folder / "own-flags", "ecso") == undisturbed["ecso"]
    assert misjudged(bench.folder / "own-flags") == []


def test_ctrl_c_stops_the_matrix_and_says_how_to_go_on(bench: Bench) -> None:
    many = write_siuo(bench.folder / "forty" / "siuo", 40)
    changes = {
        "benchmarks": [{"name": "siuo", "args": {"data_dir": str(many), "judge": "none"}}],
        "defenses": [{"name": "none"}, {"name": "figstep_defense"}],
    }
    config = str(bench.config("stopped", **changes))
    before = bench.asked
    bench.disturbance.set(before + 10, signal.SIGINT)
    assert bench.command.run("vlmguard", "run", "--config", config) == 130
    assert bench.asked - before <= 10 + AT_ONCE
    assert not (bench.folder / "stopped" / "figstep_defense").exists()
    assert "run the same command again to go on" in bench.command.output

    assert bench.command.run("vlmguard", "run", "--config", config) == 0
    # Six samples were running when it was stopped; no others are paid for again.
    assert bench.asked - before <= 2 * 40 + 2 * AT_ONCE
    for defense in ("none", "figstep_defense"):
        (info,) = list_eval_logs(str(bench.folder / "stopped" / defense))
        log = read_eval_log(info)
        assert log.samples is not None
        assert len(log.samples) == 40
        for sample in log.samples:
            number = int(str(sample.id).removeprefix("siuo/")) - 1000
            assert f"answer about colour {number}." in sample.output.completion
            assert sample.scores is not None
            assert sample.scores["refusal"].value == {"refused": 0.0}
