"""What a local model can be asked for, wherever its weights are: no torch is needed to ask."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final

from inspect_ai.model import ChatMessage, GenerateConfig, ModelCall, ModelOutput

from vlmguard.guard.hf_vlm.checkpoint_key import PromptSettings

DEFAULT_BATCH_SIZE: Final = 32

MEBIBYTE: Final = 1 << 20
DEFAULT_MEBIBYTES: Final = 256
"""Memory for features of images: about 27 of a million pixels each with Qwen2-VL-7B."""

CLOSED: Final = "this hf-vlm/ model was closed"


@dataclass(frozen=True)
class User:
    """How one model object uses a set of weights.

    Attributes:
        model: Name of the model in outputs.
        prompts: How prompts are made.
        adapter: Folder or hub id of the adapter; None for the base alone.
        max_batch_size: The most rows in a batch; the smallest of all users counts.
        image_cache_mib: Memory for features of images in MiB; likewise.
    """

    model: str
    prompts: PromptSettings = field(default_factory=PromptSettings)
    adapter: str | None = None
    max_batch_size: int = DEFAULT_BATCH_SIZE
    image_cache_mib: int = DEFAULT_MEBIBYTES


@dataclass(frozen=True)
class Answer:
    """The answer to a conversation.

    Attributes:
        output: Inspect's output.
        call: The call, for the log.
        notes: What was changed in the conversation, to warn of once.
    """

    output: ModelOutput
    call: ModelCall
    notes: list[str]


class Vlm(ABC):
    """One user's model: weights with an adapter and settings."""

    @abstractmethod
    def load(self) -> None:
        """Load the weights if they are not loaded; this blocks.

        Raises:
            UserError: They cannot be loaded, or do not work here.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise a RuntimeError if it takes no more requests."""

    @abstractmethod
    async def generate(self, messages: list[ChatMessage], config: GenerateConfig) -> Answer:
        """Answer a conversation.

        Raises:
            UserError: The conversation holds what the model cannot read.
            ImageError: An image cannot be decoded.
        """

    @abstractmethod
    async def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""

    @abstractmethod
    async def check_size(self, width: int, height: int) -> None:
        """Check that the processor accepts an image of this size, in pixels.

        Raises:
            UserError: It does not.
        """

    @abstractmethod
    async def check_contrast(self) -> None:
        """Refuse a model whose readings cannot be combined.

        Raises:
            UserError: It has a text encoder, or a rule that keeps the prompt.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the weights back; the last user frees them."""
