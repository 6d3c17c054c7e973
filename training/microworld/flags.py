"""What a defense needs to be told in the microworld: where its models are, and its thresholds."""

from pathlib import Path

from vlmguard.errors import UserError
from vlmguard.training.microworld.api import WEIGHTS
from vlmguard.training.microworld.calibrate import FILE, load_thresholds


def solver_options(solver: str, root: Path = WEIGHTS) -> dict[str, str | float]:
    """Options for a solver.

    Args:
        solver: Its name, `eta` or `vlmguard/eta`.
        root: Folder of the models' folders.

    Returns:
        Value by option; empty for solvers that use no auxiliary model.

    Raises:
        UserError: The thresholds have not been set yet.
    """
    name = solver.removeprefix("vlmguard/")
    if name not in ("eta", "mllm_protector"):
        return {}
    try:
        thresholds = load_thresholds(root)
    except FileNotFoundError as error:
        raise UserError(
            f"{root / FILE} is not there, so {name} has no thresholds. Build the auxiliary models: "
            "vlmguard microworld build"
        ) from error
    if name == "eta":
        return {
            "reward": str(root / "reward"),
            "clip": str(root / "clip"),
            "post_threshold": thresholds["reward"].value,
            "pre_threshold": thresholds["clip"].value,
        }
    return {
        "detector": str(root / "detector"),
        "detoxifier": str(root / "detoxifier"),
        "threshold": thresholds["detector"].value,
    }
