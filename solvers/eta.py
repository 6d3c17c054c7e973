"""ETA (Evaluating Then Aligning): under construction."""

from inspect_ai.solver import Generate, Solver, TaskState, solver


@solver
def eta() -> Solver:
    """Not finished: raises."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        raise NotImplementedError("eta")

    return solve
