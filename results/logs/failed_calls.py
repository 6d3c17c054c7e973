"""Which call broke off a sample: the target's, the judge's or the guard's.

A sample's error is only a message. Whose it is stands in its events: the last call of a model that
failed, with its role.
"""

from typing import Final

from inspect_ai.event import ModelEvent
from inspect_ai.log import (
    EvalSample,
    EvalSampleSummary,
    read_eval_log,
    read_eval_log_samples_by_id,
)

from vlmguard.results.logs.answers import GRADER

TARGET_ERROR: Final = "target error"
JUDGE_ERROR: Final = "judge error"
OTHER_ERROR: Final = "error"
"""An error that no call of a model reported."""

_UNREAD: Final = set(EvalSample.model_fields) - {"id", "epoch", "input", "target", "events"}


def broken_off(path: str, summaries: list[EvalSampleSummary]) -> dict[tuple[str, int], str]:
    """Whose error ended each sample that has one.

    Args:
        path: The log.
        summaries: Its samples; only those with an error are read whole.

    Returns:
        `target error`, `judge error`, the error of another role (`rewriter error`), or `error` if
        no model's call failed; by id and epoch.
    """
    ended = [(each.id, each.epoch) for each in summaries if each.error]
    if not ended:
        return {}
    if path.endswith(".json"):
        samples = [each for each in read_eval_log(path).samples or [] if each.error]
    else:
        samples = read_eval_log_samples_by_id(path, ended, exclude_fields=_UNREAD)
    return {(str(each.id), each.epoch): _whose(each) for each in samples}


def _whose(sample: EvalSample) -> str:
    failed = [
        event
        for event in sample.events
        if isinstance(event, ModelEvent) and event.error is not None
    ]
    if not failed:
        return OTHER_ERROR
    role = failed[-1].role
    if role == GRADER:
        return JUDGE_ERROR
    return TARGET_ERROR if role is None else f"{role} error"
