"""MSTS's human labels: 4,000 answers of ten models, each called safe or unsafe by people.

Files, a row each: response_annotations/english_multimodal.csv has `case_id`, `prompt_type`
(prompt_assistance_text or prompt_intention_text), `model`, `response` and `final_label` (`1 - safe`
or `2 - unsafe`); the requests are those of `tasks/msts.py`.
"""

from pathlib import Path
from typing import Final, Literal

from inspect_ai.dataset import Sample
from pydantic import BaseModel

from vlmguard.guard.data_records import Text, read_records
from vlmguard.guard.data_source import Source
from vlmguard.guard.errors import UserError
from vlmguard.tasks import msts
from vlmguard.tasks.labelled import Label, LabelledSet

__all__ = ["labelled_answers"]

_MEANT: Final[dict[str, Label]] = {"1 - safe": "safe", "2 - unsafe": "unsafe"}


class Answer(BaseModel):
    """A row of the file of labels."""

    case_id: Text
    prompt_type: Literal["prompt_assistance_text", "prompt_intention_text"]
    model: Text
    response: Text
    final_label: Literal["1 - safe", "2 - unsafe"]


def labelled_answers(
    source: Source, pictures: Literal["shown", "described"], image_dir: str | None = None
) -> LabelledSet:
    """The answers with their labels, in the file's order.

    Args:
        source: MSTS's data.
        pictures: Whether requests come with their pictures, or say in words what these show.
        image_dir: Folder with the pictures; by default those of the data folder.

    Raises:
        UserError: A file, a folder or a field is missing or wrong, or a row has no request.
    """
    path = annotation(source)
    variant = "english" if pictures == "shown" else "english_text"
    loaded, source = msts.requests(source, variant, image_dir)
    requests = {str(each.id).rpartition("/")[2]: each for each in loaded}
    samples = []
    for number, row in enumerate(read_records(path, Answer), start=1):
        name = f"{row.case_id}-{row.prompt_type.split('_')[1]}"
        if (request := requests.get(name)) is None:
            raise UserError(
                f"{path}: row {number}: field 'case_id': there is no request {name} in "
                f"{msts.annotation(source, variant)}. Download both files again."
            )
        label = _MEANT[row.final_label]
        samples.append(
            Sample(
                id=f"msts/{name}/{row.model}",
                input=[turn.model_copy(deep=True) for turn in request.input],  # type: ignore[union-attr]
                target=label,
                metadata={
                    **(request.metadata or {}),
                    "subset": row.model,
                    "expected": "comply" if label == "safe" else "refuse",
                    "answer": row.response,
                },
            )
        )
    files = [path, msts.annotation(source, variant)]
    return LabelledSet(f"msts, pictures {pictures}", source, samples, files)


def annotation(source: Source) -> Path:
    """The file with the labels."""
    name = "response_annotations/english_multimodal.csv"
    return source.first_existing(f"data/{name}", name)
