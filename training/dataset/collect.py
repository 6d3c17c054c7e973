"""Collects kept rows from synthesis logs."""

import base64
import logging
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from inspect_ai.log import (
    EvalLog,
    EvalSample,
    list_eval_logs,
    read_eval_log,
    read_eval_log_samples,
)
from inspect_ai.model import ChatMessageUser

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError, from_data_uri, to_data_uri
from vlmguard.guard.messages import images_of
from vlmguard.guard.paths import existing
from vlmguard.training.dataset.fingerprints import Fingerprint, fingerprint
from vlmguard.training.dataset.items import Item
from vlmguard.training.synthesis.prompts import SynthesisRecord
from vlmguard.training.synthesis.scorer import add_costs, near_duplicates

logger = logging.getLogger(__name__)

TASK: Final = "synthesize"
SCORER: Final = "keep"
# Not read: these fields are most of a log, and no row needs them.
_UNREAD: Final = {"events", "messages", "output"}


@dataclass(frozen=True)
class KeptRow:
    """A row to export.

    Attributes:
        item: Id, image and request, for the leak check; `item.image` is a file with the image as
            the reasoner saw it.
        columns: The provenance columns of the data set.
    """

    item: Item
    columns: dict[str, Any]


@dataclass
class Collected:
    """The content of the logs.

    Attributes:
        rows: Kept rows, by id.
        read: Number of finished rows, kept or not.
        superseded: Number of rows of older logs that a newer log replaces.
        dropped: Number of rows dropped for each reason; a row may have several.
        cost: Calls, tokens, seconds and dollars by stage, over all finished rows.
        logs: A summary of each log, newest first.
        voided: Test sets from which rows were taken.
    """

    rows: list[KeptRow] = field(default_factory=list)
    read: int = 0
    superseded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    cost: dict[str, float] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)
    voided: set[str] = field(default_factory=set)


def collect_rows(paths: Iterable[Path], images: Path) -> Collected:
    """Read the kept rows of synthesis logs.

    A row that is in several logs (for example a log and its retry), with the same id, request and
    image, is taken from the newest one. Different rows with one id (for example from two files of
    the same name) are all kept and get new ids. Of an unfinished log, the finished rows are used.

    Args:
        paths: Log files, or folders of them.
        images: Folder for the images; each is written once.

    Returns:
        The rows and what became of the others.

    Raises:
        UserError: No log, a log of another task, a missing image, or no kept row.
    """
    collected = Collected()
    costs: list[dict[str, float]] = []
    seen: set[_Key] = set()
    unfinished: set[_Key] = set()
    # Exported ids, and the logs' ids if they differ.
    taken: set[str] = set()
    renamed: dict[str, str] = {}
    store = _ImageStore(images)
    for header in sorted(_headers(paths), key=lambda log: log.eval.created, reverse=True):
        if header.status != "success":
            logger.warning(
                "%s is not finished (%s): only its finished rows are used. Go on with "
                "`inspect eval-retry %s`.",
                *(header.location, header.status, header.location),
            )
        before = len(collected.rows)
        for sample in _samples(header):
            key = _key(sample)
            score = _score_metadata(sample)
            if score is None:
                unfinished.add(key)
                continue
            if key in seen:
                collected.superseded += 1
                continue
            seen.add(key)
            row_id = key.id
            if row_id in taken:
                row_id = _free_id(key.id, taken)
                renamed[row_id] = key.id
            taken.add(row_id)
            costs.append(score["cost"])
            collected.dropped.update(score["reasons"])
            if not score["reasons"]:
                collected.rows.append(_kept(sample, row_id, store))
        collected.voided.update((header.eval.metadata or {})["voided_test_sets"])
        collected.logs.append(_summary(header, len(collected.rows) - before))
    collected.read = len(seen)
    collected.cost = add_costs(costs)
    if left := len(unfinished - seen):
        collected.dropped["unfinished"] = left
        logger.warning("%d rows have failed. `inspect eval-retry LOG` tries them again.", left)
    if renamed:
        new, old = next(iter(renamed.items()))
        logger.warning(
            "%d rows have the id of another row with another request or image, and got new ones "
            "(%s is now %s). Files of different names keep the ids of their rows apart.",
            *(len(renamed), old, new),
        )
    _drop_twins(collected, renamed)
    if not collected.rows:
        listed = ", ".join(f"{why} {count}" for why, count in collected.dropped.most_common())
        raise UserError(f"The logs hold no kept row (dropped: {listed}). Synthesize more rows.")
    return collected


class _Key(NamedTuple):
    """The identity of a row across logs."""

    id: str
    request: str
    image: str


class _ImageStore:
    """A folder of image files; each image is written and fingerprinted once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prints: dict[Path, Fingerprint] = {}

    def add(self, uri: str, sha256: str) -> tuple[Path, Fingerprint]:
        # The bytes that the reasoner got, so that the rewriter sees the same picture.
        path = self.folder / sha256
        if path not in self._prints:
            self._prints[path] = fingerprint(from_data_uri(uri))
            path.write_bytes(base64.b64decode(uri.partition(",")[2]))
        return path, self._prints[path]


def _headers(paths: Iterable[Path]) -> list[EvalLog]:
    headers = []
    for path in paths:
        if existing(path, "file or folder").is_dir():
            found = [_header(info.name) for info in list_eval_logs(str(path))]
            headers += [log for log in found if log.eval.task_display_name == TASK]
        else:
            header = _header(str(path))
            if header.eval.task_display_name != TASK:
                raise UserError(
                    f"{path} is a log of {header.eval.task_display_name}. Give a log of {TASK}."
                )
            headers.append(header)
    if not headers:
        raise UserError(
            f"No log of {TASK} found. Make one with `inspect eval training/synthesize.py`."
        )
    for header in headers:
        if "voided_test_sets" not in (header.eval.metadata or {}):
            raise UserError(
                f"{header.location} is not from training/synthesize.py: it does not say which test "
                f"sets its rows come from. Leave it out."
            )
    # A log that is named, and is in a named folder too, counts once.
    return list({log.eval.eval_id + log.eval.created: log for log in headers}.values())


def _header(location: str) -> EvalLog:
    try:
        return read_eval_log(location, header_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{location}: cannot be read as a log ({error}). Leave it out, or move it elsewhere."
        ) from error


def _samples(header: EvalLog) -> Iterable[EvalSample]:
    if header.status == "started":
        # The run was killed: the log has no summary, only the samples written until then.
        log = read_eval_log(header.location, resolve_attachments=True, exclude_fields=_UNREAD)
        return log.samples or []
    return read_eval_log_samples(
        header.location,
        all_samples_required=False,
        resolve_attachments=True,
        exclude_fields=_UNREAD,
    )


def _key(sample: EvalSample) -> _Key:
    # If the image could not be read, only its path is known.
    image = sample.metadata.get("image_sha256") or sample.metadata["image_file"]
    return _Key(str(sample.id), _message(sample).text, image)


def _message(sample: EvalSample) -> ChatMessageUser:
    message = sample.input[0]
    assert isinstance(message, ChatMessageUser)
    return message


def _free_id(row_id: str, taken: Container[str]) -> str:
    number = 2
    while f"{row_id}~{number}" in taken:
        number += 1
    return f"{row_id}~{number}"


def _score_metadata(sample: EvalSample) -> dict[str, Any] | None:
    """Metadata of our newest score; None if the sample was not scored."""
    scores = [score for name, score in (sample.scores or {}).items() if name.startswith(SCORER)]
    return scores[-1].metadata if scores else None


def _kept(sample: EvalSample, row_id: str, images: _ImageStore) -> KeptRow:
    metadata, record = sample.metadata, SynthesisRecord.load(sample.metadata)
    message = _message(sample)
    try:
        (reference,) = images_of([message])
        uri = reference if reference.startswith("data:") else to_data_uri(metadata["image_file"])
        path, image_print = images.add(uri, metadata["image_sha256"])
    except (ImageError, ValueError) as error:
        raise UserError(
            f"{sample.id}: no image in the log (was it written with --no-log-images?) and none "
            f"at {metadata['image_file']} ({error}). Put the file back there."
        ) from error
    item = Item(
        row_id,
        metadata["image_id"],
        message.text,
        path,
        metadata["image_sha256"],
        image_print,
        metadata.get("pair"),
    )
    columns = {
        "id": item.id,
        "source": metadata["source"],
        "benign": metadata["benign"],
        "original": item.text,
        "rewritten": record.rewritten,
        "reasoning": record.reasoning,
        "image_id": item.image_id,
        "reasoner": record.reasoner,
        "templates": record.templates,
    }
    return KeptRow(item, columns)


def _summary(header: EvalLog, kept: int) -> dict[str, Any]:
    return {
        "file": Path(header.location).name,
        "eval_id": header.eval.eval_id,
        "created": header.eval.created,
        "status": header.status,
        "kept": kept,
        "task_version": header.eval.task_version,
        "options": {name: value for name, value in header.eval.task_args.items() if value},
        "packages": header.eval.packages,
    }


def _drop_twins(collected: Collected, renamed: Container[str]) -> None:
    rows = sorted(collected.rows, key=lambda row: row.item.id)
    # Rows that share an id by chance may share an image name by chance.
    images = [str(row.item.sha256) if row.item.id in renamed else row.item.image_id for row in rows]
    twins = near_duplicates(
        [
            (image, row.item.text, row.columns["rewritten"])
            for image, row in zip(images, rows, strict=True)
        ]
    )
    if twins:
        collected.dropped["near_duplicate"] = len(twins)
    collected.rows = [row for index, row in enumerate(rows) if index not in twins]
