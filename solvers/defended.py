"""Makes Inspect's solvers of defenses."""

from collections.abc import Callable
from copy import copy
from functools import update_wrapper
from typing import Any, ParamSpec, cast

from inspect_ai.event import ModelEvent
from inspect_ai.log import transcript
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState

from vlmguard.guard.defense import Conversation, Defense, Target, check_options
from vlmguard.guard.hazards import hazard_of
from vlmguard.guard.rare_collection import collect_rarely
from vlmguard.guard.record import recorded
from vlmguard.solvers.told import Told

__all__ = ["defended", "options_of"]

P = ParamSpec("P")


def options_of(
    defense: Callable[P, Defense],
) -> Callable[[Callable[..., Solver]], Callable[P, Solver]]:
    """Give a solver's function the options of its defense, and their documentation.

    So they are stated once: Inspect, `vlmguard list` and editors read them from the function. An
    option that there is not, and a value of another type, are refused by name.

    Args:
        defense: The class.
    """

    def with_options(factory: Callable[..., Solver]) -> Callable[P, Solver]:
        def checked(**options: Any) -> Solver:
            check_options(defense, factory.__name__, options)
            return factory(**options)

        update_wrapper(checked, factory, updated=())
        update_wrapper(checked, defense, assigned=("__doc__", "__annotations__"), updated=())
        return cast(Callable[P, Solver], checked)

    return with_options


def defended(defense: Defense) -> Solver:
    """A solver that lets the evaluated model answer behind a defense.

    Afterwards the state holds the messages that the target got for its first answer, and the final
    answer behind them.

    Args:
        defense: The defense.
    """
    collect_rarely()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        heard: list[ChatMessage] | None = None

        async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
            nonlocal heard
            told.before_answer()
            # Later answers have a state of their own: a defense may want several at once.
            asked = state if heard is None else copy(state)
            asked.messages = messages
            answered = await generate(asked, **config.model_dump(exclude_none=True))
            state.completed = answered.completed
            # Inspect passes a task's settings to the call only, so read them from its record.
            call = transcript().history.events_since_last(ModelEvent)[0]
            settings = call.config if isinstance(call, ModelEvent) else GenerateConfig()
            tokens, temperature = settings.max_tokens, settings.temperature
            # Deleted below, once nobody asks any more.
            target.tokens, target.temperature = tokens, temperature  # noqa: F821
            heard = heard or answered.messages
            return answered.output

        target = Target(get_model(), answer)
        name, metadata = f"Sample {state.sample_id}", state.metadata
        conversation = Conversation(
            list(state.messages),
            name=name,
            epoch=state.epoch,
            hazard=lambda: hazard_of(metadata, name),
        )
        card = defense.card
        try:
            with recorded(state, card.name, conversation.text, card.version) as record:
                told = Told(record)
                outcome = await defense.run(conversation, target, record)
                told.afterwards(outcome)
        finally:
            # It holds `answer`, which names it: a circle that would keep the sample, with its
            # images, in memory until Python looks for circles.
            del target
        state.output = outcome.output
        before = heard[:-1] if heard else list(conversation.messages)
        state.messages = [*before, outcome.output.message]
        return state

    return solve
