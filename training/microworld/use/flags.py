"""The options of a defense in the microworld: paths of its models, and thresholds."""

from pathlib import Path

from vlmguard.guard.cards import DefenseCard, Role, cards
from vlmguard.guard.errors import UserError
from vlmguard.results.logs.answers import bare
from vlmguard.training.microworld.models.api import AUXILIARIES, REWRITER, WEIGHTS
from vlmguard.training.microworld.models.calibrate import (
    CLASSIFIERS,
    THRESHOLDS,
    is_calibrated,
    load_thresholds,
)


def runnable() -> list[str]:
    """The defenses that can run in the microworld.

    The tiny models learned their texts, and each of their roles has a tiny model, except where they
    can do without the role.
    """
    return [
        name
        for name, card in cards().defenses.items()
        if card.taught and len(models_of(name)) == len(_used_roles(card))
    ]


def models_of(solver: str) -> list[str]:
    """The tiny models that a solver uses besides the target; empty without a card."""
    card = cards().defenses.get(bare(solver))
    if card is None:
        return []
    # A chat model takes its role; another model takes the place of the checkpoint that an option
    # names.
    return [
        *(role.name for role in card.roles if role.name == REWRITER),
        *_auxiliaries(card),
    ]


def solver_options(solver: str, root: Path = WEIGHTS) -> dict[str, str | float]:
    """Options for a solver.

    Args:
        solver: Its name, with or without the package's name.
        root: Folder of the models' folders.

    Returns:
        Value by option; empty for solvers that use no auxiliary model.

    Raises:
        UserError: The thresholds have not been set yet, or with other models.
    """
    card = cards().defenses.get(bare(solver))
    if card is None or not _auxiliaries(card):
        return {}
    way_out = "Build the auxiliary models: vlmguard microworld build"
    try:
        if not is_calibrated(root):
            raise UserError(
                f"{root / THRESHOLDS} is not there, or was set with other models than those beside "
                f"it, so {card.name} has no thresholds. {way_out}"
            )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not there. {way_out}") from error
    thresholds = load_thresholds(root)
    return {name: str(root / name) for name in _auxiliaries(card)} | {
        check.option: thresholds[check.model].value
        for check in card.checks
        if check.model in CLASSIFIERS
    }


def _used_roles(card: DefenseCard) -> list[Role]:
    """Roles without which it does not run; in the place of some stands a checkpoint's option."""
    return [role for role in card.roles if role.needed or role.option is not None]


def _auxiliaries(card: DefenseCard) -> list[str]:
    """Options that name a checkpoint, if there is a tiny model of the same name."""
    return [role.option for role in card.roles if role.option in AUXILIARIES]
