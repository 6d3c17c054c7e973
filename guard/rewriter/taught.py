"""Reads and writes which version of the rewriter's prompt a model was trained with.

`vlmguard train` writes a `rewriter.json` beside the weights. A model API that reads weights from a
folder can tell the version. For a served model, or one on the hub, it is not known.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from inspect_ai.model import ModelAPI

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json
from vlmguard.guard.rewriter.prompts import PROMPTS

__all__ = ["STATEMENT", "TrainedModel", "read_statement", "taught_prompt", "write_statement"]

STATEMENT: Final = "rewriter.json"


class TrainedModel(ABC):
    """A model API that knows the folder of its weights."""

    @abstractmethod
    def weights_folder(self) -> Path | None:
        """The folder of the adapter, else of the checkpoint; None if it is on the hub."""


def taught_prompt(api: ModelAPI) -> int | None:
    """The version of the prompt that a model was trained with; None if it is not known.

    Raises:
        UserError: The statement cannot be read, or names an unknown version.
    """
    folder = api.weights_folder() if isinstance(api, TrainedModel) else None
    return None if folder is None else read_statement(folder)


def read_statement(folder: Path) -> int | None:
    """The version that the folder of some weights states; None if it states no version.

    Raises:
        UserError: As for `taught_prompt`.
    """
    file = folder / STATEMENT
    if not file.is_file():
        return None
    said = read_json(file, "`vlmguard train` writes it.")
    version = said.get("prompt") if isinstance(said, dict) else None
    if version not in PROMPTS:
        known = ", ".join(map(str, PROMPTS))
        raise UserError(
            f"{file}: prompt is {version!r}, but known are the versions {known} of the rewriter's "
            "prompt. Use the version of vlmguard that trained this model."
        )
    return int(version)


def write_statement(folder: Path, version: int) -> None:
    """Write beside weights the version of the prompt in the rows that they were trained on."""
    (folder / STATEMENT).write_text(json.dumps({"prompt": version}) + "\n", encoding="utf-8")
