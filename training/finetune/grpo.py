"""Second stage: train on what is evaluated, by GRPO (`method: grpo`).

The rewriter samples several rewrites of a request. For each, the target answers the rewritten
request and the judge grades that answer against the request as the user put it; a rewrite gets

    1 if the answer is safe AND helpful, else 0
    - benign_penalty    if the request is benign and the rewrite changes it
    - format_penalty    (and nothing else) if no request can be read from the reply

Target and judge are Inspect models and are asked all at once, equal rewrites of a row only once; a
reply that cannot be used is not paid for. A missing verdict gives no reward at all, which TRL
takes as neutral, and its share is logged (`unusable_verdicts`). Judge prompt, parsing and the rule
for safe AND helpful are the `judge` scorer's own (`scorers/judge.py`).

GRPO is due to Shao et al., DeepSeekMath, https://arxiv.org/abs/2402.03300. VLMGuard-R1 itself is
trained by supervised fine-tuning alone, as far as is known; this stage is ours.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import trl
from inspect_ai.model import (
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.rewriter import read_reply
from vlmguard.guard.roles import defaults_for
from vlmguard.guard.templates import load_template
from vlmguard.guard.text.outputs import read_output
from vlmguard.scorers.asking import ask
from vlmguard.scorers.judge import JUDGE_TEMPLATE, REFUSED, Verdict, combine
from vlmguard.scorers.verdicts import grade, label
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.finetune.checkpoints import CarefulSaving
from vlmguard.training.finetune.config import ModelSpec, TrainConfig

logger = logging.getLogger(__name__)

COLUMNS: Final = ("prompt", "images", "id", "benign", "original", "rewritten")

_READERS: Final = {"safety": grade(10.0), "helpful": label()}


@dataclass(frozen=True)
class Case:
    """One rewrite to be rewarded.

    Attributes:
        row: Id of the row.
        reply: The rewriter's reply.
        original: The request.
        reference: The rewrite that the row teaches.
        benign: Whether the request should be left alone.
        images: Data URIs.
    """

    row: str
    reply: str
    original: str
    reference: str
    benign: bool
    images: tuple[str, ...]


class Reward:
    """Rewards rewrites by the answers that follow from them.

    Args:
        config: The run; target, judges and penalties are its.
        target: In place of the configured target.
        graders: In place of the configured judges.

    Raises:
        UserError: A model specification or template that cannot be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        target: Model | None = None,
        graders: list[Model] | None = None,
    ) -> None:
        self.target = target or open_model("target", config.target)
        specs = config.grader if isinstance(config.grader, list) else [config.grader]
        self.graders = graders or [open_model("grader", spec) for spec in specs]
        self._config = config
        self._template = load_template(JUDGE_TEMPLATE, config.judge_template, ("request", "answer"))

    async def rewards(self, cases: list[Case]) -> list[float | None]:
        """Reward rewrites, all at once.

        Args:
            cases: The rewrites.

        Returns:
            A reward for each; None where no verdict could be read.
        """
        prompts: list[str | None] = []
        for case in cases:
            parsed = read_reply(case.reply)
            prompts.append(None if parsed.failure else parsed.prompt)
        # Samples of one row are often the same; each distinct one is paid for once.
        distinct: dict[tuple[str, str], Case] = {}
        for case, prompt in zip(cases, prompts, strict=True):
            if prompt is not None:
                distinct.setdefault((case.row, prompt), case)
        found = await asyncio.gather(
            *(self._success(case, prompt) for (_, prompt), case in distinct.items())
        )
        success = dict(zip(distinct, found, strict=True))
        return [
            -self._config.format_penalty
            if prompt is None
            else self._total(case, prompt, success[case.row, prompt])
            for case, prompt in zip(cases, prompts, strict=True)
        ]

    async def __call__(
        self, prompts: list[Any], completions: list[Any], **columns: Any
    ) -> list[float | None]:
        """TRL's reward function: reward a batch of completions."""
        # A row comes once for each of its completions, with the same pictures.
        encoded: dict[str, tuple[str, ...]] = {}
        for row, images in zip(columns["id"], columns["images"], strict=True):
            if row not in encoded:
                encoded[row] = tuple(to_data_uri(image) for image in images)
        cases = [
            Case(*values)
            for values in zip(
                columns["id"],
                [_text(completion) for completion in completions],
                columns["original"],
                columns["rewritten"],
                columns["benign"],
                [encoded[row] for row in columns["id"]],
                strict=True,
            )
        ]
        rewards = await self.rewards(cases)
        missing = sum(reward is None for reward in rewards) / len(rewards)
        columns["log_metric"]("unusable_verdicts", missing)
        if missing:
            logger.warning("%.0f%% of this batch got no usable verdict.", 100 * missing)
        return rewards

    def _total(self, case: Case, prompt: str, success: float) -> float | None:
        if math.isnan(success):
            return None
        same = normalise_text(prompt)
        kept = same in (normalise_text(case.original), normalise_text(case.reference))
        return success - (self._config.benign_penalty if case.benign and not kept else 0.0)

    async def _success(self, case: Case, prompt: str) -> float:
        """Whether the answer is safe and helpful: 1, 0, or NaN where nobody can say."""
        said = read_output(await self._answer(case.images, prompt))
        if said.kind == "refusal":
            return REFUSED["safe_and_helpful"]
        if said.kind == "no_answer":
            return math.nan
        replies = await asyncio.gather(
            *(
                ask(
                    grader,
                    self._template,
                    list(case.images),
                    request=case.original,
                    answer=said.text,
                )
                for grader in self.graders
            )
        )
        verdicts = [Verdict(**reply.verdict(_READERS)) for reply in replies]
        return float(combine(verdicts, self._config.threshold)["safe_and_helpful"])

    async def _answer(self, images: tuple[str, ...], prompt: str) -> ModelOutput:
        content: list[Content] = [ContentImage(image=image) for image in images]
        content.append(ContentText(text=prompt))
        defaults = GenerateConfig(temperature=0.0, max_tokens=self._config.answer_max_tokens)
        return await self.target.generate(
            [ChatMessageUser(content=content)], config=defaults_for(self.target, defaults)
        )


def open_model(role: str, spec: ModelSpec | None) -> Model:
    """The Inspect model that a configuration names.

    Args:
        role: Key in the configuration, for messages.
        spec: Name, or a mapping with `model`, `model_args`, `base_url` and generation settings.

    Returns:
        The model.

    Raises:
        UserError: No name, or an unknown setting.
    """
    values: Mapping[str, Any] = {"model": spec} if isinstance(spec, str) else dict(spec or {})
    settings = {k: v for k, v in values.items() if k not in ("model", "model_args", "base_url")}
    unknown = settings.keys() - GenerateConfig.model_fields.keys()
    if "model" not in values or unknown:
        wrong = f"unknown: {', '.join(sorted(unknown))}" if unknown else "`model` is missing"
        raise UserError(
            f"{role}: {wrong}. Give an Inspect model's name, or a mapping with model, model_args, "
            "base_url and generation settings such as temperature. Keys come from the environment."
        )
    return get_model(
        values["model"],
        config=GenerateConfig(**settings),
        base_url=values.get("base_url"),
        **values.get("model_args", {}),
    )


class RewardedTrainer(CarefulSaving, trl.GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer with our way of saving."""


def build_grpo_trainer(config: TrainConfig, maker: PromptMaker, common: dict[str, Any]) -> Any:
    """TRL's `GRPOTrainer` with our reward.

    Args:
        config: The run.
        maker: The prompt maker.
        common: Model, TRL's configuration, rows and LoRA configuration.

    Returns:
        The trainer.

    Raises:
        UserError: As for `Reward`.
    """
    rows = {
        name: common[name].select_columns(list(COLUMNS)) if common[name] is not None else None
        for name in ("train_dataset", "eval_dataset")
    }
    reward: Any = Reward(config)  # trl takes coroutines too, and its types do not say so
    return RewardedTrainer(
        **{**common, **rows},
        reward_funcs=reward,
        processing_class=maker.processor,
    )


def _text(completion: Any) -> str:
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
