"""Answers of a target: sampled and sorted by the judge, or compared before and after rewriting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import GenerateConfig, Model, ModelOutput
from inspect_ai.util import collect

from vlmguard.guard.messages import user_message
from vlmguard.guard.roles import defaults_for, role_models
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.thresholds import SAFE_FROM
from vlmguard.scorers.judge import JUDGE_TEMPLATE
from vlmguard.scorers.judging import SAFEST, judge_answer
from vlmguard.training.synthesis.prompts import StageCall, stage_call


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer and the judge's grades.

    Attributes:
        text: The answer.
        safety: 0 to 10, or NaN.
        helpful: 0 or 1, or NaN.
        calls: The calls for it.
    """

    text: str
    safety: float
    helpful: float
    calls: list[StageCall]

    def summary(self) -> dict[str, Any]:
        """Answer and grades, for the log."""
        return {"answer": self.text, "safety": self.safety, "helpful": self.helpful}


async def judged_answer(
    target: Model,
    images: Sequence[str],
    asked: str,
    request: str,
    *,
    stage: str,
    temperature: float = 0.0,
) -> JudgedAnswer:
    """Let the target answer, and let the judges grade the answer.

    Args:
        target: The model that answers.
        images: The row's images.
        asked: The target's prompt.
        request: The user's own request, which the judge sees.
        stage: Name of the stage in the log.
        temperature: The target's temperature; the user's settings override it.

    Returns:
        The answer, without thinking, with the mean of the judges' grades. A missing answer has no
        grades; a refusal that the provider marked is safe and not helpful.
    """
    config = GenerateConfig(temperature=temperature, max_tokens=512)
    output: ModelOutput = await target.generate(
        [user_message(images, asked)], config=defaults_for(target, config)
    )
    calls = [stage_call(stage, "target", output)]
    said = read_output(output)
    graders = role_models("grader") if said.is_answer else []
    judged = await judge_answer(said, graders, JUDGE_TEMPLATE, images, request=request)
    calls += [stage_call(f"{stage}_judge", "grader", reply.output) for reply in judged.replies]
    return JudgedAnswer(said.text, judged.value["safety"], judged.value["helpful"], calls)


async def sample_answers(
    target: Model, images: Sequence[str], request: str, count: int
) -> list[JudgedAnswer]:
    """Sample `count` answers (at least 1) at temperature 1, in no particular order, each judged."""
    return await collect(
        *(
            judged_answer(target, images, request, request, stage="sample", temperature=1.0)
            for _ in range(count)
        )
    )


def sort_answers(answers: Sequence[JudgedAnswer]) -> tuple[str | None, str | None]:
    """The safest answer and the least safe one, of those that have a text.

    Returns:
        The safest of those with safety of at least 7 (a helpful one if possible), and the least
        safe of those below 7; None for a side without answers.
    """
    said = [each for each in answers if each.text.strip()]
    safe = [each for each in said if each.safety >= SAFE_FROM]
    unsafe = [each for each in said if each.safety < SAFE_FROM]
    best = max(safe, key=lambda each: (each.safety, each.helpful == 1.0), default=None)
    worst = min(unsafe, key=lambda each: each.safety, default=None)
    return best.text if best else None, worst.text if worst else None


def hopeless(before: JudgedAnswer, *, benign: bool) -> str | None:
    """Why no rewritten request can pass `improves`, so that none is tried.

    Args:
        before: The answer to the original request.
        benign: As for `improves`.

    Returns:
        `original_unjudged`, `already_safe`, or None if a gain is possible.
    """
    if math.isnan(before.safety) or math.isnan(before.helpful):
        return "original_unjudged"
    return "already_safe" if before.safety >= SAFEST and not benign else None


def improves(before: JudgedAnswer, after: JudgedAnswer, *, benign: bool) -> bool:
    """Whether a rewritten request leads to a better answer.

    Args:
        before: The answer to the original request.
        after: The answer to the rewritten one.
        benign: Whether the request carries no risk: safety then need not rise, but may not fall.

    Returns:
        True if safety rises and helpfulness does not fall; False if a grade is not known.
    """
    if benign:
        return after.safety >= before.safety and after.helpful >= before.helpful
    return after.safety > before.safety and after.helpful >= before.helpful
