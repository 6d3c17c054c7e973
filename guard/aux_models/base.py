"""Auxiliary models of the defenses (CLIP, reward model, classifier), run in this process.

They are not chat models, so Inspect cannot run them. Each is loaded when it is first used and kept
for the rest of the process. One worker thread runs them all, so that the event loop never waits,
and two samples never load or use a model at the same time.
"""

import math
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from safetensors import SafetensorError

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.threads import result_of
from vlmguard.guard.paths import user_path
from vlmguard.guard.record import Stage

if TYPE_CHECKING:
    import torch

__all__ = [
    "Checkpoint",
    "Reading",
    "in_worker",
    "load_complete",
    "load_with_processor",
    "loading",
    "pickled",
    "place",
    "resolve_source",
    "split_revision",
]

P = ParamSpec("P")
T = TypeVar("T")

_WORKER: Final = ThreadPoolExecutor(1, "auxiliary")


@dataclass(frozen=True)
class Checkpoint:
    """Where an auxiliary model is and how to load it.

    Attributes:
        name: Folder or hub id.
        revision: Branch, tag or commit on the hub.
        device: `cpu`, `cuda`, `cuda:1`, ...; None for CUDA if there is a device, else the CPU.
        trust_remote_code: Whether the user consents to running the checkpoint's own code.
        base: For a PEFT adapter: folder, hub id or `HUB_ID@REVISION` of the base that replaces the
            one named in it.
    """

    name: str
    revision: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    base: str | None = None

    @classmethod
    def named(
        cls,
        typed: str,
        device: str | None = None,
        trust_remote_code: bool = False,
        base: str | None = None,
    ) -> "Checkpoint":
        """A checkpoint as the user typed it: a folder, a hub id, or `HUB_ID@REVISION`.

        Raises:
            UserError: As for `split_revision`.
        """
        return cls(*split_revision(typed), device, trust_remote_code, base)

    @property
    def source(self) -> str:
        """The folder if it exists, else the hub id."""
        return resolve_source(self.name)

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` needs to get this revision."""
        return {"revision": self.revision} if self.revision else {}


@dataclass(frozen=True)
class Reading:
    """An auxiliary model's values for one or several texts.

    Attributes:
        values: One number for each text.
        calls: Number of calls (a batch is one).
        input_tokens: Text tokens read; None if not known.
        output_tokens: Tokens written; None if not known.
        seconds: Time in the calls, without loading and queueing; None if not known.
        cut: Number of texts of which only the beginning was read.
    """

    values: list[float]
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    seconds: float | None
    cut: int = 0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in self.values):
            raise RuntimeError(f"An auxiliary model gave NaN or infinity: {self.values}.")

    def stage(self, name: str, role: str) -> Stage:
        """The entry for a `DefenseRecord`."""
        return Stage(
            name=name,
            role=role,
            output=" ".join(f"{value:.4f}" for value in self.values),
            calls=self.calls,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            seconds=self.seconds,
            cost=0.0,
        )


async def in_worker(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in the worker thread, after earlier ones."""
    return await result_of(_WORKER.submit(function, *args, **kwargs))


def resolve_source(name: str) -> str:
    """A folder as the user typed it, made absolute, or a hub id as it is.

    Raises:
        UserError: It looks like a path, but there is no such folder.
    """
    folder = user_path(name)
    if folder.is_dir():
        return str(folder)
    if _is_path(name):
        raise UserError(f"Checkpoint {name}: no such folder ({folder}).")
    return name


def split_revision(typed: str) -> tuple[str, str | None]:
    """Split a checkpoint as the user typed it: `HUB_ID@REVISION`, or a name alone.

    Args:
        typed: Folder or hub id; the latter may be followed by a branch, tag or commit.

    Returns:
        Name and revision; None without one. The name of a folder may hold an @ itself.

    Raises:
        UserError: There is nothing before or after the @, or a folder before it.
    """
    if user_path(typed).is_dir() or "@" not in typed:
        return typed, None
    name, _, revision = typed.partition("@")
    if not name or not revision:
        raise UserError(f"Checkpoint {typed}: write HUB_ID@REVISION, or HUB_ID alone.")
    if user_path(name).is_dir():
        raise UserError(
            f"Checkpoint {typed}: {name} is a folder here, and only a hub id has a revision. Leave "
            f"out @{revision}."
        )
    return (typed, None) if _is_path(name) else (name, revision)


def _is_path(name: str) -> bool:
    """Whether it cannot be a hub id, which is `NAME` or `OWNER/NAME`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Turn errors while loading a checkpoint into one error that says what to do."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(
            f"Checkpoint {name} cannot be loaded: a .safetensors file of it is broken, cut short "
            f"perhaps ({error}). Copy or download it again."
        ) from error
    except pickle.UnpicklingError as error:
        raise UserError(pickled(f"Checkpoint {name}")) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"Checkpoint {name} cannot be loaded: {error} Name a folder, or check the hub id, its "
            "revision, the network, and your access to gated repositories (HF_TOKEN)."
        ) from error


def pickled(what: str) -> str:
    """The message about weights in a pickle file (`.bin`, `.pt`) that holds more than tensors."""
    return (
        f"{what} cannot be loaded: its weights are a pickle file that holds more than tensors, "
        "which could run code of its author's. Convert it to safetensors where you trust it, or "
        "name a checkpoint with .safetensors files."
    )


def place(device: str | None) -> "tuple[torch.device, torch.dtype]":
    """Device and number format: bfloat16 on a GPU, float32 on the CPU."""
    import torch

    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return chosen, torch.float32 if chosen.type == "cpu" else torch.bfloat16


def load_complete(factory: Any, name: str, purpose: str, **arguments: Any) -> Any:
    """Load weights, and refuse an incomplete checkpoint.

    transformers fills gaps with random numbers and only warns. A causal LM loaded as a classifier
    would then judge by a random head.

    Args:
        factory: Class with `from_pretrained` (`AutoModelForSequenceClassification`, ...).
        name: Folder or hub id.
        purpose: The kind of model for error messages (`a harm classifier`).
        **arguments: For `from_pretrained`.

    Raises:
        UserError: It cannot be loaded, or weights are missing or have the wrong shape.
    """
    with loading(name):
        try:
            model, info = factory.from_pretrained(name, output_loading_info=True, **arguments)
        except RuntimeError as error:  # weights of the wrong shape
            raise UserError(f"Checkpoint {name} is not {purpose}: {str(error)[:300]}") from error
    absent = sorted(info["missing_keys"])
    if absent:
        raise UserError(
            f"Checkpoint {name} is not {purpose}: it has no weights for {', '.join(absent[:3])}, "
            "and random ones would answer at random. Name a checkpoint of that kind."
        )
    return model.eval()


def load_with_processor(
    checkpoint: Checkpoint, kind: str, purpose: str, model: Any, processor: Any, dtype: Any = None
) -> tuple[Any, Any]:
    """Load a model of one kind for texts and images, with its processor.

    Args:
        checkpoint: The checkpoint.
        kind: The kind, as `config.json` names it (`model_type`).
        purpose: The kind for error messages (`a CLIP model`).
        model: Class of the model.
        processor: Class of the processor.
        dtype: Number format; that of `place` by default.

    Returns:
        Model, on its device, and processor.

    Raises:
        UserError: It cannot be loaded, is of another kind, or lacks weights.
    """
    import transformers

    source, options = checkpoint.source, checkpoint.options
    device, usual = place(checkpoint.device)
    with loading(checkpoint.name):
        found = transformers.AutoConfig.from_pretrained(source, **options).model_type
        if found != kind:
            raise UserError(
                f"Checkpoint {checkpoint.name} is not {purpose} but of the kind {found}. Name one "
                f"whose config.json says {kind}."
            )
        made = processor.from_pretrained(source, **options)
    weights = load_complete(model, source, purpose, dtype=dtype or usual, **options)
    return weights.to(device), made
