"""Controls: two solvers that ignore the request, as a reference for real defenses.

    inspect eval tasks/microworld.py --solver training/microworld/use/controls.py@always_caution

They are not defenses of the suite; the matrix adds them to every table.
"""

from inspect_ai.model import ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.messages import with_text
from vlmguard.guard.record import recorded
from vlmguard.training.microworld.world.language import GENERAL_CAUTION, REFUSAL


@solver
def always_caution() -> Solver:
    """Add the same caution to every request."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = state.user_prompt
        with recorded(state, "always_caution", asked.text) as record:
            record.triggered = True
            record.rewritten = f"{asked.text}. {GENERAL_CAUTION}"
            cautioned = with_text(asked, record.rewritten)
            state.messages = [cautioned if each is asked else each for each in state.messages]
            state = await generate(state)
            record.add_call("answer", state.output, "target")
        return state

    return solve


@solver
def always_refuse() -> Solver:
    """Refuse every request, without a call."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        with recorded(state, "always_refuse", state.user_prompt.text) as record:
            record.triggered = True
            state.output = ModelOutput.from_content(state.model.name, REFUSAL)
            state.messages.append(state.output.message)
        return state

    return solve
