"""Replays a dialogue: the model answers each user turn of the sample, with its own answers before.

    inspect eval tasks/vlm_safety.py -T file=rows.jsonl -T 'map={turns: dialogue, image: img}' \
        -T expected=refuse --model guarded/vlmguard/openai/gpt-4o \
        --model-role rewriter=R --model-role grader=G
    inspect eval TASK --solver dialogue --model M

A set with `turns` in its map has this solver by default. Others need `--solver dialogue`: the input
of a sample is then a list of messages with several user turns.

The history is real: the user's own words and the model's own answers. System turns and images keep
their places. Answers that stand in the input are left out, the last one too, since they are others'
answers. (Turns that must stay as given are the role `earlier` of a map, and need no solver of their
own.) Calls: one a user turn, each with all turns so far.

A defense goes around the model: `--model guarded/DEFENSE/PROVIDER/MODEL`. It then runs at every
turn with the whole conversation, and what it made of a turn is not in the history. `--solver
DEFENSE` replaces this solver, so that nothing is replayed: the defense answers the last turn alone,
after the earlier turns as the sample gives them.

A dialogue goes on after a turn without an answer, after a refusal that the provider marked, and
after a block, of which the history shows the fixed refusal, as the user saw it (`guarded/` leaves
both out of what the model inside hears). `(no answer)` stands where there is no text of the model;
an answer that was cut off stays as it is. Other errors of an API are errors of the sample.

The output of each turn is in the sample's metadata. Scorers of others see the last answer; the
general judge, the refusal scorer and that of `vlm_safety` score each turn (`scorers/turns.py`).
"""

from inspect_ai.model import ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.dialogue import as_metadata, as_said, steps_of

__all__ = ["dialogue"]


@solver
def dialogue() -> Solver:
    """Let the model answer each user turn of a conversation, with its own answers before."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        steps = steps_of(state.messages)
        answers: list[ModelOutput] = []
        state.messages = []
        for step in steps:
            if answers:
                state.messages[-1] = as_said(answers[-1])
            state.messages = [*state.messages, *step]
            state.metadata = state.metadata | as_metadata(answers)
            state = await generate(state)
            answers.append(state.output)
            state.metadata = state.metadata | as_metadata(answers)
            if state.completed:
                break
        return state

    return solve
