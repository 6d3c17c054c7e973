"""What every guard model has in common: it reads an exchange and gives a verdict.

A guard model is known by the *format* in which it is asked and answers. Each format is a subclass
of `GuardModel` in a file of its own, whose docstring says where the format is confirmed; the table
of all stands in `formats.py`.

One rule for categories: a verdict names them in the model's own terms (`S1`, `Hate`), and so does
who chooses among them; where these are codes, `codes` says what they mean.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Literal

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from inspect_ai.util import collect

from vlmguard.guard.decision import Verdict
from vlmguard.guard.defense.conversation import Conversation, Skipped
from vlmguard.guard.guard_models.asked import ROLE, guard_model
from vlmguard.guard.messages import image_parts, with_images
from vlmguard.guard.record import Stage
from vlmguard.guard.roles import defaults_for, one_model
from vlmguard.guard.several_images import UNSUPPORTED, TooManyImages, generate_with_images
from vlmguard.guard.text.outputs import read_output
from vlmguard.guard.text.quotations import unquoted

__all__ = [
    "ROLE",
    "ChatGuard",
    "Checked",
    "Exchange",
    "GuardModel",
    "Reads",
    "Side",
    "views",
    "worst",
]

Side = Literal["input", "output"]
"""What is checked: a request (`input`), or the answer to it (`output`)."""

Reads = Literal["text", "image"]


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
        failure: Why there is no verdict: the kind of the output (`refusal`, `no_answer`),
            `no_verdict`, or `unsupported_images`; empty if there is one.
    """

    verdict: Verdict
    stages: tuple[Stage, ...] = field(repr=False)
    failure: str = ""


class GuardModel(ABC):
    """A format of guard models; its options are keyword arguments of the subclass.

    Attributes:
        name: Name of the format (`adapter`).
        version: `NUMBER-LETTER`; raised when verdicts of old and new must not be mixed.
        sides: What it can check.
        reads: What it sees of a request.
        images: What it sees of several images: `all` at once, `each` in a call of its own, or
            `none`.
        roles: Roles whose models it asks.
        scores: Whether its verdicts have a score.
        codes: What its categories mean, if they are codes.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1-A"
    sides: ClassVar[tuple[Side, ...]]
    reads: ClassVar[tuple[Reads, ...]] = ("text", "image")
    images: ClassVar[Literal["all", "each", "none"]]
    roles: tuple[str, ...] = (ROLE,)
    scores: bool = False
    codes: Mapping[str, str] = MappingProxyType({})

    async def ready(self) -> None:
        """Find its models, keys and weights, before anything is paid for.

        Raises:
            UserError: One is missing or unsuitable.
        """
        for role in self.roles:
            guard_model() if role == ROLE else one_model(role)

    def skipped(self, exchange: Exchange) -> Skipped:
        """Why there is nothing that it could look at (`no_image`, `empty`); empty if there is."""
        if "text" not in self.reads and not exchange.conversation.seen:
            return "no_image"
        silent = exchange.answer is None and not exchange.conversation.text.strip()
        return "empty" if "image" not in self.reads and silent else ""

    @abstractmethod
    async def check(self, exchange: Exchange) -> Checked:
        """Check a request or an answer.

        Returns:
            The verdict; its label is None if the output cannot be read.
        """

    def hazard(self, verdict: Verdict) -> str:
        """A verdict's categories for people (`violent crimes, hate`); empty if it names none."""
        return ", ".join(self.codes.get(category, category) for category in verdict.categories)


class ChatGuard(GuardModel):
    """A guard model behind a chat API.

    Args:
        model: The model; by default the one that `asked.guard_model` finds at each check, since
            roles are known within a run only.
    """

    settings: ClassVar[GenerateConfig]
    """Greedy, with the tokens that a verdict takes."""

    def __init__(self, model: Model | None = None) -> None:
        self._model = model

    @property
    def model(self) -> Model:
        """The guard model."""
        return self._model or guard_model()

    async def ready(self) -> None:
        """Find the model in the role `guard`, unless one was given."""
        if self._model is None:
            await super().ready()

    @abstractmethod
    def messages(self, exchange: Exchange) -> list[ChatMessage]:
        """The conversation that the guard model gets.

        Args:
            exchange: With the images that it is to see: all, one or none, as `images` says.
        """

    @abstractmethod
    def read(self, reply: str, side: Side) -> Verdict:
        """Read a reply, without its thinking."""

    async def check(self, exchange: Exchange) -> Checked:
        """Ask the model, for each image if it sees one, and read its replies.

        A refusal or no reply is not a verdict.
        """
        shown = views(exchange, self.images)
        return worst(await collect(*(self.ask(self.messages(view), view.side) for view in shown)))

    async def ask(self, messages: Sequence[ChatMessage], side: Side) -> Checked:
        """Put one question to the model, and read its reply.

        Args:
            messages: The conversation that it gets.
            side: What is checked.
        """
        model = self.model
        try:
            output = await generate_with_images(model, messages, defaults_for(model, self.settings))
        except TooManyImages as refused:
            verdict = Verdict(raw=refused.output.error or "", label=None)
            return Checked(verdict, (self._stage(side, refused.output),), UNSUPPORTED)
        said = read_output(output)
        stages = (self._stage(side, output),)
        if not said.is_answer:
            return Checked(Verdict(raw=output.completion, label=None), stages, said.kind)
        # The whole output stays in the verdict, thinking included.
        verdict = self._read(said.text, messages, side)
        verdict = verdict.model_copy(update={"raw": output.completion})
        return Checked(verdict, stages, "" if verdict.parsed else "no_verdict")

    def _read(self, reply: str, messages: Sequence[ChatMessage], side: Side) -> Verdict:
        """The verdict; one of which only a quotation made two is read if it says unsafe.

        Never if it says safe: a forged verdict must not become the only one.
        """
        verdict = self.read(reply, side)
        if verdict.parsed:
            return verdict
        own = self.read(unquoted(reply, (turn.text for turn in messages)), side)
        return own if own.label == "unsafe" else verdict

    @staticmethod
    def _stage(side: Side, output: ModelOutput) -> Stage:
        return Stage.of(f"guard_{side}", output, ROLE)


def views(exchange: Exchange, images: Literal["all", "each", "none"]) -> list[Exchange]:
    """What a guard model is shown: the exchange, once or for each image.

    Args:
        exchange: The exchange.
        images: `all` (the exchange as it is), `each` (a view for each image up to the request; the
            text alone if there is none), or `none` (the text alone).
    """
    if images == "all":
        return [exchange]
    conversation = exchange.conversation
    parts = image_parts(conversation.request) if images == "each" else []
    return [
        replace(
            exchange,
            conversation=replace(conversation, messages=with_images(conversation.messages, kept)),
        )
        for kept in ([[part] for part in parts] or [[]])
    ]


def worst(checks: Sequence[Checked]) -> Checked:
    """The most alarming of several checks (of an image each, usually), with the calls of all.

    Unsafe counts before no verdict, and no verdict before safe: what nobody read is not safe.

    Args:
        checks: One check or more.

    Returns:
        Label, failure and output of the most alarming check (of the first or the one with the
        highest score, if several are), the categories of all, and the highest score.
    """
    order = {"safe": 0, None: 1, "unsafe": 2}
    first = max(checks, key=lambda each: (order[each.verdict.label], each.verdict.score or 0.0))
    scores = [each.verdict.score for each in checks if each.verdict.score is not None]
    named = dict.fromkeys(name for each in checks for name in each.verdict.categories)
    update = {"categories": tuple(named), "score": max(scores, default=None)}
    return Checked(
        first.verdict.model_copy(update=update),
        tuple(stage for each in checks for stage in each.stages),
        first.failure,
    )
