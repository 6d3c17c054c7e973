"""Samples that a task left out, since their images do not exist: its log names them."""

from typing import Any, Final

from inspect_ai.log import EvalLog

from vlmguard.guard.record import LEFT_OUT
from vlmguard.results.logs.answers import Row

MISSING_IMAGE: Final = "missing image"
"""The reason of their missing scores."""


def answers_without_images(log: EvalLog) -> tuple[list[Row], list[str]]:
    """The answers that a run lacks, since images are missing.

    Args:
        log: The header.

    Returns:
        A row for each, with what is known of the sample and no score; and remarks. A run of a part
        of the samples has no such rows: nobody knows which of them would have been in that part.
    """
    data: Any = (log.eval.metadata or {}).get("data")
    left_out: dict[str, dict[str, str]] = data.get(LEFT_OUT, {}) if isinstance(data, dict) else {}
    config = log.eval.config
    if not left_out:
        return [], []
    if config.limit is not None or config.sample_id is not None:
        return [], [
            f"{len(left_out)} samples of the whole set lack their images; they are not counted in "
            f"this part of it"
        ]
    rows: list[Row] = [
        {
            "sample": sample,
            "epoch": epoch,
            "cluster": sample,
            "category": about.get("category", ""),
            "slice": about.get("subset", ""),
            "expected": about.get("expected", ""),
            "error": "",
            "failed": MISSING_IMAGE,
        }
        for sample, about in left_out.items()
        for epoch in range(1, (config.epochs or 1) + 1)
    ]
    return rows, [f"{len(left_out)} samples lack their images and count as unscored"]
