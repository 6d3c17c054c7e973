"""The model behind a defense, as its caller reaches it."""

from collections.abc import Awaitable, Callable
from functools import cached_property

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput

from vlmguard.guard.roles import checks_for, put_question
from vlmguard.guard.sampling import refuses_sampling

__all__ = ["Answer", "Target"]

Answer = Callable[[list[ChatMessage], GenerateConfig], Awaitable[ModelOutput]]
"""Answers a conversation with the tools and settings of the request, which the config overrides."""


class Target:
    """The guarded model: a callable for answers, and its own words for a defense's questions.

    Args:
        model: The model, or what makes it once it is needed: many defenses never ask it.
        answer: How the caller gets an answer (Inspect's `generate`, an HTTP upstream, ...); the
            model alone by default.
        config: Settings of the request that the model does not have itself.
    """

    def __init__(
        self,
        model: Model | Callable[[], Model],
        answer: Answer | None = None,
        config: GenerateConfig | None = None,
    ) -> None:
        self._model = model
        own = model.config if isinstance(model, Model) else GenerateConfig()
        self.config = own.merge(config) if config else own
        self.tokens: int | None = self.config.max_tokens
        """The most tokens of an answer. None if nobody sets a limit; a caller that learns of it
        with the first answer sets it then."""
        self.temperature: float | None = self.config.temperature
        """The temperature of an answer, likewise. None if nobody sets one."""
        self._answer = answer

    @cached_property
    def model(self) -> Model:
        """The model itself."""
        return self._model if isinstance(self._model, Model) else self._model()

    @property
    def name(self) -> str:
        """Name of the model, for outputs that a defense writes itself."""
        return self.model.name

    @property
    def approximations(self) -> list[str]:
        """What a record says of its replies to a defense's questions: it may take no sampling."""
        return ["sampling: the target's own"] if refuses_sampling(self.model) else []

    async def __call__(
        self, messages: list[ChatMessage], config: GenerateConfig | None = None
    ) -> ModelOutput:
        """Answer a conversation, for the user.

        Args:
            messages: The conversation.
            config: Settings that override those of the request.
        """
        config = config or GenerateConfig()
        self.tokens = config.max_tokens or self.tokens
        if self._answer is not None:
            return await self._answer(messages, config)
        return await self.model.generate(messages, config=self.config.merge(config))

    async def ask(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """Put a question of the defense's own: without the request's tools and settings.

        Args:
            messages: The question.
            config: Its settings, with a temperature and `max_tokens`; see `roles.checks_for` and
                `roles.put_question`.
        """
        settings = checks_for(self.model, config, self.config.max_tokens)
        return await put_question(self.model, messages, settings)
