"""A run continues from all that was saved, or it does not continue.

transformers saves a model with the names that checkpoints on the hub have. Its trainer reads such a
file with the model's own names and ignores weights that do not match (all, for most architectures),
and so continues from the base's weights. Here a checkpoint is loaded like any other, with
translated names, and no weight may be missing. Missing files are found before.
"""

from pathlib import Path
from typing import Any, Final

import peft

from vlmguard.guard.adapters import unmatched
from vlmguard.guard.aux_models.base import loading
from vlmguard.guard.errors import UserError

_NEEDED: Final = {
    "DeepSpeed": ("global_step*",),
    "FSDP": ("pytorch_model_fsdp*", "optimizer*", "scheduler.pt"),
    "neither FSDP nor DeepSpeed": ("*model*.safetensors", "optimizer.pt", "scheduler.pt"),
}
"""Files of a complete checkpoint, by the distribution of weights over processes. Without them, the
trainer would continue with new optimizer states, or fail later.
"""


def check_resumable(trainer: Any, checkpoint: Path) -> None:
    """Check that a checkpoint holds all that a run needs to continue from it.

    Args:
        trainer: The trainer that will continue.
        checkpoint: A complete checkpoint.

    Raises:
        UserError: It lacks weights or the states of optimizer and scheduler (it was written with
            `save_only_model`, or with another distribution of the weights), or the run changes its
            reference model (`sync_ref_model`), which checkpoints do not hold.
    """
    kind = "neither FSDP nor DeepSpeed"
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        kind = "FSDP" if trainer.is_fsdp_enabled else "DeepSpeed"
    absent = [name for name in _NEEDED[kind] if not any(checkpoint.glob(name))]
    if absent:
        raise UserError(
            f"{checkpoint} cannot be gone on from: it has no {', '.join(absent)}, which a run with "
            f"{kind} needs. It was saved with save_only_model, perhaps, or under another way of "
            "distributing the weights. Start as then, or choose another output_dir."
        )
    if trainer.args.to_dict().get("sync_ref_model"):
        raise UserError(
            f"{checkpoint} cannot be gone on from: checkpoints do not hold the reference model "
            "that sync_ref_model moves. Choose another output_dir, and leave sync_ref_model out."
        )


def load_weights(model: Any, checkpoint: Path) -> None:
    """Load a checkpoint's weights into a model that is complete in this process.

    Args:
        model: The bare model, or a `PeftModel`, of which checkpoints hold only the adapter.
        checkpoint: Folder of the checkpoint.

    Raises:
        UserError: It cannot be read, lacks weights of the model, or has others.
    """
    if isinstance(model, peft.PeftModel):
        with loading(str(checkpoint)):
            result = model.load_adapter(str(checkpoint), "default", is_trainable=True)
        _refuse_misfit(checkpoint, unmatched(result, "default"))
        return
    with loading(str(checkpoint)):
        try:
            saved, info = type(model).from_pretrained(
                checkpoint, dtype=model.dtype, output_loading_info=True
            )
        except RuntimeError as error:  # weights of the wrong shape
            raise UserError(_misfit(checkpoint, str(error)[:300])) from error
    _refuse_misfit(checkpoint, [*info["missing_keys"], *info["unexpected_keys"]])
    model.load_state_dict(saved.state_dict())


def _refuse_misfit(checkpoint: Path, keys: list[str]) -> None:
    if keys:
        raise UserError(_misfit(checkpoint, f"{len(keys)} names, such as {min(keys)}"))


def _misfit(checkpoint: Path, detail: str) -> str:
    return (
        f"{checkpoint} does not hold this model's weights: {detail}. Nothing was trained. Delete "
        "it, so that the run goes on from an earlier one, or choose another output_dir."
    )
