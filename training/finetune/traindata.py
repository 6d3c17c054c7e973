"""Loads an export, checks it before a model is loaded, and shows its rows as inference does.

A training row must look to the model exactly like a request at inference. So when a row is fetched,
texts and images go through the same steps as in the `hf-vlm/` model API: control tokens that a text
spells are broken up, unusual images are converted to plain RGB. The export itself is not changed.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import datasets
from PIL import Image

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_bytes, read_json
from vlmguard.guard.images.decoding import plain_picture
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri
from vlmguard.guard.rewriter.forms import take_blocks
from vlmguard.guard.rewriter.prompts import PROMPTS, RewritePrompt
from vlmguard.guard.text.control_tokens import break_up
from vlmguard.guard.text.reading import to_read
from vlmguard.guard.text.untrusted import well_formed
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.export_folder import export_folder

logger = logging.getLogger(__name__)

COLUMNS: Final = ("images", "prompt", "completion", "id", "benign", "original", "rewritten")

Transform = Callable[[dict[str, Any]], dict[str, Any]]
"""Changes a batch: lists by column name."""


@dataclass
class TrainingData:
    """The rows of a run.

    Attributes:
        train: Rows to learn from.
        validation: Rows to evaluate on; None without evaluation.
        targets: `reasoning` or `direct`.
        prompt: Version of the rewriter's prompt in the rows.
        drop_reasoning: Whether the rows have reasoning but the targets do not, so that
            `as_inference_shows` must leave it out.
        provenance: The export's `provenance.json`.
        sha256: Identity of the export and the targets: 12 hex digits.
    """

    train: datasets.Dataset
    validation: datasets.Dataset | None
    targets: str
    prompt: int
    drop_reasoning: bool
    provenance: dict[str, Any]
    sha256: str


def load_training_data(config: TrainConfig, *, evaluated: bool) -> TrainingData:
    """Load the export and refuse rows that must not be trained on.

    Args:
        config: The run.
        evaluated: Whether the run evaluates, so that a validation split is needed.

    Returns:
        The rows as exported, and what the run teaches.

    Raises:
        UserError: No such export, a missing column, an empty split, leaks, or targets that the
            export does not hold.
    """
    folder = export_folder(config.data)
    provenance, digest = _read_provenance(folder)
    check_leaks(provenance, folder, strict_text=config.strict_text)
    names = ["train", "validation"] if evaluated else ["train"]
    rows = {name: _load_split(folder, name) for name in names}
    held = provenance.get("targets", "reasoning")
    targets = config.targets or held
    if targets == "reasoning" and held == "direct":
        raise UserError(
            f"targets: reasoning, but {folder} was exported without reasoning. Export it again "
            "with reasoning, or train with `targets: direct`."
        )
    if targets != held:
        for split in rows.values():
            _check_reasoning_asked(split, folder)
    prompt = _prompt(provenance, folder)
    _check_template(rows["train"], prompt, held, folder)
    return TrainingData(
        train=rows["train"],
        validation=rows.get("validation"),
        targets=targets,
        prompt=prompt.version,
        drop_reasoning=targets != held,
        provenance=provenance,
        sha256=hashlib.sha256(f"{digest} {targets}".encode()).hexdigest()[:12],
    )


def check_leaks(provenance: dict[str, Any], folder: Path, *, strict_text: bool) -> None:
    """Refuse training rows that occur in a test set.

    Args:
        provenance: The export's `provenance.json`. Its `leaks` lists leaks among the rows under
            `images`, `pairs` and `texts`, images that `--leak-key pair` allowed under
            `shared_images`, and test sets under `checked` and `unchecked`.
        folder: The export, for messages.
        strict_text: Whether a text alone is refused, too.

    Raises:
        UserError: An image or a pair (with `strict_text`, a text) of a test set.
    """
    leaks = provenance.get("leaks")
    if leaks is None or leaks.get("checked") == {}:
        logger.warning(
            "%s: nobody has compared these rows with the test sets. Export again with test sets "
            "named, or results on them may be worth nothing.",
            folder,
        )
        leaks = leaks or {}
    elif leaks.get("unchecked"):
        logger.warning(
            "%s: nobody has compared these rows with %s. Export again with them in --test-sets, "
            "or results on them may be worth nothing.",
            folder,
            ", ".join(leaks["unchecked"]),
        )
    counts = {
        kind: len(leaks.get(kind, [])) for kind in ("images", "pairs", "texts", "shared_images")
    }
    blocking = ["images", "pairs", "texts"] if strict_text else ["images", "pairs"]
    found = [f"{counts[kind]} {kind}" for kind in blocking if counts[kind]]
    if found:
        raise UserError(
            f"data: {folder} shares {' and '.join(found)} with test sets (see leaks in its "
            "provenance.json). Results on those sets would be worth nothing. Export again without "
            "these rows."
        )
    if counts["texts"]:
        logger.warning(
            "%s: %d texts also occur in a test set, with other images. They do not block "
            "(--strict-text makes them).",
            folder,
            counts["texts"],
        )
    if counts["shared_images"]:
        logger.warning(
            "%s: %d images are in a test set, too, with other requests; the export let them pass "
            "(--leak-key pair).",
            folder,
            counts["shared_images"],
        )


def as_inference_shows(control_tokens: tuple[str, ...], *, drop_reasoning: bool) -> Transform:
    """A transform for `Dataset.with_transform`: rows as the `hf-vlm/` model API shows them.

    Args:
        control_tokens: Strings that the tokenizer reads as turn markers, ends or images.
        drop_reasoning: Whether to ask for the rewrite alone, although the rows ask for reasoning.

    Returns:
        The transform of a batch of columns; its images are decoded.
    """

    def shown_prompt(text: str) -> str:
        if drop_reasoning:
            for prompt in PROMPTS.values():
                text = text.replace(prompt.reasoning, prompt.direct)
        return break_up(well_formed(text), control_tokens)

    def shown_reply(text: str) -> str:
        text = take_blocks(text, "reasoning")[1].lstrip() if drop_reasoning else text
        return break_up(well_formed(text), control_tokens)

    def transform(batch: dict[str, Any]) -> dict[str, Any]:
        shown = dict(batch)
        if "images" in batch:
            shown["images"] = [[_plain(image) for image in images] for images in batch["images"]]
        for column, change in (("prompt", shown_prompt), ("completion", shown_reply)):
            if column in batch:
                shown[column] = [_map_text(turns, change) for turns in batch[column]]
        return shown

    return transform


def _read_provenance(folder: Path) -> tuple[dict[str, Any], str]:
    file = folder / "provenance.json"
    data = read_bytes(file)
    provenance = read_json(file, "Write the folder again with `vlmguard export`.")
    if not isinstance(provenance, dict):
        raise UserError(f"data: {file} must hold a JSON object.")
    return provenance, hashlib.sha256(data).hexdigest()


def _load_split(folder: Path, name: str) -> datasets.Dataset:
    if not (folder / name).is_dir():
        raise UserError(
            f"data: {folder} has no split `{name}`. Write the folder with `vlmguard export`"
            + (", or set `eval_strategy: no`." if name == "validation" else ".")
        )
    try:
        split: Any = datasets.load_from_disk(str(folder / name))
    except IndexError:  # for an empty split
        split = datasets.Dataset.from_dict({})
    except (OSError, ValueError) as error:
        raise UserError(
            f"data: split `{name}` of {folder} is no data set ({error}). Write the folder with "
            "`vlmguard export`."
        ) from error
    if not len(split):
        way_out = ", or set `eval_strategy: no`." if name == "validation" else "."
        raise UserError(f"data: split `{name}` of {folder} is empty. Export more rows{way_out}")
    missing = [column for column in COLUMNS if column not in split.column_names]
    if missing:
        raise UserError(
            f"data: split `{name}` of {folder} lacks the column(s) {', '.join(missing)}. Write it "
            "with `vlmguard export`."
        )
    return split


def _check_reasoning_asked(split: datasets.Dataset, folder: Path) -> None:
    """Refuse prompts from which the request for reasoning cannot be removed."""
    for turns in split.select_columns("prompt").with_format("arrow")[:]["prompt"].to_pylist():
        texts = [part["text"] for turn in turns for part in turn["content"] if part["text"]]
        if not any(prompt.reasoning in text for prompt in PROMPTS.values() for text in texts):
            raise UserError(
                f"targets: direct, but the prompts of {folder} were made with another wording. "
                "Export them again with `--targets direct`."
            )


def _prompt(provenance: dict[str, Any], folder: Path) -> RewritePrompt:
    """The rewriter's prompt in the rows; exports without a version have the first."""
    version = provenance.get("rewriter_prompt", 1)
    if version not in PROMPTS:
        raise UserError(
            f"data: {folder / 'provenance.json'} names version {version!r} of the rewriter's "
            f"prompt, which is not known here ({', '.join(map(str, PROMPTS))} are). Export again."
        )
    return PROMPTS[version]


def _check_template(
    split: datasets.Dataset, prompt: RewritePrompt, targets: str, folder: Path
) -> None:
    """Warn if the rows have another wording than inference uses."""
    row = split.select_columns(["prompt", "original"])[0]
    wanted = prompt.text(
        request=to_read(row["original"]),
        conversation="",
        reasoning=targets == "reasoning",
        images=1,
    )
    texts = [part["text"] for turn in row["prompt"] for part in turn["content"] if part["text"]]
    if wanted not in texts:
        logger.warning(
            "%s: the prompts differ from the rewriter's present template. Use the same wording at "
            "inference (-S template=FILE), or export again.",
            folder,
        )


def _plain(image: Image.Image) -> Image.Image:
    """The picture that inference makes from the same file."""
    picture, changed = plain_picture(image.copy(), "srgb")
    if not changed:
        return picture.convert("RGB")
    # Inference encodes these again too, large ones with loss.
    return from_data_uri(to_data_uri(image))


def _map_text(turns: list[dict[str, Any]], change: Callable[[str], str]) -> list[dict[str, Any]]:
    return [
        {
            **turn,
            "content": [
                {**part, "text": change(part["text"])} if part["type"] == "text" else part
                for part in turn["content"]
            ],
        }
        for turn in turns
    ]
