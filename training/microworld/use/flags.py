"""What a defense needs to be told in the microworld: where its models are, and its thresholds."""

from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.training.microworld.models.api import WEIGHTS
from vlmguard.training.microworld.models.calibrate import THRESHOLDS, is_calibrated, load_thresholds

MODELS: Final[dict[str, tuple[str, ...]]] = {
    "vlmguard": ("rewriter",),
    "eta": ("reward", "clip"),
    "mllm_protector": ("detector", "detoxifier"),
}
"""The models that a defense uses besides the target."""

_CALIBRATED: Final = ("eta", "mllm_protector")


def solver_options(solver: str, root: Path = WEIGHTS) -> dict[str, str | float | bool]:
    """Options for a solver.

    Args:
        solver: Its name, `eta` or `vlmguard/eta`.
        root: Folder of the models' folders.

    Returns:
        Value by option; empty for solvers that use no auxiliary model.

    Raises:
        UserError: The thresholds have not been set yet, or with other models.
    """
    name = solver.removeprefix("vlmguard/")
    if name not in _CALIBRATED:
        return {}
    way_out = "Build the auxiliary models: vlmguard microworld build"
    try:
        if not is_calibrated(root):
            raise UserError(
                f"{root / THRESHOLDS} is not there, or was set with other models than those beside "
                f"it, so {name} has no thresholds. {way_out}"
            )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not there. {way_out}") from error
    thresholds = load_thresholds(root)
    if name == "eta":
        return {
            "reward": str(root / "reward"),
            "clip": str(root / "clip"),
            "post_threshold": thresholds["reward"].value,
            "pre_threshold": thresholds["clip"].value,
            # Their provider stands on `hf-vlm/`, of which the solver knows that it continues.
            "continues": True,
        }
    return {
        "detector": str(root / "detector"),
        "detoxifier": str(root / "detoxifier"),
        "threshold": thresholds["detector"].value,
    }
