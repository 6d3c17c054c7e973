"""`microworld/NAME`: the tiny models as an Inspect provider, on top of `hf-vlm/`.

NAME is a target (`qwen2-vl`, `llava`, ...), with or without a level of competence (`llava/high`),
`rewriter`, or `base` (the rewriter before fine-tuning). `oracle`, `noisy-oracle` and `reasoner` are
models without a network, see `oracle`. `-M strict=true` refuses what a tiny model cannot read (a
photo, other words) in place of an answer by guess, and leaves out earlier turns, see `reading`.
"""

from pathlib import Path
from typing import Any, Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError, check_type
from vlmguard.guard.roles import local_provider
from vlmguard.training.microworld.models.oracle import REPLIES, OracleAPI
from vlmguard.training.microworld.world.levels import DEFAULT, LEVELS

# In a clone the package is a link; logs and `microworld flags` show the folder itself.
WEIGHTS: Final = Path(__file__).resolve().parents[1] / "weights"

TARGETS: Final = ("qwen2-vl", "qwen2.5-vl", "llava", "internvl", "gemma3")
"""The targets; the first is the default."""

BATCH: Final = 128
"""Rows per batch: a step of a tiny model takes as long for one row as for a hundred."""

REWRITER: Final = "rewriter"
REWRITERS: Final = (REWRITER, "base")
AUXILIARIES: Final = ("detector", "detoxifier", "reward", "clip")


@modelapi(name=local_provider("microworld"))
def microworld() -> Any:
    """The microworld's models (torch is imported on first use)."""
    return _create


def checkpoint(name: str) -> Path:
    """Folder of a shipped model: a target, `rewriter`, `base`, or an auxiliary model.

    Raises:
        UserError: There is no such model, or it has not been built.
    """
    known = (*TARGETS, *REWRITERS, *AUXILIARIES)
    if name not in known:
        raise UserError(
            f"microworld/{name}: no such model.{did_you_mean(name, known)} Choose among: "
            f"{', '.join(known)}."
        )
    folder = WEIGHTS / name
    if not (folder / "model.safetensors").is_file():
        raise UserError(
            f"microworld/{name} is not in {WEIGHTS}. Build it: vlmguard microworld build {name}"
        )
    return folder


def _create(model_name: str, *, strict: bool = False, **arguments: Any) -> ModelAPI:
    check_type("-M strict", strict, bool)
    if model_name in REPLIES:
        return OracleAPI(model_name, **arguments)
    name, slash, level = model_name.partition("/")
    _check_name(model_name, name)
    if slash and name not in TARGETS:
        raise UserError(
            f"microworld/{model_name}: only targets have levels. Write microworld/{name}."
        )
    if slash and level not in LEVELS:
        raise UserError(
            f"microworld/{model_name}: no such level.{did_you_mean(level, LEVELS)} Choose: "
            f"{', '.join(LEVELS)}."
        )
    if name in TARGETS:
        level = level or DEFAULT
    from vlmguard.guard.hf_vlm.api import HFVlm
    from vlmguard.training.microworld.models.reading import readable

    class Microworld(HFVlm):
        """A tiny model; a system turn of one word tells it its level."""

        def __init__(self) -> None:
            super().__init__(str(checkpoint(name)), **{"max_batch_size": BATCH, **arguments})
            # Logs name the model, not its folder on this machine.
            self.model_name = model_name

        async def generate(
            self,
            input: list[ChatMessage],
            tools: list[ToolInfo],
            tool_choice: ToolChoice,
            config: GenerateConfig,
        ) -> tuple[ModelOutput, ModelCall]:
            if strict:
                input = readable(input).messages
            if level:
                said = [each.text for each in input if isinstance(each, ChatMessageSystem)]
                rest = [each for each in input if not isinstance(each, ChatMessageSystem)]
                system = ChatMessageSystem(content="\n\n".join([level, *said]))
                input = [system, *rest]
            return await super().generate(input, tools, tool_choice, config)

    return Microworld()


def _check_name(model_name: str, name: str) -> None:
    if name in AUXILIARIES:
        raise UserError(
            f"microworld/{model_name} is no chat model but one that defenses load from its folder. "
            f"Their options: vlmguard microworld flags {' or '.join(_users(name))}."
        )
    if name not in (*TARGETS, *REWRITERS):
        targets = [f"{target}[/LEVEL]" for target in TARGETS]
        raise UserError(
            f"microworld/{model_name}: no such model."
            f"{did_you_mean(name, (*TARGETS, *REWRITERS, *REPLIES))} Choose among: "
            f"{', '.join([*targets, *REWRITERS, *REPLIES])}."
        )


def _users(auxiliary: str) -> list[str]:
    """Defenses that load an auxiliary model."""
    return [
        card.name
        for card in cards().defenses.values()
        if auxiliary in {role.option for role in card.roles}
    ]
