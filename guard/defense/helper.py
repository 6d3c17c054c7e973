"""Who answers the questions that a defense has of its own."""

from dataclasses import dataclass

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, model_roles

from vlmguard.guard.defense.base import UnusableReply
from vlmguard.guard.defense.target import Target
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.refusals import is_refusal
from vlmguard.guard.roles import defaults_for, one_model
from vlmguard.guard.several_images import UNSUPPORTED, TooManyImages, generate_with_images
from vlmguard.guard.text.outputs import Output, read_output

__all__ = ["Helper", "unusable"]


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
            UserError: Neither is there, or several models are bound to the role.
        """
        if role in model_roles():
            return cls(role, one_model(role), target)
        if target is None:
            raise UserError(
                f"{defense} puts a question to the target before its answer, and here only a "
                f"request is decided about, without a target. Bind a model to the role {role} "
                f"(--model-role {role}=MODEL)."
            )
        return cls("target", None, target)

    @property
    def approximations(self) -> list[str]:
        """What a record says of its replies, see `Target`; nothing of a role's model."""
        return self.target.approximations if self.model is None and self.target else []

    async def ask(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """Put a question, without the request's tools and settings.

        Args:
            messages: The question.
            config: Our settings, with a temperature and `max_tokens`; those that the user gave a
                role's model override them, and a target that thinks first gets its own limit.

        Raises:
            TooManyImages: The role's model refused several images because they are several.
        """
        if self.model is not None:
            settings = defaults_for(self.model, config)
            return await generate_with_images(self.model, messages, settings)
        assert self.target is not None  # `of` refuses a helper of neither
        return await self.target.ask(messages, config)

    async def reply(
        self, name: str, messages: list[ChatMessage], config: GenerateConfig, record: DefenseRecord
    ) -> Output:
        """Put a question, note the call, and read what came.

        Args:
            name: What the call is for.
            messages: As for `ask`.
            config: As for `ask`.
            record: Where the call is noted.

        Returns:
            The reply, which may be none: see `unusable`.

        Raises:
            UnusableReply: The role's model takes fewer images (`unsupported_images`).
        """
        try:
            output = await self.ask(messages, config)
        except TooManyImages as refused:
            record.add_call(name, refused.output, self.name)
            raise UnusableReply(UNSUPPORTED, "") from refused
        record.add_call(name, output, self.name)
        return read_output(output)


def unusable(said: Output, reason: str) -> UnusableReply:
    """The failure that a reply is which is not in the requested form.

    Args:
        said: The reply.
        reason: What it lacks (`no_intent`). A reply that is `cut_off`, and one in which a model or
            its provider refuses (`refused`), are told apart from it.
    """
    if said.kind == "cut_off":
        reason = "cut_off"
    elif said.kind == "refusal" or is_refusal(said.text):
        reason = "refused"
    return UnusableReply(reason, said.text)
