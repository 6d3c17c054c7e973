"""Time of a synthesis of 1,000 rows relative to plain Inspect with the same calls.

Each row has its own image and takes four calls (hindsight, analysis, rewrite, check), 32
connections, against a local server of fixed 200 ms latency. Ours: the task `synthesize`, with its
parsing, records, filters, near-duplicates and metrics. Plain Inspect: a bare solver and scorer that
send the same prompts, filled with unread replies, with the same settings to the same role.

    python tests/bench/synthesis.py [ROWS [PAIRS]]
"""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inspect_ai import Task
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.duets import duet, perform
from support.latency_server import latency_server
from support.pairs import PAIRS, show, verdict
from support.synthesis import draw_image, raw_row
from support.timed import CONNECTIONS, timed_eval

from vlmguard.guard.templates import fill
from vlmguard.scorers.asking import fence
from vlmguard.training.synthesis.prompts import (
    ANALYSIS_TEMPLATE,
    HINDSIGHT_TEMPLATE,
    OPTIMIZE_TEMPLATE,
)
from vlmguard.training.synthesis.record import to_samples
from vlmguard.training.synthesis.scorer import CHECK_TEMPLATE
from vlmguard.training.synthesis.sources import read_sources
from vlmguard.training.synthesize import synthesize

LIMIT = 1.05
ROWS = 1000
LATENCY = 0.2
CONFIG = GenerateConfig(temperature=0.0, max_tokens=1024)


async def ask(state: TaskState, template: str, **material: str) -> str:
    image = next(part for part in state.messages[0].content if isinstance(part, ContentImage))
    text = fill(template, **fence({"request": state.input_text, **material}))
    message = ChatMessageUser(content=[image, ContentText(text=text)])
    reasoner = get_model(role="reasoner", required=True)
    return (await reasoner.generate([message], config=CONFIG)).completion


@solver
def bare_stages() -> Solver:
    """Three calls with the same prompts; no reply is read."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        answers = {name: state.metadata[name] for name in ("safe", "unsafe")}
        features = await ask(state, HINDSIGHT_TEMPLATE, **answers)
        report = await ask(state, ANALYSIS_TEMPLATE, features=features)
        state.output.completion = await ask(state, OPTIMIZE_TEMPLATE, report=report)
        return state

    return solve


@scorer(metrics=[mean()])
def bare_check() -> Scorer:
    """The fourth call."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = await ask(
            state,
            CHECK_TEMPLATE,
            rewritten=state.output.completion,
            reasoning="A picture of a ladder that leans.",
            report="textual: It asks to climb.",
        )
        return Score(value=1.0, answer=answer)

    return score


def play(side: str, runs: int, rows: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        latency_server(LATENCY, "support.synthesis:good_reply") as environment,
    ):
        os.environ.update(environment)
        path = Path(folder) / "rows.jsonl"
        for number in range(rows):
            draw_image(Path(folder) / f"images/{number}.png", number)
        path.write_text("".join(json.dumps(raw_row(number)) + "\n" for number in range(rows)))

        def ours() -> float:
            return timed_eval(synthesize(str(path)), ("reasoner",), 4 * rows)

        def plain() -> float:
            # The same samples, so that images and metadata cost the same.
            samples = to_samples(read_sources(str(path)), contrast=True, sampled=False)
            task = Task(dataset=samples, solver=bare_stages(), scorer=bare_check())
            return timed_eval(task, ("reasoner",), 4 * rows)

        perform(ours if side == "ours" else plain, runs)


def main(rows: int = ROWS, count: int = PAIRS) -> int:
    measured = duet(__file__, ("ours", "plain"), str(rows), count=count, runs=1)
    show(
        f"{rows} rows of four calls, {CONNECTIONS} connections, {LATENCY * 1000:.0f} ms",
        {
            "synthesize": [our.seconds for our, _ in measured],
            "plain Inspect, the same four calls": [their.seconds for _, their in measured],
            "synthesize, processor time": [our.processor for our, _ in measured],
            "plain Inspect, processor time": [their.processor for _, their in measured],
        },
        "s",
    )
    ratios = [our.seconds / their.seconds for our, their in measured]
    return 0 if verdict(ratios, LIMIT, at_least=False) else 1


if __name__ == "__main__":
    if sys.argv[1:2] in (["ours"], ["plain"]):
        play(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        raise SystemExit(main(*map(int, sys.argv[1:])))
