"""Reads the prompts of finished samples from logs of `adashield_pool`."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from inspect_ai.log import EvalSample, read_eval_log

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError
from vlmguard.guard.log_errors import readable
from vlmguard.guard.messages import images_of
from vlmguard.training.adashield.refine import PromptRecord, sent_image
from vlmguard.training.dataset.logs import headers_of
from vlmguard.training.synthesis.scorer import add_costs, cost_by_stage

logger = logging.getLogger(__name__)

TASK: Final = "adashield_pool"
# What all logs of one pool share.
_SAME: Final = ("benchmark", "variant", "split", "drawn", "rules")
_UNREAD: Final = {"events", "messages", "output", "store"}


@dataclass
class Found:
    """What the logs hold.

    Attributes:
        made: What the task says of its data.
        kept: Records whose prompts go into the pool, by sample.
        dropped: Numbers of the others, by reason.
        samples: The samples, by id.
        logs: A summary of each log.
        cost: Calls, tokens, seconds and dollars by stage.
    """

    made: dict[str, Any]
    kept: dict[str, PromptRecord] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, EvalSample] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


def collect_prompts(places: Sequence[Path | str]) -> Found:
    """Read logs of one drawing.

    Args:
        places: Log files, or folders of them, or their URLs (`s3://...`). Of an unfinished log, the
            finished samples are used; of a sample in several logs the newest counts.

    Raises:
        UserError: No log, a log of another task, or logs of different drawings.
    """
    found: Found | None = None
    costs = []
    headers = headers_of(TASK, places, f"inspect eval vlmguard/{TASK}")
    for header in sorted(headers, key=lambda log: log.eval.created, reverse=True):
        made = header.eval.metadata or {}
        if found is None:
            found = Found(made)
        elif any(made.get(name) != found.made.get(name) for name in _SAME):
            raise UserError(
                f"{header.location} was made from other samples or rules than the newest log. Name "
                "logs of one drawing."
            )
        if header.status != "success":
            logger.warning(
                "%s is not finished (%s). Go on with `inspect eval-retry %s`.",
                *(header.location, header.status, header.location),
            )
        with readable(header.location):
            log = read_eval_log(header.location, resolve_attachments=True, exclude_fields=_UNREAD)
        used = 0
        for sample in log.samples or []:
            name = str(sample.id)
            if name in found.samples:
                continue
            if sample.error is not None or not sample.scores:
                continue
            record = PromptRecord.load(sample.metadata)
            used += 1
            found.samples[name] = sample
            costs.append(cost_by_stage(record.stages))
            if record.drop is None:
                found.kept[name] = record
            else:
                found.dropped[record.drop] += 1
        found.logs.append(
            {
                "file": Path(header.location).name,
                "eval_id": header.eval.eval_id,
                "created": header.eval.created,
                "status": header.status,
                "samples": used,
                "task_version": header.eval.task_version,
                "packages": header.eval.packages,
            }
        )
    assert found is not None  # `headers_of` refuses to find nothing
    if left := len({*found.made["drawn"]["train"]} - found.samples.keys()):
        found.dropped["unfinished"] = left
    found.kept = dict(sorted(found.kept.items()))
    found.cost = add_costs(costs)
    return found


def image_of(sample: EvalSample) -> str:
    """The image of a training sample, as a data URI.

    Raises:
        UserError: It is neither in the log nor in its file.
    """
    (reference,) = images_of(sample.input)
    if reference.startswith("data:"):
        return reference
    try:
        return sent_image(sample.metadata["image_file"])
    except ImageError as error:
        raise UserError(
            f"{sample.id}: no image in the log (was it written with --no-log-images?), and "
            f"{error}. Put the file back there."
        ) from error


def query_of(sample: EvalSample) -> str:
    """The words of a training sample's request."""
    assert not isinstance(sample.input, str)
    return sample.input[-1].text


def scenario_of(sample: EvalSample) -> str:
    """The scenario of a training sample."""
    return str(sample.metadata["scenario"])
