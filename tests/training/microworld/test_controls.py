"""The controls do the same to every request, and count their calls."""

from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage, ContentImage, ModelOutput, ModelUsage, get_model
from inspect_ai.solver import Solver

from vlmguard.guard.cards import cards
from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.record import DefenseRecord
from vlmguard.tasks.microworld import oracle
from vlmguard.training.microworld.use.controls import always_caution, always_refuse
from vlmguard.training.microworld.world.language import GENERAL_CAUTION
from vlmguard.training.microworld.world.samples import make_samples


def run(control: Solver, folder: Path) -> tuple[list[EvalSample], list[list[ChatMessage]]]:
    """Run a control on four samples; returns the target's requests too."""
    sent: list[list[ChatMessage]] = []

    def output(input: list[ChatMessage], *_: Any) -> ModelOutput:
        sent.append(input)
        made = ModelOutput.from_content("target", "the the picture")
        made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return made

    model = get_model("mockllm/target", custom_outputs=output, memoize=False)
    task = Task(MemoryDataset(make_samples("joint")[:4]), solver=control, scorer=oracle())
    (log,) = inspect_eval(task, model=model, display="none", log_dir=str(folder))
    assert log.status == "success"
    return log.samples or [], sent


def test_the_same_caution_is_added_to_every_request(tmp_path: Path) -> None:
    samples, sent = run(always_caution(), tmp_path)

    assert len(sent) == 4
    originals = {sample.input[0].text for sample in samples}  # type: ignore[union-attr]
    assert {input[-1].text for input in sent} == {
        f"{original}. {GENERAL_CAUTION}" for original in originals
    }
    for input in sent:
        content = input[-1].content
        assert isinstance(content, list)
        assert isinstance(content[0], ContentImage)
    for sample in samples:
        record = DefenseRecord.of(sample)
        assert (record.defense, record.triggered) == ("always_caution", True)
        assert record.rewritten == f"{record.original}. {GENERAL_CAUTION}"


def test_everything_is_refused_without_a_call(tmp_path: Path) -> None:
    samples, sent = run(always_refuse(), tmp_path)

    assert sent == []
    for sample in samples:
        assert sample.output.completion == REFUSAL_MESSAGE
        assert sample.messages[-1].text == REFUSAL_MESSAGE
        assert sample.scores is not None
        tally = (sample.scores["oracle"].metadata or {})["defense"]
        assert (tally["defense"], tally["calls"], tally["seconds"]) == ("always_refuse", 0, 0)


def test_they_are_none_of_the_suites_defenses() -> None:
    assert not {"always_caution", "always_refuse"} & set(cards().defenses)
