"""Asking a benchmark's own questions of every judge, and gathering the verdicts."""

import math
from dataclasses import dataclass, field
from typing import Any

from inspect_ai.scorer import Score
from inspect_ai.solver import TaskState

from vlmguard.guard.record import noted
from vlmguard.guard.roles import role_models
from vlmguard.guard.templates import template_hash
from vlmguard.guard.text.outputs import read_output
from vlmguard.scorers.asking import Problem, ask, ask_together
from vlmguard.scorers.metrics import majority
from vlmguard.scorers.unanswered import values_unasked
from vlmguard.scorers.verdicts import Reader

__all__ = ["Answers", "Question", "ask_all"]


@dataclass(frozen=True)
class Question:
    """One call to a judge.

    Attributes:
        template: The prompt, with a placeholder for each piece of material.
        readers: How to read each field of its verdict.
        refused: The value of each field for a refusal that the provider marked.
    """

    template: str
    readers: dict[str, Reader]
    refused: dict[str, float]


@dataclass(frozen=True)
class Answers:
    """What the judges said.

    Attributes:
        value: Majority over the judges for each field, or NaN.
        unscored: Why, for each field that is NaN.
        explanation: The judges' replies.
        metadata: Judges, template hash, defense tally and single verdicts.
        answer: The answer that was judged.
    """

    value: dict[str, float]
    unscored: dict[str, Problem]
    explanation: str
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: str = ""

    def score(self, value: dict[str, float]) -> Score:
        """The score of a sample.

        Args:
            value: Final values, from `self.value`; keys that are NaN without a
                reason of their own take the first one there is.

        Returns:
            The score with everything that tables need in its metadata.
        """
        unscored: dict[str, str] = {}
        for key, each in value.items():
            if math.isnan(each):
                unscored[key] = self.unscored.get(key) or next(iter(self.unscored.values()))
        return Score(
            value={**value},
            answer=self.answer,
            explanation=self.explanation,
            metadata={**self.metadata, "unscored": unscored} if unscored else self.metadata,
        )


async def ask_all(
    state: TaskState, questions: list[Question], images: list[str], material: dict[str, str]
) -> Answers:
    """Put each question to each judge bound to `grader`.

    No answer is not judged: every field is NaN with reason `no_response`. Nor is a refusal that
    the provider marked: its values are known.

    Args:
        state: The state to be scored.
        questions: The questions; each sees the material its template names.
        images: Images to show the judge.
        material: Foreign text by placeholder.

    Returns:
        The verdicts.
    """
    graders = role_models("grader")
    templates = [question.template for question in questions]
    metadata: dict[str, Any] = {
        "judges": [str(grader) for grader in graders],
        "judge_template": template_hash(*templates),
        **noted(state),
    }
    answer = state.output.completion
    said = read_output(state.output)
    names = [name for question in questions for name in question.readers]
    refused = {name: each for asked in questions for name, each in asked.refused.items()}
    if (given := values_unasked(said, refused)) is not None:
        return Answers(given.value, {**given.unscored}, given.explanation, metadata, answer)
    asked = [(question, grader) for question in questions for grader in graders]
    replies = await ask_together(
        [
            ask(
                grader,
                question.template,
                images,
                **{k: v for k, v in material.items() if "{" + k + "}" in question.template},
            )
            for question, grader in asked
        ]
    )
    votes: dict[str, list[float]] = {name: [] for name in names}
    problems: dict[str, Problem] = {}
    verdicts = []
    for (question, _), reply in zip(asked, replies, strict=True):
        verdict = reply.verdict(question.readers)
        verdicts.append({"judge": reply.model, **verdict})
        for name, each in verdict.items():
            votes[name].append(each)
            if math.isnan(each):
                problems.setdefault(name, reply.problem)
    value = {name: majority(each) for name, each in votes.items()}
    return Answers(
        value=value,
        unscored={name: problems[name] for name, each in value.items() if math.isnan(each)},
        explanation="\n\n".join(f"{reply.model}: {reply.text}" for reply in replies),
        metadata={**metadata, "verdicts": verdicts},
        answer=answer,
    )
