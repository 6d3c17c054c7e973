"""Which call broke off a sample: the target's, the judge's or the guard's.

A sample's error is only a message. Whose it is stands in its events: the last call of a model that
failed, with its role.
"""

from typing import Any, Final

from vlmguard.results.logs.answers import GRADER
from vlmguard.results.logs.archive import LogFile
from vlmguard.results.logs.summaries import Summary

TARGET_ERROR: Final = "target error"
JUDGE_ERROR: Final = "judge error"
OTHER_ERROR: Final = "error"
"""An error that no call of a model reported."""


def broken_off(log: LogFile, summaries: list[Summary]) -> dict[tuple[str, int], str]:
    """Whose error ended each sample that has one.

    Args:
        log: The log.
        summaries: Its samples; only those with an error are read whole.

    Returns:
        `target error`, `judge error`, the error of another role (`rewriter error`), or `error` if
        no model's call failed; by id and epoch.
    """
    return {
        (str(each.id), each.epoch): _whose(log.sample(each.id, each.epoch))
        for each in summaries
        if each.error
    }


def _whose(sample: dict[str, Any]) -> str:
    failed = [
        event
        for event in sample.get("events", ())
        if event.get("event") == "model" and event.get("error") is not None
    ]
    if not failed:
        return OTHER_ERROR
    role = failed[-1].get("role")
    if role == GRADER:
        return JUDGE_ERROR
    return TARGET_ERROR if role is None else f"{role} error"
