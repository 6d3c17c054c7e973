"""Collects kept rows from synthesis logs, one by one."""

import base64
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import ChatMessageUser

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError, from_data_uri, to_data_uri
from vlmguard.guard.messages import images_of
from vlmguard.guard.progress import show_status, tracked
from vlmguard.training.dataset.duplicates import near_duplicates
from vlmguard.training.dataset.fingerprints import fingerprint
from vlmguard.training.dataset.kept_rows import KeptRows, Met
from vlmguard.training.dataset.logs import read_headers, read_rows
from vlmguard.training.dataset.sharded_logs import unfinished_shards, way_on
from vlmguard.training.synthesis.prompts import SynthesisRecord
from vlmguard.training.synthesis.scorer import add_costs

logger = logging.getLogger(__name__)

SCORER: Final = "keep"


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
        unfinished: Shards that are not there or not finished, with the rows that they are of.
    """

    rows: KeptRows
    read: int = 0
    superseded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    cost: dict[str, float] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)
    voided: set[str] = field(default_factory=set)
    unfinished: list[str] = field(default_factory=list)


def collect_rows(places: Iterable[Path | str], rows: KeptRows, folder: Path) -> Collected:
    """Read the kept rows of synthesis logs.

    A row that is in several logs (for example a log and its retry), with the same id, request and
    image, is taken from the newest one. Different rows with one id (for example from two files of
    the same name) are all kept and get new ids. Of an unfinished log, the finished rows are used.

    Args:
        places: Log files, or folders of them; or their URLs (`s3://...`).
        rows: Gets the kept rows; each image is written once.
        folder: Folder for what is noted of all rows meanwhile.

    Returns:
        The rows and what became of the others.

    Raises:
        UserError: No log, a log of another task, a missing image, or no kept row.
    """
    collected = Collected(rows)
    headers = read_headers(places)
    for header in headers:
        if header.status != "success":
            logger.warning(
                "%s is not finished (%s): only its finished rows are used. Go on with %s.",
                *(header.location, header.status, way_on([header])),
            )
    collected.unfinished = unfinished_shards(headers)
    with closing(_Identities(folder)) as met:
        _read_all(headers, collected, met)
    rows.sort()
    show_status("looking for near-duplicates ...")
    if twins := near_duplicates(rows.taught):
        collected.dropped["near_duplicate"] = len(twins)
        rows.drop(twins)
    if not len(rows):
        listed = ", ".join(f"{why} {count}" for why, count in collected.dropped.most_common())
        raise UserError(f"The logs hold no kept row (dropped: {listed}). Synthesize more rows.")
    return collected


def _read_all(headers: list[EvalLog], collected: Collected, met: "_Identities") -> None:
    total = sum(header.eval.dataset.samples or 0 for header in headers)
    samples = chain.from_iterable(map(_read_log, headers))
    kept: Counter[str] = Counter()
    for header, sample in tracked(samples, "reading rows", total):
        if _collect(sample, collected, met):
            kept[header.location] += 1
    for header in headers:
        collected.voided.update((header.eval.metadata or {})["voided_test_sets"])
        collected.logs.append(_summary(header, kept[header.location]))
    collected.read = len(met.finished)
    if left := met.left():
        collected.dropped["unfinished"] = left
        logger.warning("%d rows have failed: %s tries them again.", left, way_on(headers))
    if met.renamed:
        logger.warning(
            "%d rows have the id of another row with another request or image, and got new ones "
            "(%s is now %s). Files of different names keep the ids of their rows apart.",
            *(met.renamed, met.old, met.new),
        )


class _Key(NamedTuple):
    """The identity of a row across logs."""

    id: str
    request: str
    image: str


class _Identities:
    """The identities and the ids of the rows met so far."""

    def __init__(self, folder: Path) -> None:
        self.finished = Met(folder / "finished.sqlite")
        self.unfinished: set[_Key] = set()
        self._taken = Met(folder / "ids.sqlite")
        self.renamed = 0
        self.old = self.new = ""

    def close(self) -> None:
        """Close the files."""
        self.finished.close()
        self._taken.close()

    def left(self) -> int:
        """Number of rows that no log has finished."""
        return sum(self.finished.add(repr(tuple(key))) for key in self.unfinished)

    def free_id(self, row_id: str) -> str:
        """The id of a row, or a new one if another row has it."""
        found, number = row_id, 1
        while not self._taken.add(found):
            number += 1
            found = f"{row_id}~{number}"
        if number > 1:
            if not self.renamed:
                self.old, self.new = row_id, found
            self.renamed += 1
        return found


def _read_log(header: EvalLog) -> Iterator[tuple[EvalLog, EvalSample]]:
    for sample in read_rows(header):
        yield header, sample


def _collect(sample: EvalSample, collected: Collected, met: _Identities) -> bool:
    """Count a row, and add it if it is kept; returns whether it is."""
    key = _key(sample)
    score = _score_metadata(sample)
    if score is None:
        met.unfinished.add(key)
        return False
    if not met.finished.add(repr(tuple(key))):
        collected.superseded += 1
        return False
    row_id = met.free_id(key.id)
    collected.cost = add_costs([collected.cost, score["cost"]])
    collected.dropped.update(score["reasons"])
    if not score["reasons"]:
        _keep(sample, row_id, collected.rows, renamed=row_id != key.id)
    return not score["reasons"]


def _key(sample: EvalSample) -> _Key:
    # If the image could not be read, only its path is known.
    image = sample.metadata.get("image_sha256") or sample.metadata["image_file"]
    return _Key(str(sample.id), _message(sample).text, image)


def _message(sample: EvalSample) -> ChatMessageUser:
    message = sample.input[0]
    assert isinstance(message, ChatMessageUser)
    return message


def _score_metadata(sample: EvalSample) -> dict[str, Any] | None:
    """Metadata of our newest score; None if the sample was not scored."""
    scores = [score for name, score in (sample.scores or {}).items() if name.startswith(SCORER)]
    return scores[-1].metadata if scores else None


def _keep(sample: EvalSample, row_id: str, rows: KeptRows, *, renamed: bool) -> None:
    metadata, record = sample.metadata, SynthesisRecord.load(sample.metadata)
    message = _message(sample)
    sha256 = metadata["image_sha256"]
    try:
        (reference,) = images_of([message])
        uri = reference if reference.startswith("data:") else to_data_uri(metadata["image_file"])
        image = rows.image(sha256)
        if image is None:
            # The bytes that the reasoner got, so that the rewriter sees the same picture.
            content = base64.b64decode(uri.partition(",")[2])
            image = rows.add_image(sha256, content, fingerprint(from_data_uri(uri)))
    except (ImageError, ValueError) as error:
        raise UserError(
            f"{sample.id}: no image in the log (was it written with --no-log-images?) and none "
            f"at {metadata['image_file']} ({error}). Put the file back there."
        ) from error
    columns = {
        "id": row_id,
        "source": metadata["source"],
        "benign": metadata["benign"],
        "original": message.text,
        "rewritten": record.rewritten,
        "reasoning": record.reasoning,
        "image_id": metadata["image_id"],
        "reasoner": record.reasoner,
        "templates": record.templates,
    }
    rows.add(columns, image, metadata.get("pair"), renamed)


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
