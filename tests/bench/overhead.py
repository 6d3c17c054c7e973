"""Time of our three-call sample (rewrite, answer, judge) relative to plain Inspect's.

300 samples with one image each, 32 connections, against a local server of fixed 200 ms latency.
Ours: solver `vlmguard` and scorer `judge`, reduced as in our tasks. Plain Inspect: a bare solver
and scorer that send the same prompts with the same settings to the same roles and read no reply.
Nothing here imports torch, as no evaluation of served models does.

Our runs have Python look for garbage less often (guard/rare_collection.py), and plain Inspect does
not: the ratio with a limit is of both as users have them. The other one is of the same, with plain
Inspect's garbage collected as rarely: it shows what our code adds.

    python tests/bench/overhead.py        # about 12 minutes
"""

import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inspect_ai import Epochs, Task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from PIL import Image
from support.duets import duet, perform
from support.latency_server import latency_server
from support.pairs import show, verdict
from support.timed import CONNECTIONS, timed_eval

from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.rare_collection import collect_rarely
from vlmguard.guard.rewriter.prompts import LATEST, PROMPTS
from vlmguard.guard.templates import fill
from vlmguard.scorers import judge
from vlmguard.scorers.asking import fence
from vlmguard.scorers.judge import JUDGE_TEMPLATE
from vlmguard.scorers.metrics import vote
from vlmguard.solvers import vlmguard

LIMIT = 1.05
SAMPLES, LATENCY = 300, 0.2
CONFIG = GenerateConfig(temperature=0.0, max_tokens=1024)


def picture(number: int) -> str:
    """Coarse blocks of colours, 224 x 224, as a data URI; each number gives another picture."""
    blocks = Image.frombytes("RGB", (4, 4), random.Random(number).randbytes(48))
    return to_data_uri(blocks.resize((224, 224), Image.Resampling.NEAREST))


@solver
def bare() -> Solver:
    """Two calls with the same texts; no reply is read."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        image, text = state.messages[0].content
        asked = PROMPTS[LATEST].text(request=text.text, conversation="", reasoning=True, images=1)
        rewriter = get_model(role="rewriter", required=True)
        message = ChatMessageUser(content=[image, ContentText(text=asked)])
        await rewriter.generate([message], config=CONFIG)
        state.messages[0] = ChatMessageUser(content=[image, ContentText(text="Describe it")])
        return await generate(state)

    return solve


@scorer(metrics=[mean()])
def bare_judge() -> Scorer:
    """The third call."""

    async def score(state: TaskState, target: Target) -> Score:
        image = state.messages[0].content[0]
        material = {"request": state.input_text, "answer": state.output.completion}
        asked = fill(JUDGE_TEMPLATE, **fence(material))
        grader = get_model(role="grader", required=True)
        message = ChatMessageUser(content=[image, ContentText(text=asked)])
        await grader.generate([message], config=CONFIG)
        return Score(value=1.0)

    return score


def samples() -> list[Sample]:
    return [
        Sample(
            id=number,
            input=[
                ChatMessageUser(
                    content=[
                        ContentImage(image=picture(number)),
                        ContentText(text=f"What is in picture {number}?"),
                    ]
                )
            ],
            target="",
            metadata={"category": "bench", "image_id": str(number)},
        )
        for number in range(SAMPLES)
    ]


def play(side: str, runs: int) -> None:
    with latency_server(LATENCY) as environment:
        os.environ.update(environment)
        if side == "ours":
            task = Task(
                dataset=samples(), solver=vlmguard(), scorer=judge(), epochs=Epochs(1, vote())
            )
        else:
            task = Task(dataset=samples(), solver=bare(), scorer=bare_judge())
            if side == "plain, rarely":
                collect_rarely()
        perform(lambda: timed_eval(task, ("rewriter", "grader"), 3 * SAMPLES), runs)


def main() -> int:
    good = compared("plain", "as users have both")
    compared("plain, rarely", "garbage collected as rarely", limit=None)
    return 0 if good else 1


def compared(plain: str, how: str, limit: float | None = LIMIT) -> bool:
    """Measure and show ours and a side of plain Inspect; returns whether the limit is kept."""
    measured = duet(__file__, ("ours", plain))
    show(
        f"{SAMPLES} samples of three calls, {CONNECTIONS} connections, {LATENCY * 1000:.0f} ms, "
        f"{how}",
        {
            "vlmguard + judge": [our.seconds for our, _ in measured],
            "plain Inspect, the same three calls": [their.seconds for _, their in measured],
            "vlmguard + judge, processor time": [our.processor for our, _ in measured],
            "plain Inspect, processor time": [their.processor for _, their in measured],
        },
        "s",
    )
    ratios = [our.seconds / their.seconds for our, their in measured]
    if limit is None:
        added = [100 * (ratio - 1) for ratio in ratios]
        show(f"what our code adds to plain Inspect, {how}", {"time": added}, "%")
        return True
    return verdict(ratios, limit, at_least=False, what=f"ratio, {how}")


if __name__ == "__main__":
    if sys.argv[1:]:
        play(sys.argv[1], int(sys.argv[2]))
    else:
        raise SystemExit(main())
