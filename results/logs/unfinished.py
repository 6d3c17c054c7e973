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
    EvalSample,
    EvalSampleSummary,
    ProvenanceData,
    invalidate_samples,
    read_eval_log,
    read_eval_log_sample_summaries,
    read_eval_log_samples_by_id,
    write_eval_log,
)

from vlmguard.guard.package import PACKAGE
from vlmguard.guard.record import ANSWER_DIGEST, answer_digest

Key = tuple[int | str, int]
"""Id and epoch of a sample."""

ANOTHER_ANSWER: Final = "the log holds another answer than the one that was scored"
WAY_OUT: Final = "finish it with vlmguard run, inspect eval-set or eval-retry"
_MARK_FIRST: Final = (
    "finish it with vlmguard run; or with "
    "python -c 'import vlmguard.results.logs.unfinished as u; u.set_aside(\"LOG\")' "
    "and then inspect eval-set or eval-retry"
)
_NAMED: Final = 5
# Only answers are read, as images and events are most of a sample.
_UNREAD: Final = set(EvalSample.model_fields) - {"id", "epoch", "input", "target", "output"}
# Logs note the time of their start in whole seconds.
_LEEWAY: Final = timedelta(seconds=2)


def unfinished_samples(
    path: str, log: EvalLog, summaries: list[EvalSampleSummary]
) -> dict[Key, str]:
    """The samples that must be done again: the reason, by id and epoch."""
    return _other_answers(path, log, summaries)


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
    header = read_eval_log(path, header_only=True)
    found = unfinished_samples(path, header, read_eval_log_sample_summaries(path))
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


def _other_answers(path: str, log: EvalLog, summaries: list[EvalSampleSummary]) -> dict[Key, str]:
    scored = {
        (sample.id, sample.epoch): digests
        for sample in summaries
        if _may_be_rebuilt(path, log, sample) and (digests := _digests(sample))
    }
    if not scored:
        return {}
    if path.endswith(".json"):
        samples = read_eval_log(path).samples or []
    else:
        samples = read_eval_log_samples_by_id(path, list(scored), exclude_fields=_UNREAD)
    return {
        key: ANOTHER_ANSWER
        for sample in samples
        if (key := (sample.id, sample.epoch)) in scored
        and scored[key] != {answer_digest(sample.output.completion)}
    }


def _may_be_rebuilt(path: str, log: EvalLog, sample: EvalSampleSummary) -> bool:
    """Whether a sample is older than its log, and so was taken over from one that was cut off.

    Only such answers are read: reading each one takes about 5 ms.
    """
    if "-recovered" in path or sample.completed_at is None:
        return True
    began = datetime.fromisoformat(log.eval.created)
    return datetime.fromisoformat(sample.completed_at) < began + _LEEWAY


def _digests(sample: EvalSampleSummary) -> set[str]:
    noted = [(score.metadata or {}).get(ANSWER_DIGEST) for score in (sample.scores or {}).values()]
    return {digest for digest in noted if isinstance(digest, str)}
