"""Model roles: found before anything is paid for, and local models loaded before that."""

from abc import ABC, abstractmethod

from inspect_ai.model import GenerateConfig, Model, get_model, model_roles
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.sampling import in_full

__all__ = [
    "LocalModel",
    "checks_for",
    "defaults_for",
    "load_models",
    "require_roles",
    "role_models",
]

_NOTHING_SET = GenerateConfig()


class LocalModel(ABC):
    """A model API whose weights are loaded on the first call, or by `open` before it."""

    @abstractmethod
    async def open(self) -> None:
        """Load the weights unless they are.

        Raises:
            UserError: They cannot be had.
        """

    @abstractmethod
    async def check_size(self, width: int, height: int) -> None:
        """See whether the model's processor takes an image of a size, in pixels.

        Raises:
            UserError: It does not; or the model cannot be loaded.
        """


@solver
def require_roles(*roles: str) -> Solver:
    """Stop a run whose models are incomplete before its first model call.

    A solver for `Task(setup=...)`: it resolves the roles and loads local models
    (`load_models`). (In the body of a task or scorer factory a task's own
    default roles are not known yet, and inside a scorer the target's answer has
    been paid for.)

    Args:
        *roles: Names of the roles, e.g. `grader`; none for loading alone.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for role in roles:
            get_model(role=role, required=True)
        await load_models()
        return state

    return solve


async def load_models() -> None:
    """Load the weights of the target and of all models in roles, where they are local.

    A checkpoint that is not there, or does not fit, shows before another model is paid for.
    Scoring a log anew comes past here only with models that it asks, so none of the target's
    weights are needed for it.

    Raises:
        UserError: Weights cannot be had.
    """
    for bound in (get_model(), *model_roles().values()):
        for model in bound if isinstance(bound, list) else [bound]:
            if isinstance(model.api, LocalModel):
                await model.api.open()


def role_models(role: str) -> list[Model]:
    """All models bound to a role (`--model-role grader=a,b` binds two).

    Args:
        role: Name of the role.

    Returns:
        One model or more, in the order given.

    Raises:
        PrerequisiteError: Nothing is bound to the role.
    """
    bound = model_roles().get(role)
    if isinstance(bound, list):
        return bound
    return [get_model(role=role, required=True)]


def checks_for(target: Model, defaults: GenerateConfig) -> GenerateConfig:
    """Settings for what a defense asks of the target itself.

    The evaluated model's settings are meant for its answers (a temperature, say), so ours stand.
    But a model that thinks first needs room: where the user gave the target more tokens
    (`--max-tokens`, or `generate` of a target of `vlmguard run`) than we do, it gets those.

    Sampling is stated in full, see `sampling.in_full`.

    Args:
        target: The evaluated model.
        defaults: Our settings, with a temperature and `max_tokens`.

    Returns:
        The settings to hand to `generate()`.
    """
    wanted = target.config.max_tokens or 0
    if defaults.max_tokens is None or wanted <= defaults.max_tokens:
        return in_full(target, defaults)
    return in_full(target, defaults.merge(GenerateConfig(max_tokens=wanted)))


def defaults_for(model: Model, defaults: GenerateConfig) -> GenerateConfig:
    """Generation settings of ours, under those that the user gave the model.

    Settings handed to `generate()` win over the model's own; what a user wrote
    as `--model-role grader="{model: x, max_tokens: 4096}"` must win over ours. Sampling
    is stated in full, see `sampling.in_full`.

    Args:
        model: The model to be called.
        defaults: Our settings, with a temperature.

    Returns:
        The settings to hand to `generate()`.
    """
    if model.config == _NOTHING_SET:
        # A merge copies some sixty fields, at each of many calls.
        return in_full(model, defaults)
    return in_full(model, defaults.merge(model.config))
