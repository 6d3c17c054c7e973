"""A log in shards, as runs of them would have left it."""

from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from support.toy import Toy

from vlmguard.guard.shards import SHARD, Shard, shards_of

__all__ = ["sharded", "split", "split_all"]


def sharded(toy: Toy, count: int) -> list[Toy]:
    """A toy benchmark in shards."""
    return [
        Toy(**{**vars(toy), "shard": shard})
        for shard in shards_of([sample.id or "" for sample in toy.samples()], count)
    ]


def split(path: str | Path, folder: Path, count: int) -> list[Path]:
    """Write the logs of all shards of a log below a folder; returns their paths by number."""
    whole = read_eval_log(str(path))
    ids = whole.eval.dataset.sample_ids or []
    found = []
    for shard in shards_of(ids, count):
        place = folder / shard.name / f"{Path(path).stem}.eval"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_eval_log(_part(whole, shard), str(place))
        found.append(place)
    return found


def split_all(logs: Path, folder: Path, count: int) -> Path:
    """Split all logs of a folder; returns the folder of the shards."""
    # Rows stand in the order in which logs were written.
    written = sorted(logs.rglob("*.eval"), key=lambda path: path.stat().st_mtime_ns)
    for number, path in enumerate(written):
        split(path, folder / path.parent.name / f"{number}", count)
    return folder


def _part(whole: EvalLog, shard: Shard) -> EvalLog:
    log = whole.model_copy(deep=True)
    log.samples = [sample for sample in log.samples or [] if shard.holds(sample.id)]
    spec = log.eval
    spec.eval_id, spec.task_id = f"{spec.eval_id}{shard.number}", f"{spec.task_id}{shard.number}"
    spec.metadata = {**(spec.metadata or {}), SHARD: shard.noted()}
    spec.dataset.sample_ids = [each for each in spec.dataset.sample_ids or [] if shard.holds(each)]
    spec.dataset.samples = len(spec.dataset.sample_ids)
    if log.results:
        log.results.total_samples = log.results.completed_samples = len(log.samples)
    for reduction in log.reductions or []:
        reduction.samples = [each for each in reduction.samples if shard.holds(str(each.sample_id))]
    return log
