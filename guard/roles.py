"""Finds the models of roles, and loads local models, before any call is paid for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, Final

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
    model_roles,
)

# Inspect has no public names for the evaluated model and the settings that a run gives it.
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.model._model import active_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.errors import UserError
from vlmguard.guard.sampling import SERVERS, in_full

__all__ = [
    "ContrastsLogits",
    "LocalModel",
    "Wrapper",
    "checks_for",
    "continues_prefix",
    "defaults_for",
    "is_local",
    "load_models",
    "local_provider",
    "one_model",
    "put_question",
    "require_roles",
    "role_models",
    "unwrapped",
]

_NOTHING_SET = GenerateConfig()

# What decides about the form of an answer, and cuts, forces or repeats a reply to our question.
# Left out, and not set to nothing (`stop: []`), which some servers refuse.
_OF_ANSWERS: Final[dict[str, Any]] = dict.fromkeys(
    (
        "num_choices",
        "best_of",
        "stop_seqs",
        "logprobs",
        "top_logprobs",
        "prompt_logprobs",
        "response_schema",
        "logit_bias",
        "modalities",
    )
)
_LOCAL: Final[set[str]] = set()


class LocalModel(ABC):
    """A model API whose weights are loaded on the first call, or by `open` before it.

    It continues a trailing assistant message, and leaves the stop string in the text.
    """

    def begin(self) -> object:
        """Begin to load the weights, if that can be done while others load; `open` waits for it."""
        return None

    @abstractmethod
    async def open(self) -> None:
        """Load the weights if they are not loaded.

        Raises:
            UserError: They cannot be loaded.
        """

    @abstractmethod
    async def check_size(self, width: int, height: int) -> None:
        """Check that the model's processor accepts an image of this size, in pixels.

        Raises:
            UserError: It does not; or the model cannot be loaded.
        """


class ContrastsLogits(ABC):
    """A model API that takes a `contrast` in `extra_body`, see `vlmguard.guard.contrast`."""

    @abstractmethod
    async def check_contrast(self) -> None:
        """Check that this model can be contrasted.

        Raises:
            UserError: It cannot; or it cannot be loaded.
        """


class Wrapper(ABC):
    """A model API that puts something around another model.

    Attributes:
        inner: The model that answers.
    """

    inner: Model

    @abstractmethod
    def check(self) -> None:
        """Check that it can work.

        Raises:
            UserError: It cannot.
        """


def unwrapped(model: Model) -> Model:
    """The model that answers in the end: `openai/x` of `guarded/ecso/openai/x`."""
    while isinstance(model.api, Wrapper):
        model = model.api.inner
    return model


def local_provider(name: str) -> str:
    """Make known that a provider's chat models are `LocalModel`s; returns its name."""
    _LOCAL.add(name)
    return name


def is_local(provider: str) -> bool:
    """Whether a provider's chat models are `LocalModel`s, which shows before one is made."""
    return provider in _LOCAL


def continues_prefix(provider: str) -> bool:
    """Whether a provider is known to continue a trailing assistant message, by Inspect or by us."""
    return provider in SERVERS or is_local(provider)


@solver
def require_roles(*roles: str) -> Solver:
    """Stop a run whose models are incomplete before its first model call.

    A solver for `Task(setup=...)`: it resolves the roles and loads local models (`load_models`).
    Earlier, in the body of a task or scorer factory, a task's own default roles are not known;
    later, in a scorer, the target's answer is already paid for.

    Args:
        *roles: Names of the roles, e.g. `grader`; without names, models are only loaded.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for role in roles:
            get_model(role=role, required=True)
        await load_models(get_model())
        return state

    return solve


async def load_models(target: Model) -> None:
    """Load the weights of the target and of all models in roles, if they are local.

    A missing or unsuitable checkpoint then shows before another model is paid for. When a log is
    scored again, this gets only the models that are asked, so the target's weights are not needed.

    Args:
        target: The evaluated model.

    Raises:
        UserError: Weights cannot be loaded.
    """
    local = []
    for bound in (target, *model_roles().values()):
        for model in bound if isinstance(bound, list) else [bound]:
            api = model.api
            while isinstance(api, Wrapper):
                api.check()
                api = api.inner.api
            if isinstance(api, LocalModel):
                local.append(api)
    for each in local:
        each.begin()
    for each in local:
        await each.open()


def role_models(role: str) -> list[Model]:
    """All models bound to a role (`--model-role grader=a,b` binds two).

    Args:
        role: Name of the role.

    Returns:
        One model or more, in the order given.

    Raises:
        PrerequisiteError: Nothing is bound to the role.
        UserError: A model has settings of its own that no question has, see `put_question`.
    """
    bound = model_roles().get(role)
    models = bound if isinstance(bound, list) else [get_model(role=role, required=True)]
    for model in models:
        own = model.config.model_dump(exclude_none=True, include={*_OF_ANSWERS})
        # The evaluated model may have a role too, and has the run's settings for its answers.
        if own and model != active_model():
            raise UserError(
                f"--model-role {role}={model}: it has {', '.join(own)}, and it is asked questions "
                "of this suite's own, which have one whole reply in a form of their own. Leave "
                "that out."
            )
    return models


def one_model(role: str) -> Model:
    """The model of a role that asks one.

    Args:
        role: Name of the role; only `grader` may have several models, see `role_models`.

    Raises:
        PrerequisiteError: Nothing is bound to the role.
        UserError: Several models are bound to it, of which only the first would be asked.
    """
    models = role_models(role)
    if len(models) > 1:
        raise UserError(
            f"--model-role {role}={','.join(map(str, models))}: the role {role} takes one model, "
            f"since only the first would be asked. Compare models in a run each."
        )
    return models[0]


async def put_question(
    model: Model, messages: Sequence[ChatMessage], config: GenerateConfig
) -> ModelOutput:
    """Put a question of our own to a model: to the target, or to that of a role.

    Settings that the run has for its answers' form (how many, where they stop, of which schema) do
    not hold for it; a role's model with such settings of its own is refused, see `role_models`.
    Others hold, as those about thinking.

    Args:
        model: The model.
        messages: The question.
        config: Settings of the call, see `checks_for` and `defaults_for`.
    """
    own = model.config
    if model == active_model():
        own = own.merge(active_generate_config())
    asked = copy(model)
    asked.config = own.model_copy(update=_OF_ANSWERS)
    return await asked.generate([*messages], config=config)


def checks_for(target: Model, defaults: GenerateConfig, wanted: int | None) -> GenerateConfig:
    """Settings for a defense's own questions to the target.

    The evaluated model's settings (a temperature, for example) are meant for its answers, so ours
    apply here. But a model that thinks first needs room: if the user gave the target more tokens
    (`--max-tokens`, or `generate` of a target of `vlmguard run`) than we do, it gets those.

    Sampling is stated in full, see `sampling.in_full`.

    Args:
        target: The evaluated model.
        defaults: Our settings, with a temperature and `max_tokens`.
        wanted: The most tokens that the user gave the target, if any.

    Returns:
        The settings to pass to `generate()`.
    """
    if defaults.max_tokens is None or (wanted or 0) <= defaults.max_tokens:
        return in_full(target, defaults)
    return in_full(target, defaults.merge(GenerateConfig(max_tokens=wanted)))


def defaults_for(model: Model, defaults: GenerateConfig) -> GenerateConfig:
    """Our generation settings, overridden by those that the user gave the model.

    Settings passed to `generate()` override the model's own. But a user's `--model-role
    grader="{model: x, max_tokens: 4096}"` must override ours; what `put_question` leaves out does
    not. Sampling is stated in full, see `sampling.in_full`.

    Args:
        model: The model to be called.
        defaults: Our settings, with a temperature.

    Returns:
        The settings to pass to `generate()`.
    """
    if model.config == _NOTHING_SET:
        # Avoid a merge if it is not needed: it copies some sixty fields, in each of many calls.
        return in_full(model, defaults)
    return in_full(model, defaults.merge(model.config.model_copy(update=_OF_ANSWERS)))
