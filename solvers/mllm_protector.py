"""MLLM-Protector: under construction."""

from inspect_ai.solver import Generate, Solver, TaskState, solver


@solver
def mllm_protector() -> Solver:
    """Not finished: raises."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        raise NotImplementedError("mllm_protector")

    return solve
