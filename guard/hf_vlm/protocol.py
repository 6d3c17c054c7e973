"""What Inspect's process and an engine process say to each other."""

from dataclasses import dataclass, field
from typing import Any

from vlmguard.guard.hf_vlm.checkpoint_key import PromptSettings, WeightsKey
from vlmguard.guard.hf_vlm.vlm import User


@dataclass(frozen=True)
class Surroundings:
    """What a process takes over from the one that asked for it.

    Attributes:
        environment: Its variables.
        folder: Its current folder; empty if that is gone.
    """

    environment: dict[str, str] = field(repr=False)
    folder: str


@dataclass(frozen=True)
class CountDevices:
    """Asks a process for its number of CUDA devices; it answers with the number and ends."""

    surroundings: Surroundings


@dataclass(frozen=True)
class Start:
    """What an engine process begins with.

    Attributes:
        surroundings: As of the process that asks.
        key: The weights.
        prompts: How the first user makes prompts.
        max_batch_size: The most rows in a batch.
        image_cache_mib: Memory for features of images in MiB.
        replicas: How many processes share the processor cores.
        level: Log messages below this level are not sent.
    """

    surroundings: Surroundings
    key: WeightsKey
    prompts: PromptSettings
    max_batch_size: int
    image_cache_mib: int
    replicas: int
    level: int


@dataclass(frozen=True)
class Open:
    """Load the weights for one more user.

    Attributes:
        user: How it uses them.
    """

    user: User


@dataclass(frozen=True)
class Ask:
    """Call a method of a user's model.

    Attributes:
        method: Name of a method of `Vlm`.
        arguments: Its arguments.
    """

    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Request:
    """Something to be answered.

    Attributes:
        number: Its number in this connection.
        user: The user's number.
        what: What to do.
    """

    number: int
    user: int
    what: Open | Ask


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for the answer to a request any more."""

    number: int


@dataclass(frozen=True)
class Leave:
    """A user is gone, while others stay."""

    user: int


@dataclass(frozen=True)
class Ready:
    """The process has started.

    Attributes:
        pid: Its number.
    """

    pid: int


@dataclass(frozen=True)
class Reply:
    """The answer to a request.

    Attributes:
        number: Number of the request.
        result: What the method returned.
        error: What it raised; None if it returned.
    """

    number: int
    result: Any
    error: Exception | None = None


@dataclass(frozen=True)
class Logged:
    """A message of the engine process for Inspect's log."""

    logger: str
    level: int
    text: str
