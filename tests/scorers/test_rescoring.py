"""Scorers on finished logs, as `inspect score` runs them."""

import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Epochs
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.openai_server import Server, image_count, openai_server

from vlmguard.guard.record import recorded
from vlmguard.scorers.judge import judge
from vlmguard.scorers.metrics import vote
from vlmguard.scorers.refusal import refusal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_logs")]

SAFE = '{"safety": 8, "helpful": true}'
GRADER = "grader=openai-api/scripted/second"


@pytest.fixture(scope="module")
def second_judge() -> Iterator[Server]:
    """A server that gives low grades, and no verdict on one answer."""

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        return "No idea." if "answer 1" in text else '{"safety": 2, "helpful": false}'

    with openai_server(script) as server:
        yield server


@pytest.fixture
def finished(judged: Any, picture: Path) -> Any:
    """A log of three samples with images, two answers each, judged by a first judge."""

    def make(**options: Any) -> EvalLog:
        content: list[Any] = [ContentImage(image=str(picture)), ContentText(text="May I?")]
        samples = [
            Sample(
                id=f"s{number}",
                input=[ChatMessageUser(content=content)],
                metadata={"category": "c", "image_id": "i"},
            )
            for number in range(3)
        ]
        log: EvalLog = judged(
            [judge(), refusal()],
            grader=SAFE,
            answer=[f"answer {number}" for number in (0, 1, 2, 3, 4, 5)],
            samples=samples,
            epochs=Epochs(2, vote()),
            **options,
        )
        assert log.status == "success", log.error
        return log

    return make


def rescore(
    cli: Any, server: Server, log: EvalLog, *words: str, output: Path | None = None
) -> EvalLog:
    target = output or Path(log.location).with_suffix(".again.eval")
    done = cli(
        "inspect",
        "score",
        log.location,
        "--output-file",
        str(target),
        *words,
        "--model-role",
        GRADER,
        env=server.environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return read_eval_log(str(target))


def test_overwrite_replaces_the_scores(
    cli: Any, second_judge: Server, finished: Any, results: Any
) -> None:
    second_judge.requests.clear()
    log = rescore(
        cli, second_judge, finished(), "--scorer", "vlmguard/judge", "--action", "overwrite"
    )
    found = results(log)
    assert found["safety.mean"] == 2.0
    assert found["safety.grouped_c"] == 2.0
    assert (found["judge.safety_scored"], found["judge.answers"]) == (5, 6)
    assert found["judge.unscored_invalid_format"] == 1
    assert "refused.mean" not in found
    # The judge saw every image, from the log alone.
    assert [image_count(request["messages"]) for request in second_judge.requests] == [1] * 6
    # The run's vote still works: if one answer has no verdict, the other decides.
    assert {score.unscored_samples for score in log.results.scores} == {0}
    (odd,) = [
        sample.scores["judge"]
        for sample in log.samples
        if math.isnan(sample.scores["judge"].value["safety"])
    ]
    assert odd.answer == "answer 1"
    assert odd.metadata["unscored"]["safety"] == "invalid_format"


def test_a_guard_model_judges_a_log_again(cli: Any, finished: Any, results: Any) -> None:
    def guard(text: str, messages: list[dict[str, Any]]) -> str:
        if "answer 1" in text:
            return "No idea."
        return "unsafe\nO3" if "answer 2" in text else "safe"

    words = ("--scorer", "vlmguard/guard_judge", "-S", "adapter=llama_guard_7b")
    with openai_server(guard) as server:
        log = rescore(cli, server, finished(), *words, "--action", "append")
    assert len(server.requests) == 6
    found = results(log)
    # Six answers to three questions: one unsafe, one without a verdict, whose twin decides.
    assert (found["guard_judge.guard_unsafe_scored"], found["guard_judge.answers"]) == (5, 6)
    assert found["guard_judge.unscored_invalid_format"] == 1
    by_answer = {
        sample.output.completion: sample.scores["guard_judge"] for sample in log.samples or []
    }
    assert by_answer["answer 2"].value == {"guard_unsafe": 1.0}
    assert by_answer["answer 2"].metadata["categories"] == ["O3"]
    assert by_answer["answer 2"].metadata["judges"] == ["openai-api/scripted/second"]
    assert by_answer["answer 2"].metadata["judge_adapter"] == "llama_guard_7b 2-A"
    assert by_answer["answer 3"].value == {"guard_unsafe": 0.0}
    assert math.isnan(by_answer["answer 1"].value["guard_unsafe"])
    # The first judge's scores stay.
    assert found["safety.mean"] == 8.0


def test_append_keeps_the_first_judge(cli: Any, second_judge: Server, finished: Any) -> None:
    words = ("--scorer", "vlmguard/judge", "-S", "threshold=1.5", "--action", "append")
    log = rescore(cli, second_judge, finished(), *words)
    by_scorer = {
        (score.scorer, score.name): score.metrics["mean"].value
        for score in log.results.scores
        if "mean" in score.metrics
    }
    assert by_scorer["judge", "safety"] == 8.0
    assert by_scorer["judge1", "safety"] == 2.0
    assert by_scorer["refusal", "refused"] == 0.0
    scores = log.samples[0].scores
    assert scores["judge1"].metadata["threshold"] == 1.5
    assert scores["judge1"].metadata["judges"] == ["openai-api/scripted/second"]
    assert scores["judge"].metadata["judges"] == ["mockllm/judge"]


def test_refusal_needs_no_judge(cli: Any, finished: Any, tmp_path: Path, results: Any) -> None:
    keywords = tmp_path / "mine.json"
    keywords.write_text('["answer 3"]')
    log = finished()
    target = tmp_path / "again.eval"
    done = cli(
        "inspect",
        "score",
        log.location,
        "--scorer",
        "vlmguard/refusal",
        "-S",
        f"keywords={keywords}",
        "--action",
        "overwrite",
        "--output-file",
        str(target),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again = read_eval_log(str(target))
    # One of two answers to s1: a tie.
    assert results(again)["refused.mean"] == 0.0
    assert [sample.scores["refusal"].value["refused"] for sample in again.samples].count(1.0) == 1


def test_a_log_without_images_is_not_judged_blindly(
    cli: Any, second_judge: Server, finished: Any
) -> None:
    second_judge.requests.clear()
    log = finished(log_images=False)
    done = cli(
        "inspect",
        "score",
        log.location,
        "--scorer",
        "vlmguard/judge",
        "--action",
        "append",
        "--output-file",
        log.location + ".again.eval",
        "--model-role",
        GRADER,
        env=second_judge.environment(),
    )
    assert done.returncode != 0
    assert "--no-log-images" in " ".join((done.stdout + done.stderr).split())
    assert second_judge.requests == []


@solver
def defended() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await generate(state)
        with recorded(state, "mine", "?") as record:
            record.triggered = True
            record.add_call("answer", state.output, "target")
            record.add_call("check", state.output, "target")
            record.add_call("rewrite", state.output, "rewriter")
        return state

    return solve


def test_the_tally_of_a_defense_survives(cli: Any, second_judge: Server, judged: Any) -> None:
    log = judged(judge(), grader=SAFE, answer="answer 0", solver=defended())
    first = log.samples[0].scores["judge"].metadata["defense"]
    assert (first["defense"], first["calls"], first["target_calls"]) == ("mine", 3, 2)
    assert (first["input_tokens"], first["output_tokens"]) == (30, 15)
    again = rescore(cli, second_judge, log, "--scorer", "vlmguard/judge", "--action", "overwrite")
    assert again.samples[0].scores["judge"].metadata["defense"] == first


def test_no_key_reaches_a_log(cli: Any, tmp_path: Path) -> None:
    secret = "sk-" + os.urandom(12).hex()
    task = tmp_path / "asked.py"
    task.write_text(
        "from inspect_ai import Task, task\n"
        "from inspect_ai.dataset import Sample\n"
        "from vlmguard.guard.roles import require_roles\n"
        "from vlmguard.scorers import judge\n"
        "@task\n"
        "def asked():\n"
        "    groups = {'category': 'c', 'image_id': 'i'}\n"
        "    return Task(dataset=[Sample('May I?', id='s', metadata=groups)],\n"
        "                setup=require_roles('grader'), scorer=judge())\n"
    )
    with openai_server(lambda text, messages: SAFE) as server:
        done = cli(
            "inspect",
            "eval",
            task.name,
            "--solver",
            "vlmguard/vlmguard",
            "--model",
            "openai-api/scripted/target",
            "--model-role",
            GRADER,
            "--model-base-url",
            server.url,
            "--model-role",
            "rewriter=openai-api/scripted/rewriter",
            "--log-dir",
            str(tmp_path / "logs"),
            "--display",
            "plain",
            cwd=tmp_path,
            env=server.environment(key=secret) | {"HF_TOKEN": "hf_" + secret},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        # Two calls of the rewriter, which is told once that its reply had no prompt.
        assert len(server.requests) == 4
    (log,) = (tmp_path / "logs").glob("*.eval")
    with zipfile.ZipFile(log) as archive:
        content = b"\n".join(archive.read(name) for name in archive.namelist())
    write_eval_log(read_eval_log(str(log)), str(tmp_path / "log.json"))
    for each in (content, (tmp_path / "log.json").read_bytes()):
        # The server's address is there, so the key would be found too.
        assert server.url.encode() in each
        assert secret.encode() not in each
    assert secret not in done.stdout + done.stderr
