"""What every guard model has in common: it reads an exchange and gives a verdict.

A guard model is known by the *format* in which it is asked and answers. Each format is a subclass
of `GuardModel` in a file of its own, whose docstring says where the format is confirmed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from inspect_ai.model import ChatMessage, GenerateConfig, Model

from vlmguard.guard.decision import Verdict
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.record import Stage
from vlmguard.guard.roles import defaults_for
from vlmguard.guard.text.outputs import read_output

__all__ = ["ChatGuard", "Checked", "Exchange", "GuardModel", "Side"]

Side = Literal["input", "output"]
"""What is checked: a request (`input`), or the answer to it (`output`)."""


@dataclass(frozen=True)
class Exchange:
    """A request, perhaps with its answer.

    Attributes:
        conversation: The conversation up to the last user turn, with its images.
        answer: The answer to check, without thinking; None to check the request.
    """

    conversation: Conversation
    answer: str | None = None

    @property
    def side(self) -> Side:
        """What is checked."""
        return "input" if self.answer is None else "output"


@dataclass(frozen=True)
class Checked:
    """A guard model's verdict, and the calls that gave it.

    Attributes:
        verdict: The verdict; of several images the most alarming one.
        stages: The calls, named `guard_input` or `guard_output`.
    """

    verdict: Verdict
    stages: tuple[Stage, ...] = field(repr=False)


class GuardModel(ABC):
    """A format of guard models; its options are arguments of the subclass.

    Attributes:
        name: Name of the format (`adapter`).
        sides: What it can check.
        images: What it sees of several images: `all` at once, `each` in a call of its own, or
            `none`.
    """

    name: ClassVar[str]
    sides: ClassVar[tuple[Side, ...]]
    images: ClassVar[Literal["all", "each", "none"]]

    @abstractmethod
    async def check(self, exchange: Exchange) -> Checked:
        """Check a request or an answer.

        Returns:
            The verdict; its label is None if the output cannot be read.
        """


class ChatGuard(GuardModel):
    """A guard model behind a chat API.

    Args:
        model: The model in the role `guard`.
    """

    settings: ClassVar[GenerateConfig]
    """Greedy, with the tokens that a verdict takes."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation that the guard model gets."""

    @abstractmethod
    def read(self, reply: str, side: Side) -> Verdict:
        """Read a reply, without its thinking."""

    async def check(self, exchange: Exchange) -> Checked:
        """Ask the model, and read its reply; a refusal or no reply is not a verdict."""
        output = await self.model.generate(
            self.messages(exchange), config=defaults_for(self.model, self.settings)
        )
        said = read_output(output)
        if said.is_answer:
            verdict = self.read(said.text, exchange.side)
        else:
            verdict = Verdict(raw=output.completion, label=None)
        stage = Stage.of(f"guard_{exchange.side}", output, ROLE)
        return Checked(verdict, (stage,))


ROLE: Final = "guard"
"""The role of a guard model (`--model-role guard=MODEL`)."""
