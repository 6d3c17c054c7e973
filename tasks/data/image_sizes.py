"""Finds images whose size a local model's processor refuses, before the first answer."""

from typing import Final

from inspect_ai.model import get_model, model_roles
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.errors import UserError
from vlmguard.guard.roles import LocalModel, unwrapped

__all__ = ["Sizes", "extreme_sizes", "images_fit"]

# Roles, besides the target, that see a sample's images.
_SHOWN: Final = ("rewriter", "grader", "image_safety")

Sizes = dict[str, tuple[int, int]]
"""Width and height in pixels, by sample."""


def extreme_sizes(sizes: Sizes) -> dict[str, list[int]]:
    """The sizes that a processor most likely refuses: if it accepts these, it accepts the rest.

    Returns:
        The thinnest, the one with the shortest side and the largest, each once.
    """
    if not sizes:
        return {}
    chosen = (
        max(sizes, key=lambda name: max(sizes[name]) / min(sizes[name])),
        min(sizes, key=lambda name: min(sizes[name])),
        max(sizes, key=lambda name: sizes[name][0] * sizes[name][1]),
    )
    return {name: list(sizes[name]) for name in dict.fromkeys(chosen)}


@solver
def images_fit(sizes: dict[str, list[int]]) -> Solver:
    """Stop a run before its first answer if a local model cannot take an image's size.

    A solver for `Task(setup=...)`. Each sample waits for the check, which runs once per model.

    Args:
        sizes: The result of `extreme_sizes`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        roles = model_roles()
        for bound in (get_model(), *(roles[name] for name in _SHOWN if name in roles)):
            for model in map(unwrapped, bound if isinstance(bound, list) else [bound]):
                if isinstance(model.api, LocalModel):
                    await _check(model.api, sizes)
        return state

    return solve


async def _check(api: LocalModel, sizes: dict[str, list[int]]) -> None:
    for name, (width, height) in sizes.items():
        try:
            await api.check_size(width, height)
        except UserError as error:
            raise UserError(f"Image of sample {name} ({width} x {height}): {error}") from error
