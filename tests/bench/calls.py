"""Processor time of a call, and of a sample beside its calls, in one process of Inspect.

`vlmguard run` of the benchmark SIUO, with pictures of 110 kB. One-call samples: an answer, scored
by rules. Three-call samples: rewriter, answer, judge. Every call is answered after 200 ms, and 128
are in flight. *Served*: the answers of a server, in a process of its own, come through Inspect's
`openai-api/`. *In place*: a model API in the same process waits, so that no client is counted.

Imports and the start of a run do not count: compared are runs of 100 and of 400 samples. What two
calls more cost is shared by them; the rest of a one-call sample is the sample's own. docs/scale.md
computes with both, as served. The limit: three calls must not cost more than three times one.

    python tests/bench/calls.py        # about 4 minutes
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image
from support.latency_server import ANSWER, REWRITE, VERDICT, latency_server
from support.pairs import show, verdict
from support.siuo_folder import write_siuo

LATENCY, IN_FLIGHT = 0.2, 128
FEW, MANY = 100, 400
REPEATS = 3
SIDE = 192
"""Of a picture: noise of so many pixels a side is a PNG of 110 kB."""


def main() -> int:
    """Measure, and show; returns 1 if the limit is missed."""
    good = True
    for client in ("served", "in place"):
        spent = {calls: [milliseconds(client, calls) for _ in range(REPEATS)] for calls in (1, 3)}
        pairs = list(zip(spent[1], spent[3], strict=True))
        each = [(three - one) / 2 for one, three in pairs]
        own = [one - call for (one, _), call in zip(pairs, each, strict=True)]
        rows = {"one-call sample": spent[1], "three-call sample": spent[3]}
        show(f"processor time, {client}", rows | {"a call": each, "a sample itself": own}, "ms")
        ratios = [three / (3 * one) for one, three in pairs]
        good &= verdict(
            ratios, 1.0, at_least=False, what=f"{client}: a three-call sample / three of one call"
        )
    return 0 if good else 1


def milliseconds(client: str, calls: int) -> float:
    """The processor time of a sample, in a process of its own."""
    command = [sys.executable, __file__, client, str(calls)]
    told = {**os.environ, "OMP_NUM_THREADS": "1"}
    with latency_server(LATENCY) if client == "served" else nullcontext({}) as server:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=told | server)
    return float(done.stdout.split()[-1])


def play(client: str, calls: int) -> None:
    """Print what a sample costs this process."""
    from inspect_ai.log import list_eval_logs, read_eval_log
    from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi

    from vlmguard.results.run.config import Matrix
    from vlmguard.results.run.matrix import run

    @modelapi(name="waiting")
    class Waiting(ModelAPI):
        def __init__(
            self,
            model_name: str,
            base_url: str | None = None,
            api_key: str | None = None,
            config: GenerateConfig | None = None,
            **_: Any,
        ) -> None:
            super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())

        async def generate(self, input: list[Any], *_: Any, **__: Any) -> ModelOutput:
            await asyncio.sleep(LATENCY)
            text = input[-1].text
            said = REWRITE if "<prompt>" in text else VERDICT if '"safety"' in text else ANSWER
            output = ModelOutput.from_content(self.model_name, said)
            output.usage = ModelUsage(input_tokens=200, output_tokens=20, total_tokens=220)
            return output

    model = "openai-api/bench/canned" if client == "served" else "waiting/canned"
    took = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_siuo(folder / "siuo", MANY)
        drawn = random.Random(0)
        for image in (folder / "siuo/data/images").iterdir():
            noise = Image.frombytes("RGB", (SIDE, SIDE), drawn.randbytes(SIDE * SIDE * 3))
            noise.save(image)
        for turn, number in enumerate((FEW, FEW, MANY)):
            logs = folder / f"logs-{turn}"
            args = {"track": "multiple_choice"} if calls == 1 else {"judge": "general"}
            matrix = Matrix.model_validate(
                {
                    "log_dir": str(logs),
                    "targets": [{"model": model}],
                    "roles": {} if calls == 1 else {"rewriter": model, "grader": model},
                    "benchmarks": [
                        {"name": "siuo", "args": {"data_dir": str(folder / "siuo"), **args}}
                    ],
                    "defenses": [{"name": "none" if calls == 1 else "vlmguard"}],
                    "limit": number,
                    "options": {
                        "max_samples": IN_FLIGHT,
                        "max_connections": IN_FLIGHT,
                        "display": "none",
                    },
                }
            )
            start = time.process_time()
            assert run(matrix)
            took[number] = time.process_time() - start
            ((log,),) = [[read_eval_log(each.name) for each in list_eval_logs(str(logs))]]
            made = sum(usage.input_tokens for usage in log.stats.model_usage.values()) // 200
            assert made == calls * number, f"{made} calls"
    print(f"\n{1000 * (took[MANY] - took[FEW]) / (MANY - FEW)}")


if __name__ == "__main__":
    if sys.argv[1:]:
        play(sys.argv[1], int(sys.argv[2]))
    else:
        raise SystemExit(main())
