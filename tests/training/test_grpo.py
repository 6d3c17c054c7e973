"""The second stage: what is rewarded, what is paid for, and a whole run."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from support.checkpoints import build_qwen2_vl, data_uri, picture
from support.openai_server import image_count, openai_server
from support.training_data import export_row, write_export

from vlmguard.errors import UserError
from vlmguard.training import grpo
from vlmguard.training.config import TrainConfig
from vlmguard.training.grpo import Case, Reward, open_model
from vlmguard.training.train import main

GOOD = '{"safety": 9, "helpful": true}'
UNSAFE = '{"safety": 2, "helpful": true}'
USELESS = '{"safety": 10, "helpful": false}'


class Scripted:
    """A model that answers by a function of the prompt, and remembers what it was asked."""

    def __init__(self, reply: Any) -> None:
        self.asked: list[str] = []
        self._reply = reply
        self.model: Model = get_model("mockllm/model", custom_outputs=self._answer, memoize=False)

    def _answer(
        self,
        messages: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        text = messages[-1].text
        self.asked.append(text)
        reply = self._reply(text) if callable(self._reply) else self._reply
        output = ModelOutput.from_content("mockllm", reply)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output


def config(**options: Any) -> TrainConfig:
    return TrainConfig(data="d", output_dir="o", method="grpo", target="t", grader="g", **options)


def case(
    rewrite: str, *, row: str = "1", benign: bool = False, original: str = "Climb it?"
) -> Case:
    reply = f"<reasoning>High.</reasoning>\n<prompt>{rewrite}</prompt>"
    reference = original if benign else "Climb it safely?"
    return Case(row, reply, original, reference, benign, (data_uri(picture()),))


async def rewards(
    cases: list[Case], judged: Any = GOOD, answered: Any = "An answer.", **options: Any
) -> tuple[list[float | None], Scripted, Scripted]:
    target, grader = Scripted(answered), Scripted(judged)
    reward = Reward(config(**options), target=target.model, graders=[grader.model])
    return await reward.rewards(cases), target, grader


@pytest.mark.parametrize(
    ("judged", "wanted"),
    [
        (GOOD, 1.0),
        (UNSAFE, 0.0),
        (USELESS, 0.0),
        ("no verdict at all", None),
        ("I'm sorry, but I can't help with that.", None),
    ],
)
async def test_safe_and_helpful_is_rewarded(judged: str, wanted: float | None) -> None:
    found, target, grader = await rewards([case("Climb it with care?")], judged)
    assert found == [wanted]
    assert target.asked == ["Climb it with care?"]  # the rewritten request
    (asked,) = grader.asked
    assert "Climb it?" in asked  # the user's own
    assert "An answer." in asked
    assert "with care" not in asked


async def test_the_threshold_is_an_option() -> None:
    assert (await rewards([case("x")], '{"safety": 5, "helpful": true}'))[0] == [0.0]
    assert (await rewards([case("x")], '{"safety": 5, "helpful": true}', threshold=5))[0] == [1.0]


async def test_a_changed_benign_request_costs() -> None:
    cases = [
        case("Climb it?", row="1", benign=True),
        case("climb it", row="2", benign=True),  # apart from case and punctuation
        case("Do not climb it!", row="3", benign=True),
        case("Do not climb it!", row="4"),
    ]
    assert (await rewards(cases))[0] == [1.0, 1.0, 0.0, 1.0]
    assert (await rewards(cases, UNSAFE))[0] == [0.0, 0.0, -1.0, 0.0]
    assert (await rewards(cases, benign_penalty=0.25))[0] == [1.0, 1.0, 0.75, 1.0]


async def test_a_broken_format_costs_and_nobody_is_asked() -> None:
    broken = [
        Case("1", text, "Climb it?", "Climb it?", False, ())
        for text in (
            *("", "Climb it?", "<prompt>a</prompt><prompt>b</prompt>", "<prompt>I'm sorry"),
            # The form's placeholder, repeated.
            "<prompt>the request to pass on</prompt>",
        )
    ]
    found, target, grader = await rewards(broken, format_penalty=0.5)
    assert found == [-0.5] * 5
    assert target.asked == []
    assert grader.asked == []


async def test_equal_rewrites_of_a_row_are_paid_for_once() -> None:
    cases = [case("a"), case("a"), case("b"), case("a", row="2")]
    found, target, grader = await rewards(cases, lambda text: GOOD)
    assert found == [1.0] * 4
    assert sorted(target.asked) == ["a", "a", "b"]
    assert len(grader.asked) == 3


async def test_an_empty_answer_has_no_verdict() -> None:
    found, _, grader = await rewards([case("a")], answered=" ")
    assert found == [None]
    assert grader.asked == []


async def test_several_judges_decide_by_majority() -> None:
    target = Scripted("An answer.")
    for judged, wanted in (([GOOD, GOOD, UNSAFE], 1.0), ([GOOD, UNSAFE, USELESS], 0.0)):
        graders = [Scripted(each).model for each in judged]
        reward = Reward(config(), target=target.model, graders=graders)
        assert await reward.rewards([case("a")]) == [wanted]


async def test_trl_gets_its_columns_and_the_share_without_a_verdict(
    caplog: pytest.LogCaptureFixture,
) -> None:
    grader = Scripted(lambda text: GOOD if "First?" in text else "none")
    reward = Reward(config(), target=Scripted("An answer.").model, graders=[grader.model])
    logged: dict[str, float] = {}
    with caplog.at_level(logging.WARNING):
        found = await reward(
            prompts=[None, None],
            completions=[
                [{"role": "assistant", "content": case("First?").reply}],
                [{"role": "assistant", "content": [{"type": "text", "text": case("b").reply}]}],
            ],
            id=["1", "2"],
            original=["First?", "Second?"],
            rewritten=["First?", "Second?"],
            benign=[True, False],
            images=[[picture(1)], [picture(2)]],
            log_metric=logged.__setitem__,
        )
    assert found == [1.0, None]
    assert logged == {"unusable_verdicts": 0.5}
    assert "50% of this batch got no usable verdict" in caplog.text


async def test_a_rows_pictures_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    monkeypatch.setattr(grpo, "to_data_uri", lambda image: encoded.append(image) or data_uri(image))
    reward = Reward(config(), target=Scripted("a").model, graders=[Scripted(GOOD).model])
    found = await reward(
        prompts=[None] * 6,
        completions=[[{"role": "assistant", "content": case(word).reply}] for word in "abcdef"],
        id=["1"] * 4 + ["2"] * 2,
        original=["First?"] * 4 + ["Second?"] * 2,
        rewritten=["First?"] * 4 + ["Second?"] * 2,
        benign=[False] * 6,
        images=[[picture(1)]] * 4 + [[picture(2)]] * 2,
        log_metric=lambda name, value: None,
    )
    assert found == [1.0] * 6
    assert len(encoded) == 2


def test_models_are_named_or_described() -> None:
    assert open_model("target", "mockllm/model").name == "model"
    described = {"model": "mockllm/model", "temperature": 0.5, "max_tokens": 7}
    assert open_model("target", described).config.max_tokens == 7
    with pytest.raises(UserError, match=r"grader: unknown: temprature"):
        open_model("grader", {"model": "mockllm/model", "temprature": 1})
    with pytest.raises(UserError, match=r"grader: `model` is missing"):
        open_model("grader", {"temperature": 1})


def test_a_judge_template_without_its_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "judge.txt").write_text("Grade {answer}")
    with pytest.raises(UserError, match=r"\{request\}"):
        Reward(
            config(judge_template=str(tmp_path / "judge.txt")),
            target=Scripted("a").model,
            graders=[Scripted(GOOD).model],
        )


@pytest.mark.slow
def test_a_run_after_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stages on one tiny model: it learns the format, then is rewarded by a server."""
    rows = [export_row(index, benign=index % 2 == 0) for index in range(2)]
    common = {
        "data": str(write_export(tmp_path / "data", rows=rows, validation_rows=rows)),
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "report_to": "none",
    }
    first = common | {
        "model": str(build_qwen2_vl(tmp_path / "base")),
        "output_dir": str(tmp_path / "sft"),
        "peft": "none",
        "per_device_train_batch_size": 2,
        "learning_rate": 4e-3,
        "lr_scheduler_type": "constant",
        "max_steps": 50,
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_steps": 50,
    }
    second = common | {
        "method": "grpo",
        "model": str(tmp_path / "sft"),
        "output_dir": str(tmp_path / "grpo"),
        "target": "openai-api/scripted/target",
        "grader": ["openai-api/scripted/judge"],
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "max_completion_length": 110,
        "max_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "learning_rate": 1e-3,
        "top_k": 1,
    }
    for name, settings in (("first", first), ("second", second)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    assert main(["--config", str(tmp_path / "first.yaml")]) == 0

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        return GOOD if "You grade" in text else f"About {text}"

    with openai_server(script) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert main(["--config", str(tmp_path / "second.yaml")]) == 0

    by_model: dict[str, list[str]] = {"target": [], "judge": []}
    for request in server.requests:
        assert image_count(request["messages"]) == 1
        parts = request["messages"][-1]["content"]
        by_model[request["model"]].append(next(p["text"] for p in parts if p["type"] == "text"))
    taught = {row["rewritten"] for row in rows}
    assert set(by_model["target"]) <= taught
    # Four equal samples of a row are paid for once.
    assert len(by_model["target"]) == len(by_model["judge"]) == 2
    assert all("Describe the picture number" in text for text in by_model["judge"])
    state = json.loads((tmp_path / "grpo/checkpoint-2/trainer_state.json").read_text())
    assert [entry["reward"] for entry in state["log_history"] if "reward" in entry] == [1.0, 1.0]
    assert (tmp_path / "grpo/adapter_model.safetensors").is_file()
    card = (tmp_path / "grpo/README.md").read_text()
    assert "trained by GRPO on judged answers" in card
    assert "| reward | 1 |" in card
