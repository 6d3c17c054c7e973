"""Samples that make a finished log unfinished: they must be done again.

After a kill, Inspect rebuilds samples that were finished but not yet written to the log. As their
answer it takes the last output of the role that was called first: ECSO's self-check, or the
rewriter's reply. Our scorers note a digest of the answer that they judged (`record.noted`), so that
a sample with another answer is found.
"""

from datetime import datetime, timedelta
from typing import Final

from inspect_ai.log import (
    EvalLog,
    ProvenanceData,
    invalidate_samples,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.model import ModelOutput

from vlmguard.guard.package import PACKAGE
from vlmguard.guard.record import ANSWER_DIGEST, answer_digest
from vlmguard.results.logs.archive import LogFile, opened_log
from vlmguard.results.logs.summaries import Summary

Key = tuple[int | str, int]
"""Id and epoch of a sample."""

ANOTHER_ANSWER: Final = "the log holds another answer than the one that was scored"
WAY_OUT: Final = "finish it with vlmguard run, inspect eval-set or eval-retry"
RUN_AGAIN: Final = "run the same command again"
"""How an unfinished run in shards is finished."""
_MARK_FIRST: Final = (
    "finish it with vlmguard run; or with "
    "python -c 'import vlmguard.results.logs.unfinished as u; u.set_aside(\"LOG\")' "
    "and then inspect eval-set or eval-retry"
)
_NAMED: Final = 5
# Logs note the time of their start in whole seconds.
_LEEWAY: Final = timedelta(seconds=2)


def unfinished_samples(file: LogFile, log: EvalLog, summaries: list[Summary]) -> dict[Key, str]:
    """The samples that must be done again: the reason, by id and epoch.

    Args:
        file: The log.
        log: Its header.
        summaries: Its samples.
    """
    found = {}
    for summary in summaries:
        if not _may_be_rebuilt(file.path, log, summary) or not (digests := _digests(summary)):
            continue
        output = ModelOutput.model_validate(file.sample(summary.id, summary.epoch)["output"])
        if digests != {answer_digest(output.completion)}:
            found[summary.id, summary.epoch] = ANOTHER_ANSWER
    return found


def named(unfinished: dict[Key, str], of: int) -> str:
    """A message: for each reason the number of samples and some of them, and what to do.

    Args:
        unfinished: Reasons by id and epoch; not empty.
        of: Number of samples in the log.
    """
    by_reason: dict[str, list[str]] = {}
    for (name, epoch), reason in unfinished.items():
        by_reason.setdefault(reason, []).append(
            f"{name} (epoch {epoch})" if epoch > 1 else f"{name}"
        )
    told = [
        f"{len(names)} of {of} samples: {reason} ({_first(names)})"
        for reason, names in by_reason.items()
    ]
    return "; ".join([*told, _MARK_FIRST if ANOTHER_ANSWER in by_reason else WAY_OUT])


def set_aside(path: str) -> dict[Key, str]:
    """Mark the samples of a log that must be done again, so that Inspect does them again.

    `vlmguard run` does this itself. For a log of `inspect eval-set` or `eval`, call it before the
    eval set is started again, or before `inspect eval-retry`.

    Args:
        path: The log; it is rewritten only if samples are marked.

    Returns:
        The reasons by id and epoch.
    """
    with opened_log(path) as file:
        found = unfinished_samples(file, file.header(), file.summaries())
    if not found:
        return {}
    log = read_eval_log(path)
    for reason in dict.fromkeys(found.values()):
        uuids = [
            sample.uuid
            for sample in log.samples or []
            if sample.uuid and found.get((sample.id, sample.epoch)) == reason
        ]
        log = invalidate_samples(log, uuids, ProvenanceData(author=PACKAGE, reason=reason))
    write_eval_log(log, path)
    return found


def _first(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _may_be_rebuilt(path: str, log: EvalLog, sample: Summary) -> bool:
    """Whether a sample is older than its log, and so was taken over from one that was cut off.

    Only such answers are read, since that takes time.
    """
    if "-recovered" in path or sample.completed_at is None:
        return True
    began = datetime.fromisoformat(log.eval.created)
    return datetime.fromisoformat(sample.completed_at) < began + _LEEWAY


def _digests(sample: Summary) -> set[str]:
    noted = [(score.metadata or {}).get(ANSWER_DIGEST) for score in (sample.scores or {}).values()]
    return {digest for digest in noted if isinstance(digest, str)}
