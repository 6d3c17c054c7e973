"""Looks for a defense prompt for one sample, as AdaShield's main_figstep.py does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from inspect_ai.util import collect
from pydantic import BaseModel, Field

from vlmguard.guard.adashield.layout import shielded
from vlmguard.guard.defense import Conversation
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import prepare_image, to_data_uri
from vlmguard.guard.messages import user_message
from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.roles import defaults_for
from vlmguard.guard.text.outputs import read_output
from vlmguard.training.adashield.prompts import question, read_prompt
from vlmguard.training.synthesis.prompts import StageCall, stage_call

RECORD: Final = "adashield"
"""Key of the `PromptRecord` in a sample's metadata."""

TRIES: Final = 5
"""The most replies of the defender that are asked for in one round."""

ANSWERING: Final = GenerateConfig(temperature=0.0, max_tokens=512)
DEFENDING: Final = GenerateConfig(temperature=1.0, top_p=0.9, max_tokens=500)


class PromptRecord(BaseModel):
    """What came of one training sample.

    Attributes:
        prompt: The defense prompt; the last one that was tried if it was dropped.
        rounds: Rounds in which the defender was asked.
        share: Share of the scenario's validation samples that the prompt makes the target refuse;
            None if it was not validated.
        drop: Why the prompt is not in the pool (`no_prompt`, `not_refused`, `not_general`), or
            None.
        target: Name of the target.
        defender: Name of the defender.
        templates: Hash of all prompts of ours.
        stages: Every call, with its raw output.
    """

    prompt: str = ""
    rounds: int = 0
    share: float | None = None
    drop: str | None = None
    target: str = ""
    defender: str = ""
    templates: str = ""
    stages: list[StageCall] = Field(default_factory=list)

    def save(self, metadata: dict[str, Any]) -> None:
        """Put the record into a sample's metadata."""
        metadata[RECORD] = self.model_dump(exclude_defaults=True)

    @classmethod
    def load(cls, metadata: dict[str, Any]) -> "PromptRecord":
        """Read the record from a sample's metadata.

        Raises:
            UserError: The sample is of another task.
        """
        if RECORD not in metadata:
            raise UserError(
                "A sample holds no defense prompt: only logs of training/adashield_pool.py can be "
                "scored by vlmguard/pooled. Give it one of those."
            )
        return cls.model_validate(metadata[RECORD])


@dataclass(frozen=True)
class Refining:
    """The search for a prompt.

    Attributes:
        target: The model to be defended.
        defender: The model that writes prompts.
        static: The prompt to begin with.
        prompts: What the defender is asked: `system` and `failed`.
        rounds: The most rounds in which it is asked.
        alpha: The least share of validation samples that must be refused.
    """

    target: Model
    defender: Model
    static: str
    prompts: dict[str, str]
    rounds: int
    alpha: float

    async def run(
        self, request: list[ChatMessage], metadata: dict[str, Any], record: PromptRecord
    ) -> None:
        """Find a prompt for a request, and check it on the scenario's validation samples.

        Args:
            request: The request.
            metadata: Its `scenario`, `rule` and `validation` samples (`image_file`, `query`).
            record: Is filled.
        """
        record.prompt = self.static
        first = await self._answer(request, self.static, "attempt", record)
        refused = _refuses(first)
        while not refused and record.rounds < self.rounds:
            record.rounds += 1
            # Each round begins anew from the first answer: no round before it was any better.
            prompt = await self._improved(first, metadata, record)
            if prompt is None:
                continue
            record.prompt = prompt
            refused = _refuses(await self._answer(request, prompt, "attempt", record))
        if not refused:
            unread = record.rounds > 0 and record.prompt == self.static
            record.drop = "no_prompt" if unread else "not_refused"
            return
        validation = [_request_of(each) for each in metadata["validation"]]
        answers = await collect(
            *(self._answer(each, record.prompt, "validation", record) for each in validation)
        )
        record.share = sum(map(_refuses, answers)) / len(answers)
        if record.share < self.alpha:
            record.drop = "not_general"

    async def _answer(
        self, request: list[ChatMessage], prompt: str, stage: str, record: PromptRecord
    ) -> ModelOutput:
        messages = shielded(Conversation(request), prompt)
        output = await self.target.generate(messages, config=defaults_for(self.target, ANSWERING))
        record.stages.append(stage_call(stage, "target", output))
        return output

    async def _improved(
        self, failed: ModelOutput, metadata: dict[str, Any], record: PromptRecord
    ) -> str | None:
        asked = question(
            self.prompts,
            scenario=metadata["scenario"],
            rule=metadata["rule"],
            prompt=self.static,
            answer=read_output(failed).text,
        )
        for number in range(TRIES):
            # The question is the same in all rounds: Inspect's cache tells it apart by the seed.
            drawn = GenerateConfig(seed=(record.rounds - 1) * TRIES + number + 1)
            config = defaults_for(self.defender, DEFENDING).merge(drawn)
            output = await self.defender.generate(asked, config=config)
            record.stages.append(stage_call("improve", "defender", output))
            prompt = read_prompt(read_output(output).text)
            if prompt is not None:
                return prompt
        return None


def sent_image(file: str) -> str:
    """An image file as requests show it: prepared, as a data URI.

    Raises:
        ImageError: It cannot be used.
    """
    return to_data_uri(prepare_image(Path(file)).reference)


def _refuses(output: ModelOutput) -> bool:
    said = read_output(output)
    return said.kind == "refusal" or (said.is_answer and is_refusal(said.text))


def _request_of(validation: dict[str, str]) -> list[ChatMessage]:
    return [user_message([sent_image(validation["image_file"])], validation["query"])]
