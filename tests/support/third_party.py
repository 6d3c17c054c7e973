"""Another package's defense, whose last call to the target is not the answer."""

from inspect_ai.model import ChatMessageUser, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

SURE = "Are you sure? Reply in one word."


@solver(name="third/second_thought")
def second_thought() -> Solver:
    """Ask the target for its opinion of the answer, and keep the answer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await generate(state)
        thought = f"{state.output.completion}\n{SURE}"
        doubt = await get_model().generate([ChatMessageUser(content=thought)])
        state.metadata = state.metadata | {"doubt": doubt.completion}
        return state

    return solve
