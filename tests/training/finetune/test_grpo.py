"""The second stage: rewards, paid calls, and a whole run."""

import itertools
import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
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
from safetensors.torch import load_file
from support.checkpoints import build_qwen2_vl, data_uri, picture
from support.openai_server import Server, image_count, openai_server
from support.training_data import export_row, write_export

from vlmguard.guard.errors import UserError
from vlmguard.training.finetune import reward as rewarding
from vlmguard.training.finetune.calls import Calls
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.reward import Case, Reward, open_model
from vlmguard.training.finetune.train import main

GOOD = '{"safety": 9, "helpful": true}'
UNSAFE = '{"safety": 2, "helpful": true}'
USELESS = '{"safety": 10, "helpful": false}'


class Scripted:
    """A model that answers by a function of the prompt, and keeps its prompts."""

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
        made = isinstance(reply, ModelOutput)
        output = reply if made else ModelOutput.from_content("mockllm", reply)
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
    reward = Reward(
        config(**options), Calls(None, 0.1), target=target.model, graders=[grader.model]
    )
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


@pytest.mark.parametrize(
    ("content", "stop", "wanted"),
    [
        ("The prompt was filtered.", "content_filter", 0.0),
        ("<think>Hm", "max_tokens", None),
    ],
)
async def test_what_is_no_answer_needs_no_judge(
    content: str, stop: Any, wanted: float | None
) -> None:
    answered = ModelOutput.from_content("target", content, stop)
    found, _, grader = await rewards([case("Climb it with care?")], answered=answered)
    assert found == [wanted]
    assert grader.asked == []


async def test_the_threshold_is_an_option() -> None:
    assert (await rewards([case("How, x?")], '{"safety": 5, "helpful": true}'))[0] == [0.0]
    assert (await rewards([case("How, x?")], '{"safety": 5, "helpful": true}', threshold=5))[0] == [
        1.0
    ]


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
    cases = [case("How, a?"), case("How, a?"), case("How, b?"), case("How, a?", row="2")]
    found, target, grader = await rewards(cases, lambda text: GOOD)
    assert found == [1.0] * 4
    assert sorted(target.asked) == ["How, a?", "How, a?", "How, b?"]
    assert len(grader.asked) == 3


async def test_an_empty_answer_has_no_verdict() -> None:
    found, _, grader = await rewards([case("How, a?")], answered=" ")
    assert found == [None]
    assert grader.asked == []


async def test_a_failed_call_is_no_verdict_and_the_others_count() -> None:
    def answered(text: str) -> str:
        if text == "How, b?":
            raise ConnectionError("the image is refused")
        return f"About {text}."

    def judged(text: str) -> str:
        if "About How, c?." in text:
            raise TimeoutError
        return GOOD

    cases = [case(f"How, {word}?") for word in "abcd"]
    assert (await rewards(cases, judged, answered))[0] == [1.0, None, None, 1.0]


async def test_several_judges_decide_by_majority() -> None:
    target = Scripted("An answer.")
    for judged, wanted in (([GOOD, GOOD, UNSAFE], 1.0), ([GOOD, UNSAFE, USELESS], 0.0)):
        graders = [Scripted(each).model for each in judged]
        reward = Reward(config(), Calls(None, 0.1), target=target.model, graders=graders)
        assert await reward.rewards([case("How, a?")]) == [wanted]


async def test_trl_gets_its_columns_and_the_share_without_a_verdict(
    caplog: pytest.LogCaptureFixture,
) -> None:
    grader = Scripted(lambda text: GOOD if "First?" in text else "none")
    reward = Reward(
        config(), Calls(None, 0.1), target=Scripted("An answer.").model, graders=[grader.model]
    )
    logged: dict[str, float] = {}
    with caplog.at_level(logging.WARNING):
        found = await reward(
            prompts=[None, None],
            completions=[
                [{"role": "assistant", "content": case("First?").reply}],
                [
                    {
                        "role": "assistant",
                        "content": [{"type": "text", "text": case("How, b?").reply}],
                    }
                ],
            ],
            id=["1", "2"],
            original=["First?", "Second?"],
            rewritten=["First?", "Second?"],
            benign=[True, False],
            images=[[picture(1)], [picture(2)]],
            log_metric=logged.__setitem__,
        )
    assert found == [1.0, None]
    assert logged == {"unusable_verdicts": 0.5, "failed_calls": 0.0}
    assert "50% of this batch got no usable verdict" in caplog.text


async def test_a_rows_pictures_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    monkeypatch.setattr(
        rewarding, "to_data_uri", lambda image: encoded.append(image) or data_uri(image)
    )
    reward = Reward(
        config(), Calls(None, 0.1), target=Scripted("a").model, graders=[Scripted(GOOD).model]
    )
    found = await reward(
        prompts=[None] * 6,
        completions=[
            [{"role": "assistant", "content": case(f"How, {word}?").reply}] for word in "abcdef"
        ],
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
    assert open_model("mockllm/model").name == "model"
    described = {"model": "mockllm/model", "temperature": 0.5, "max_tokens": 7}
    config = open_model(described).config
    assert (config.max_tokens, config.temperature, config.top_p) == (7, 0.5, None)


def test_a_judge_template_without_its_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "judge.txt").write_text("Grade {answer}")
    with pytest.raises(UserError, match=r"\{request\}"):
        Reward(
            config(judge_template=str(tmp_path / "judge.txt")),
            Calls(None, 0.1),
            target=Scripted("a").model,
            graders=[Scripted(GOOD).model],
        )


@dataclass(frozen=True)
class Taught:
    """A tiny model that knows its two rows by heart, and an adapter for it."""

    model: Path
    adapter: Path
    rows: list[dict[str, Any]]
    data: Path

    def settings(self, server: Server, **options: Any) -> dict[str, Any]:
        """A short second stage with target and judge on a scripted server."""
        # The name has the address: Inspect keeps models, and the next test has another server.
        address = {"base_url": server.url}
        return COMMON | {
            "method": "grpo",
            "model": str(self.model),
            "data": str(self.data),
            "target": {"model": "openai-api/scripted/target"} | address,
            "grader": [{"model": "openai-api/scripted/judge"} | address],
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "max_completion_length": 110,
            "max_steps": 2,
            "save_strategy": "steps",
            "save_steps": 2,
            "learning_rate": 1e-3,
            **options,
        }


VARIED = {"temperature": 1.0, "num_generations": 8, "per_device_train_batch_size": 8}
COMMON = {"gradient_checkpointing": False, "logging_steps": 1, "report_to": "none"}


def train(folder: Path, settings: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    assert main(["--config", str(folder / "run.yaml")]) == 0


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    work = tmp_path_factory.mktemp("taught")
    rows = [export_row(index, benign=index % 2 == 0) for index in range(2)]
    data = write_export(work / "data", rows=rows, validation_rows=rows)
    first = COMMON | {
        "model": str(build_qwen2_vl(work / "base")),
        "data": str(data),
        "output_dir": str(work / "sft"),
        "peft": "none",
        "per_device_train_batch_size": 2,
        "learning_rate": 4e-3,
        "lr_scheduler_type": "constant",
        "max_steps": 50,
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_steps": 50,
    }
    train(work, first)
    lora = {"model": str(work / "sft"), "output_dir": str(work / "rewriter"), "peft": "lora"}
    train(work, first | lora | {"max_steps": 1})
    return Taught(work / "sft", work / "rewriter", rows, data)


@contextmanager
def scripted_server(
    monkeypatch: pytest.MonkeyPatch, script: Callable[[str, list[dict[str, Any]]], str]
) -> Iterator[Server]:
    with openai_server(script) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def log_history(folder: Path) -> list[dict[str, float]]:
    state = json.loads((folder / "checkpoint-2/trainer_state.json").read_text())
    return [entry for entry in state["log_history"] if "reward" in entry]


@pytest.mark.slow
def test_a_run_after_fine_tuning(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stages on one tiny model: it learns the format, then is rewarded by a server."""

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        return GOOD if "You grade" in text else f"About {text}"

    with scripted_server(monkeypatch, script) as server:
        train(tmp_path, taught.settings(server, output_dir=str(tmp_path / "grpo"), top_k=1))

    by_model: dict[str, list[str]] = {"target": [], "judge": []}
    for request in server.requests:
        assert image_count(request["messages"]) == 1
        parts = request["messages"][-1]["content"]
        by_model[request["model"]].append(next(p["text"] for p in parts if p["type"] == "text"))
    assert set(by_model["target"]) <= {row["rewritten"] for row in taught.rows}
    # Four equal samples of a row are paid for once.
    assert len(by_model["target"]) == len(by_model["judge"]) == 2
    assert all("Describe the picture number" in text for text in by_model["judge"])
    assert [entry["reward"] for entry in log_history(tmp_path / "grpo")] == [1.0, 1.0]
    assert (tmp_path / "grpo/adapter_model.safetensors").is_file()
    card = (tmp_path / "grpo/README.md").read_text()
    assert "trained by GRPO on judged answers" in card
    assert "| reward | 1 |" in card


@pytest.mark.slow
def test_differences_in_reward_move_the_first_stages_adapter(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented way, `adapter=out/rewriter`; equal rewards do not change it."""
    judged = itertools.cycle([GOOD, UNSAFE])
    verdict = {"varied": lambda: next(judged), "equal": lambda: GOOD}
    before = load_file(taught.adapter / "adapter_model.safetensors")
    moved = {}
    for name, sampling in (("varied", VARIED), ("equal", {"top_k": 1})):
        out = tmp_path / name

        def script(text: str, messages: list[dict[str, Any]], name: str = name) -> str:
            return verdict[name]() if "You grade" in text else f"About {text}"

        with scripted_server(monkeypatch, script) as server:
            start = {"adapter": str(taught.adapter), "output_dir": str(out), "seed": 1}
            train(tmp_path, taught.settings(server, **start, **sampling))
        spread = [entry["reward_std"] for entry in log_history(out)]
        assert (max(spread) > 0) is (name == "varied")
        after = load_file(out / "adapter_model.safetensors")
        assert after.keys() == before.keys()
        moved[name] = any(not torch.equal(after[key], before[key]) for key in before)
    assert moved == {"varied": True, "equal": False}
    assert f"going on from `{taught.adapter}`" in (tmp_path / "varied/README.md").read_text()


@pytest.mark.slow
def test_a_second_stage_that_was_cut_off_ends_as_one_that_was_not(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all weights; the first stage tests the loading of adapters."""

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        if "You grade" not in text:
            return f"About {text}"
        # By the judged text only: calls arrive in any order.
        return (GOOD, UNSAFE)[zlib.crc32(text.partition("About ")[2].encode()) % 2]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with scripted_server(monkeypatch, script) as server:
        # Weight decay changes the weights at each step, also with equal rewards.
        moving = {"peft": "none", "seed": 1, "save_steps": 1, "weight_decay": 1.0}
        settings = taught.settings(server, **moving, **VARIED)
        train(tmp_path, settings | {"output_dir": str(whole)})
        broken.mkdir()
        shutil.copy(whole / "train_config.json", broken)
        shutil.copytree(whole / "checkpoint-1", broken / "checkpoint-1")
        train(tmp_path, settings | {"output_dir": str(broken)})
    before, after = log_history(whole), log_history(broken)
    assert [entry["reward"] for entry in after] == [entry["reward"] for entry in before]
    first = load_file(whole / "model.safetensors")
    second = load_file(broken / "model.safetensors")
    base = load_file(taught.model / "model.safetensors")
    assert first.keys() == second.keys() == base.keys()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    assert not all(torch.equal(tensor, base[key]) for key, tensor in first.items())
