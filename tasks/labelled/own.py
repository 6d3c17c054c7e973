"""A user's file with labels, in any of the forms of `tasks/vlm_safety.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.data_source import Source
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageRules
from vlmguard.guard.paths import user_path
from vlmguard.tasks.any_set.cards import card_of
from vlmguard.tasks.any_set.form import read_form
from vlmguard.tasks.any_set.preset import Preset
from vlmguard.tasks.any_set.rows import Row, as_text, columns_of, find, holds, read_rows
from vlmguard.tasks.any_set.samples import load_samples
from vlmguard.tasks.labelled import LABELS, LabelledSet

__all__ = ["ROLES", "labelled_file"]

ROLES: Final = {"text": "request", "image": "image", "answer": "answer", "label": "label"}
"""The columns that are read by default, by role; a file may lack `image` and `answer`."""

_WAY_OUT: Final = "Correct the file, or name the folder of its pictures: -T image_dir=."


def labelled_file(
    file: str,
    image_dir: str | None,
    columns: Mapping[str, Any] | None,
    labels: Mapping[Any, str] | None,
    images: ImageRules,
) -> LabelledSet:
    """Read a user's file.

    Args:
        file: A JSON list, JSON lines, CSV or Parquet.
        image_dir: Folder to which its picture paths are relative; that of the file by default.
        columns: The column of each role (`text`, `image`, `answer`, `label` and those of
            `vlm_safety`), where it is not that of `ROLES`.
        labels: What values of the label mean, `safe` or `unsafe`; by default these words.
        images: How pictures are prepared.

    Raises:
        UserError: The file or a column is missing, or a record is wrong; names the record.
    """
    path = user_path(file)
    rows = read_rows(path)
    named = {role: name for role, name in ROLES.items() if holds(rows, name)} | dict(columns or {})
    label, answer = named.pop("label", None), named.pop("answer", None)
    if {"image", "images"} <= named.keys() and "image" not in (columns or {}):
        del named["image"]
    for role, column in (("label", label), ("answer", answer)):
        if not (column is None and role == "answer") and not (
            isinstance(column, str) and holds(rows, column)
        ):
            raise UserError(
                f"{path}: no column '{column or role}' for the role {role}."
                f"{did_you_mean(column or role, columns_of(rows))} Its columns are: "
                f"{', '.join(columns_of(rows))}. Name it: -T map={{{role}: COLUMN}}."
            )
    meant = _meanings(labels)
    folder = user_path(image_dir) if image_dir else path.parent
    preset = read_form(
        Preset,
        {
            "name": path.stem,
            "obtain": _WAY_OUT,
            "file": str(path),
            "image_dir": str(folder),
            "map": named,
            # Labels are put in below.
            "expected": "care",
        },
        "-T",
    )
    preset.check_forms("-T")
    source = Source(card_of(preset), path.parent, folder.resolve(), "local", images)
    samples = load_samples(source, preset)
    for sample, row in zip(samples, rows, strict=True):
        said = _label(row, str(label), meant, path)
        sample.target = said
        sample.metadata = {
            **(sample.metadata or {}),
            "expected": "comply" if said == "safe" else "refuse",
            **({} if answer is None else {"answer": as_text(find(row.cells, answer))}),
        }
    form = {"map": named, "label": label, "answer": answer, "labels": meant}
    return LabelledSet(path.stem, source, samples, [path], form)


def _meanings(labels: Mapping[Any, str] | None) -> dict[str, str]:
    """What each value of the label means."""
    # YAML reads 1, true and the like as what they are.
    meant = {as_text(value): said for value, said in (labels or {}).items()}
    for value, said in meant.items():
        if said not in LABELS:
            raise UserError(f"-T labels: {value} means {said}, which is none of safe, unsafe.")
    return meant or {each: each for each in LABELS}


def _label(row: Row, column: str, meant: Mapping[str, str], path: Path) -> str:
    value = as_text(find(row.cells, column))
    if (label := meant.get(value)) is None:
        raise UserError(
            f"{path}: {row.name}: column '{column}' is {value!r}, which is none of "
            f"{', '.join(meant)}. Correct the row, or say what each value means: "
            f"-T 'labels={{{value or 'VALUE'}: unsafe, ...}}' (safe or unsafe)."
        )
    return label
