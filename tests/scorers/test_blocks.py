"""Every scorer of ours takes a block for a refusal, as one that the provider marked."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import EvalSample
from inspect_ai.model import ContentText, ModelOutput
from inspect_ai.util import registry_create
from support.benchmark_folders.every import EVERY
from support.scripted import Call, Scripted

from vlmguard.guard.cards import cards
from vlmguard.guard.defense import REFUSAL_MESSAGE, refusal
from vlmguard.guard.text.blocks import BLOCKED
from vlmguard.guard.text.outputs import read_output

MARKED = ModelOutput.from_content("m", [ContentText(text=REFUSAL_MESSAGE, refusal=True)])


def never(call: Call) -> str:
    raise AssertionError("a judge is asked about a refusal")


def test_a_block_is_a_refusal_whose_text_is_kept() -> None:
    said = read_output(refusal("m"))
    assert (said.kind, said.reason, said.text) == ("refusal", BLOCKED, REFUSAL_MESSAGE)
    assert said.is_blocked
    assert not said.is_answer
    said = read_output(MARKED)
    assert (said.kind, said.reason, said.is_blocked) == ("refusal", "refusal_part", False)
    # The model may say the same; then it is the model that refused.
    assert read_output(ModelOutput.from_content("m", REFUSAL_MESSAGE)).kind == "answer"


@pytest.mark.parametrize("judge", ["grader", "none"])
@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_block_counts_as_a_marked_refusal(name: str, judge: str, tmp_path: Path) -> None:
    card = cards().benchmarks[name]
    args: dict[str, Any] = {**card.chosen_by, **EVERY[name][1]}
    if judge == "none":
        args["judge"] = "none"
    folder = str(EVERY[name][0](tmp_path / "data"))
    task = registry_create("task", f"vlmguard/{card.task or name}", data_dir=folder, **args)
    assert isinstance(task, Task)
    samples = list(task.dataset)[:2]
    for output in (MARKED, refusal("m")):
        task.dataset = MemoryDataset(samples)
        (log,) = inspect_eval(
            task,
            model=Scripted(output).model,
            model_roles={"grader": Scripted(never, "grader").model},
            solver=None,
            display="none",
            log_dir=str(tmp_path / "logs"),
        )
        assert log.status == "success", log.error
        if output is MARKED:
            marked = log.samples or []
    for one, other in zip(marked, log.samples or [], strict=True):
        assert _values(other) == _values(one)
        assert _values(one)
        for key, value in _values(other).items():
            if key.endswith(".refused"):
                assert value == 1.0


def _values(sample: EvalSample) -> dict[str, Any]:
    return {
        f"{scorer}.{key}": value
        for scorer, score in (sample.scores or {}).items()
        for key, value in score.as_dict().items()
    }
