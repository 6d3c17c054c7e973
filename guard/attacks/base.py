"""What an attack is: a pure function of a request, its images and a seed.

An attack changes what a benchmark's user sends, never what the judge is told: sample and judge keep
the request as it was (`Sample.input`). Each attack is a function with options that returns the
attack, in a file of its own with its card:

    CARD: Final = AttackCard(name="shout", title="Capital letters", version="1-A", ...)

    @attack(CARD)
    def shout() -> Attack:
        def changed(given: AttackInput) -> AttackOutput:
            return AttackOutput(given.text.upper(), given.images, steps=("capital letters",))
        return changed

A static attack (`-T attack=NAME`) asks once. A search asks again until it succeeds, and a dialogue
goes on from the answers; both run as `--solver attack_loop -S attack=NAME`.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypeVar

from PIL import Image

from vlmguard.guard.cards import Role

__all__ = [
    "ATTACK",
    "Attack",
    "AttackCard",
    "AttackFailed",
    "AttackInput",
    "AttackOutput",
    "Dialogue",
    "Kind",
    "Try",
    "Turn",
    "attack",
    "attack_cards",
    "factory_of",
]

ATTACK: Final = "attack"
"""The key, in the metadata of a task and of a sample, of the attack."""

Kind = Literal["static", "search", "dialogue"]

T = TypeVar("T")


@dataclass(frozen=True)
class AttackCard:
    """An attack.

    Attributes:
        name: Its name in commands; `GROUP:NAME` for one of a group (`adaptive:R1`).
        title: Name of the method.
        version: `NUMBER-LETTER`; raised when its texts or pictures change.
        paper: Its publication; "ours" without one.
        summary: What it does, in one line.
        kind: `static` asks once, a `search` until it succeeds, a `dialogue` over several turns.
        tries: The most tries of `attack_loop`, unless the user sets a number.
        adaptive: Whether the worst of it counts as the adaptive attack success on a guard.
        draws: Whether it writes into pictures, so that the result depends on a font.
        on: The samples that it means: `risky` ones, harmless ones (`benign`), or `all`. It is
            applied to all of a run: those that it does not mean are its control.
        roles: Models that it asks, with their calls for one try.
        options: Options that matter most, for lists.
        fidelity: How closely it follows its authors.
        scorer: A scorer that a task under it has beside its own (`leak`); empty for none.
        closed: How it is closed by construction, and the test that shows it; empty if it is open.
    """

    name: str
    title: str
    version: str
    paper: str
    summary: str
    kind: Kind = "static"
    tries: int = 1
    adaptive: bool = False
    draws: bool = False
    on: Literal["risky", "benign", "all"] = "risky"
    roles: tuple[Role, ...] = ()
    options: tuple[str, ...] = ()
    fidelity: str = ""
    scorer: str = ""
    closed: str = ""


@dataclass(frozen=True)
class AttackInput:
    """A request to be attacked.

    Attributes:
        text: Text of the last user turn.
        images: Its pictures, mode RGB; they must not be changed in place.
        seed: Seed of all that is random; differs by sample and by try.
        sample_seed: Seed of what the tries of a sample share, such as the order of variants.
        number: Number of the try, from 1.
        meant: What the benchmark says is asked for, in plain words; the text if it says nothing.
        phrase: The key phrase that the benchmark's data state; empty without one.
        category: The sample's category.
        name: What errors call it (`Sample siuo/1001`).
    """

    text: str
    images: tuple[Image.Image, ...] = ()
    seed: int = 0
    sample_seed: int = 0
    number: int = 1
    meant: str = ""
    phrase: str = ""
    category: str = ""
    name: str = "the sample"

    def generator(self) -> random.Random:
        """A new generator, the same each time."""
        return random.Random(self.seed)

    def in_turn(self, what: str, variants: Sequence[T]) -> T:
        """A variant, drawn for the first try; each further try has the next, until all had a turn.

        Args:
            what: What varies; what has another name is drawn independently.
            variants: What to choose from, one at least.
        """
        chance = random.Random(f"{self.sample_seed}/{what}")
        order = chance.sample(list(variants), len(variants))
        return order[(self.number - 1) % len(order)]


@dataclass(frozen=True)
class Turn:
    """A turn before the last one.

    Attributes:
        role: Who says it.
        text: The words.
        images: The user's pictures.
    """

    role: Literal["user", "assistant"]
    text: str
    images: tuple[Image.Image, ...] = ()


@dataclass(frozen=True)
class AttackOutput:
    """What is sent in the place of the request.

    Attributes:
        text: Text of the last user turn.
        images: Its pictures. One that is the very object of the input is sent as it was.
        earlier: Turns before it, oldest first, behind those that the sample has.
        steps: What was done, in order, for people.
        notes: Facts for the log, plain values of JSON.
    """

    text: str
    images: tuple[Image.Image, ...] = ()
    earlier: tuple[Turn, ...] = ()
    steps: tuple[str, ...] = ()
    notes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Try:
    """A try of a loop that is over.

    Attributes:
        sent: What was sent.
        answer: What the user got.
        refused: Whether that was a refusal.
        success: Whether the answer does the harm; None if nobody could say.
    """

    sent: AttackOutput
    answer: str
    refused: bool
    success: bool | None


class AttackFailed(Exception):
    """A dialogue could not say what comes next: no success of the guard, so it is told apart.

    Args:
        reason: Why, in a word (`attacker_refused`, ...).
        reply: What the attacker said instead.
    """

    def __init__(self, reason: str, reply: str) -> None:
        super().__init__(f"{reason}: {reply[:200]}")
        self.reason = reason
        self.reply = reply


Attack: TypeAlias = Callable[[AttackInput], AttackOutput]
"""Changes a request; the same input gives the same output."""

Dialogue: TypeAlias = Callable[[AttackInput, Sequence[Try]], Awaitable[AttackOutput]]
"""Says what comes next, from what came before."""

Factory: TypeAlias = Callable[..., Attack] | Callable[..., Dialogue]

_CARDS: Final[dict[str, AttackCard]] = {}
_FACTORIES: Final[dict[str, Factory]] = {}


def attack(card: AttackCard) -> Callable[[Factory], Factory]:
    """Register the function that makes an attack of its options, under its card's name."""

    def register(factory: Factory) -> Factory:
        _CARDS[card.name] = card
        _FACTORIES[card.name] = factory
        return factory

    return register


def attack_cards() -> dict[str, AttackCard]:
    """The cards of all attacks, in the order of their names."""
    return {name: _CARDS[name] for name in sorted(_CARDS, key=_in_order)}


def factory_of(name: str) -> Factory:
    """The function that makes the attack of this name."""
    return _FACTORIES[name]


def _in_order(name: str) -> tuple[str, int]:
    """By the words, then by the number behind them: R2 comes before R10."""
    words = name.rstrip("0123456789")
    return words, int(name[len(words) :] or 0)
