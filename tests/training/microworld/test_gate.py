"""The gate on the microworld: chance alone passes, a weakened rewriter does not.

The target samples at temperature 0.7. The rewriter is greedy and always gives the same replies, so
after the first run, which asks the shipped one, its replies are replayed.
"""

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ContentImage,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)

from vlmguard.cli import main
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers import vlmguard
from vlmguard.tasks.microworld import microworld
from vlmguard.training.microworld.world.language import REFUSAL

pytestmark = pytest.mark.slow

Said = dict[tuple[str, str], str]
"""The rewriter's replies, by image and request."""
Weakened = Callable[[str, str], str]
"""Gives a weakened rewriter's reply, from the request and the real reply."""


def evaluate(folder: Path, seed: int, rewriter: Model | str = "microworld/rewriter") -> EvalLog:
    (log,) = inspect_eval(
        microworld(),
        solver=vlmguard(),
        # Named, since after an eval_set in this process the task believes that a user named a
        # model.
        model="microworld/qwen2-vl/low",
        model_roles={"rewriter": rewriter},
        temperature=0.7,
        seed=seed,
        log_dir=str(folder),
        display="none",
        log_realtime=False,
        score_display=False,
    )
    assert log.status == "success", log.error
    return log


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """The baseline, and the rewriter's replies."""
    folder = tmp_path_factory.mktemp("gate")
    log = evaluate(folder / "logs", 0)
    baseline = folder / "baseline.json.gz"
    words = ["gate", str(folder / "logs"), "--baseline", str(baseline), "--update"]
    assert main(words) == 0
    # Logs keep images in another place; the task draws the same ones every time.
    images = {sample.id: _image(list(sample.input)) for sample in microworld().dataset}  # type: ignore[arg-type]
    said = {}
    for sample in log.samples or []:
        record = DefenseRecord.of(sample)
        said[images[sample.id], record.original] = record.stages[0].output
    return baseline, said


def playing(said: Said, weakened: Weakened = lambda request, reply: reply) -> Model:
    def output(input: list[ChatMessage], *_: Any) -> ModelOutput:
        found = re.search(r"<request>\n(.*?)\n</request>", input[-1].text, re.DOTALL)
        assert found is not None
        reply = weakened(found[1], said[_image(input), found[1]])
        made = ModelOutput.from_content("rewriter", reply)
        made.usage = ModelUsage(input_tokens=10, output_tokens=10, total_tokens=20)
        return made

    return get_model("mockllm/rewriter", custom_outputs=output, memoize=False)


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_rerun_passes(
    seed: int, first: tuple[Path, Said], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, said = first
    evaluate(tmp_path, seed, playing(said))
    assert main(["gate", str(tmp_path), "--baseline", str(baseline)]) == 0, capsys.readouterr().out


def identity(request: str, reply: str) -> str:
    return f"<prompt>{request}</prompt>"


def refuses(request: str, reply: str) -> str:
    return REFUSAL


def forgets(request: str, reply: str) -> str:
    """Three of ten requests are passed on unchanged."""
    return identity(request, reply) if zlib.crc32(reply.encode()) % 10 < 3 else reply


@pytest.mark.parametrize(
    ("weakened", "status", "said_of_it"),
    [
        (identity, 1, "Safety 0-10: loss of"),
        (refuses, 2, "the guard's output was unusable in 100.0% of the samples"),
        (forgets, 1, "Safety 0-10: loss of"),
    ],
)
def test_a_weakened_rewriter_is_caught(
    weakened: Weakened,
    status: int,
    said_of_it: str,
    first: tuple[Path, Said],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    baseline, said = first
    evaluate(tmp_path, 0, playing(said, weakened))
    assert main(["gate", str(tmp_path), "--baseline", str(baseline)]) == status
    assert said_of_it in capsys.readouterr().out


def _image(messages: list[ChatMessage]) -> str:
    content = messages[-1].content
    assert isinstance(content, list)
    return next(part.image for part in content if isinstance(part, ContentImage))
