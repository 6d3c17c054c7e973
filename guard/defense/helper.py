"""Who answers the questions that a defense has of its own."""

from dataclasses import dataclass

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model, model_roles

from vlmguard.guard.defense.target import Target
from vlmguard.guard.errors import UserError
from vlmguard.guard.roles import defaults_for

__all__ = ["Helper"]


@dataclass(frozen=True)
class Helper:
    """The model in a role, if one is bound to it, else the target itself.

    So most defenses of this kind need no further model, and any of their questions can go to one.

    Attributes:
        name: The role, or `target`, as records name it.
        model: The model in the role; None for the target.
        target: The target.
    """

    name: str
    model: Model | None
    target: Target | None

    @classmethod
    def of(cls, role: str, target: Target | None, defense: str) -> "Helper":
        """The helper for a role.

        Args:
            role: Name of the role.
            target: The target; None if it is not at hand.
            defense: Name of the defense, for the error.

        Raises:
            UserError: Neither is there.
        """
        if role in model_roles():
            return cls(role, get_model(role=role, required=True), target)
        if target is None:
            raise UserError(
                f"{defense} puts a question to the target before its answer, and here only a "
                f"request is decided about, without a target. Bind a model to the role {role} "
                f"(--model-role {role}=MODEL)."
            )
        return cls("target", None, target)

    async def ask(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """Put a question, without the request's tools and settings.

        Args:
            messages: The question.
            config: Our settings, with a temperature and `max_tokens`; those that the user gave a
                role's model override them, and a target that thinks first gets its own limit.
        """
        if self.model is not None:
            return await self.model.generate(messages, config=defaults_for(self.model, config))
        assert self.target is not None  # `of` refuses a helper of neither
        return await self.target.ask(messages, config)
