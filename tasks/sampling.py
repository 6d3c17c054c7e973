"""Several answers to a question make sense only if the target samples them.

`hf-vlm/` decodes greedily unless a temperature is given, and servers follow the checkpoint, which
may set greedy decoding too. So a task with several answers states the temperature, and refuses 0.
"""

from inspect_ai.model import GenerateConfig, Model, ModelName, get_model

# Inspect has no public name for the settings of a run, with those of the command line.
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.errors import UserError, check_number
from vlmguard.guard.roles import unwrapped
from vlmguard.guard.sampling import SERVERS

__all__ = ["answer_temperature", "answers_differ", "check_sampled"]


def answer_temperature(
    samples: int, temperature: float | None, single: float | None, several: float | None
) -> float | None:
    """The temperature that a task sets for its answers.

    Args:
        samples: Answers to a question (`-T samples=`).
        temperature: The user's (`-T temperature=`), or None.
        single: The benchmark's temperature for one answer; None leaves it to the target.
        several: The benchmark's temperature for several answers; None if it has none.

    Returns:
        The temperature for `Task(config=...)`; None leaves it to the target.

    Raises:
        UserError: Several answers at temperature 0, which would all be the same, or with no
            temperature known.
    """
    if temperature is not None:
        check_number("-T temperature", temperature, 0)
    if samples <= 1:
        return single if temperature is None else temperature
    chosen = several if temperature is None else temperature
    if not chosen:
        raise UserError(
            f"-T samples={samples}: at temperature 0 all answers are the same. Give a higher one "
            "(-T temperature=1), or take one answer."
        )
    return chosen


@solver
def answers_differ(samples: int) -> Solver:
    """Stop a run before its first answer if several answers would all be the same.

    A solver for `Task(setup=...)`.

    Args:
        samples: Answers to a question.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if samples > 1:
            check_sampled(samples, unwrapped(get_model()), active_generate_config())
        return state

    return solve


def check_sampled(samples: int, target: Model, run: GenerateConfig) -> None:
    """Refuse a target whose answers to a question would all be the same.

    Args:
        samples: Answers to a question, more than one.
        target: The evaluated model.
        run: Settings of the run, which override the model's own.

    Raises:
        UserError: It was given temperature 0, or takes top_k from its checkpoint.
    """
    if 0 in (target.config.temperature, run.temperature):
        raise UserError(
            f"-T samples={samples}: {target} was given temperature 0 (--temperature, or "
            "generate: of a target), at which all answers are the same. Take that out, or "
            "give a higher one."
        )
    body = run.extra_body or target.config.extra_body or {}
    if ModelName(target).api in SERVERS and "top_k" not in body:
        raise UserError(
            f"-T samples={samples}: {target} takes top_k from the checkpoint, and where that "
            "is 1 (Qwen2.5-VL) all answers are the same at any temperature. State it: "
            '--extra-body \'{"top_k": -1, "min_p": 0, "repetition_penalty": 1}\', or '
            "extra_body in generate: of a target."
        )
