"""The reward of the second stage: a rewrite gets the value of the answer that follows from it.

The rewriter samples several rewrites of a request. For each, the target answers the rewritten
request and the judge grades that answer against the user's own request. A rewrite gets

    1 if the answer is safe AND helpful, else 0
    - benign_penalty    if the request is benign and the rewrite changes it
    - format_penalty    (and nothing else) if no request can be read from the reply

Target and judge are Inspect models. All rewrites are asked at once, and equal rewrites of a row
only once in a run (`calls.py`); an unusable reply costs no call. A missing verdict or a failed call
gives no reward, which TRL treats as neutral; `unusable_verdicts` is the share of such rewrites,
`failed_calls` the number of calls. Judge prompt, parsing and the rule for safe AND helpful are the
`judge` scorer's own (`scorers/judging.py`).
"""

import asyncio
import hashlib
import logging
import math
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import GenerateConfig, Model, get_model

from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.messages import user_message
from vlmguard.guard.redaction import redact
from vlmguard.guard.rewriter import read_reply
from vlmguard.guard.roles import defaults_for
from vlmguard.guard.templates import load_template, template_hash
from vlmguard.guard.text.outputs import read_output
from vlmguard.scorers.asking import ask
from vlmguard.scorers.judge import JUDGE_FIELDS, JUDGE_TEMPLATE
from vlmguard.scorers.judging import REFUSED, Verdict, combine, read_verdict
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.finetune.calls import Calls, Said
from vlmguard.training.finetune.config import ModelSpec, TrainConfig, model_settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One rewrite to reward.

    Attributes:
        row: Id of the row.
        reply: The rewriter's reply.
        original: The request.
        reference: The rewrite that the row teaches.
        benign: Whether the request should stay as it is.
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
        config: The run, with target, judges and penalties.
        calls: Makes the calls.
        target: Replaces the configured target.
        graders: Replace the configured judges.

    Raises:
        UserError: A model specification or template that cannot be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        calls: Calls,
        *,
        target: Model | None = None,
        graders: list[Model] | None = None,
    ) -> None:
        self.calls = calls
        # `TrainConfig` asks for both.
        self.target = target or open_model(config.target or "")
        specs = config.grader if isinstance(config.grader, list) else [config.grader]
        self.graders = graders or [open_model(spec) for spec in specs if spec]
        self._config = config
        # The inputs that decide a reply, besides the rewrite; secrets become digests.
        self._target_settings = {
            "model": str(self.target),
            "settings": redact(config.target, "target"),
            "max_tokens": config.answer_max_tokens,
        }
        self._template = load_template(JUDGE_TEMPLATE, config.judge_template, JUDGE_FIELDS)
        self._judge_settings = [
            {
                "model": str(grader),
                "settings": redact(config.grader, "grader"),
                "place": place,
                "template": template_hash(self._template),
            }
            for place, grader in enumerate(self.graders)
        ]

    async def rewards(self, cases: list[Case]) -> list[float | None]:
        """Reward rewrites, all at once.

        Returns:
            A reward for each; None without a readable verdict.
        """
        prompts: list[str | None] = []
        for case in cases:
            parsed = read_reply(case.reply, request=case.original)
            prompts.append(None if parsed.failure else parsed.prompt)
        # Samples of one row are often equal; each distinct one is paid for once.
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
        # A row occurs once for each of its completions, with the same pictures.
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
        failed = self.calls.failed
        rewards = await self.rewards(cases)
        missing = sum(reward is None for reward in rewards) / len(rewards)
        columns["log_metric"]("unusable_verdicts", missing)
        columns["log_metric"]("failed_calls", float(self.calls.failed - failed))
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
        """Whether the answer is safe and helpful: 1, 0, or NaN if it is not known."""
        pictures = [hashlib.sha256(image.encode()).hexdigest() for image in case.images]
        about = {
            "row": case.row,
            "rewrite": prompt,
            "pictures": pictures,
            "target": self._target_settings,
        }
        answer = await self.calls.said("target", about, lambda: self._answer(case.images, prompt))
        if answer is None or answer.kind == "no_answer":
            return math.nan
        if answer.kind == "refusal":
            return REFUSED["safe_and_helpful"]
        about |= {"request": case.original, "answer": answer.text}
        verdicts = await asyncio.gather(
            *(self._verdict(place, case, about) for place in range(len(self.graders)))
        )
        return float(combine(verdicts, self._config.threshold)["safe_and_helpful"])

    async def _verdict(self, place: int, case: Case, about: dict[str, Any]) -> Verdict:
        about = about | {"judge": self._judge_settings[place]}
        said = await self.calls.said(
            "grader", about, lambda: self._grade(place, case, about["answer"])
        )
        if said is None:
            return Verdict(math.nan, math.nan)
        return read_verdict(said.text, cut_off=said.kind == "cut_off")

    async def _grade(self, place: int, case: Case, answer: str) -> Said:
        images, grader = list(case.images), self.graders[place]
        reply = await ask(grader, self._template, images, request=case.original, answer=answer)
        return Said("cut_off" if reply.cut_off else "answer", reply.text)

    async def _answer(self, images: tuple[str, ...], prompt: str) -> Said:
        defaults = GenerateConfig(temperature=0.0, max_tokens=self._config.answer_max_tokens)
        output = await self.target.generate(
            [user_message(images, prompt)], config=defaults_for(self.target, defaults)
        )
        said = read_output(output)
        return Said(said.kind, said.text)


def open_model(spec: ModelSpec) -> Model:
    """The Inspect model that a configuration names."""
    settings = model_settings(spec)
    names = set(GenerateConfig.model_fields)
    return get_model(
        settings.model,
        config=GenerateConfig(**settings.model_dump(include=names, exclude_unset=True)),
        base_url=settings.base_url,
        **settings.model_args,
    )


def _text(completion: Any) -> str:
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
