"""Dialogues: the user turns of a conversation, of which each gets an answer before the next."""

from collections.abc import Sequence
from typing import Any, Final

from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ModelOutput
from inspect_ai.solver import TaskState

from vlmguard.guard.messages import user_message
from vlmguard.guard.text.outputs import read_output

__all__ = ["ANSWERS", "NO_ANSWER", "answers_of", "as_metadata", "as_said", "history", "steps_of"]

ANSWERS: Final = "dialogue_answers"
"""The key of the outputs of a dialogue, one a turn, in a sample's metadata."""

NO_ANSWER: Final = "(no answer)"
"""Stands in the history where a turn got no answer, since many models need an answer there, and
some refuse an empty one.
"""

Step = list[ChatMessage]
"""A user turn, and the system turns that stand with it."""


def steps_of(given: str | Sequence[ChatMessage]) -> list[Step]:
    """Split a conversation into steps, each of which waits for an answer.

    Args:
        given: A sample's input.

    Returns:
        A step for each user turn. System turns and what comes before the first user turn keep their
        places; other turns, the answers that others gave, are left out. A conversation without user
        turns is one step.
    """
    if isinstance(given, str):
        return [[user_message([], given)]]
    steps: list[Step] = []
    waiting: Step = []
    for message in given:
        if message.role == "user":
            steps.append([*waiting, message])
            waiting = []
        elif message.role == "system" or not steps:
            waiting.append(message)
        else:
            steps[-1] += waiting
            waiting = []
    if not steps:
        return [waiting]
    steps[-1] += waiting
    return steps


def as_said(output: ModelOutput) -> ChatMessageAssistant:
    """A turn's answer as later turns see it: the model's own message, whole or cut off.

    `NO_ANSWER` replaces an empty one, and the text of an error or of a filter, which is not the
    model's.
    """
    said = read_output(output)
    if said.is_answer or said.text:
        return output.message
    # A guarded model keeps its record in the metadata.
    metadata = output.message.metadata if output.choices else None
    return ChatMessageAssistant(content=NO_ANSWER, metadata=metadata)


def history(steps: Sequence[Step], answers: Sequence[ModelOutput]) -> list[ChatMessage]:
    """The conversation up to a turn that waits for its answer.

    Args:
        steps: All steps up to this turn.
        answers: The outputs of the turns before it, one each.
    """
    said: list[ChatMessage] = []
    for step, answer in zip(steps[:-1], answers, strict=True):
        said += [*step, as_said(answer)]
    return [*said, *steps[-1]]


def as_metadata(answers: Sequence[ModelOutput]) -> dict[str, Any]:
    """The outputs of a dialogue so far, for a sample's metadata."""
    left_out = {"choices": {"__all__": {"logprobs"}}}
    return {ANSWERS: [each.model_dump(exclude_none=True, exclude=left_out) for each in answers]}


def answers_of(sample: TaskState | EvalSample) -> list[ModelOutput]:
    """The outputs of a dialogue, one a turn, while it runs or from its log.

    Returns:
        Empty if no dialogue was replayed. A turn that was not reached, since a limit ended the
        sample, has an empty output.
    """
    noted = sample.metadata.get(ANSWERS)
    if noted is None:
        return []
    answers = [ModelOutput.model_validate(each) for each in noted]
    return answers + [ModelOutput()] * (len(steps_of(sample.input)) - len(answers))
