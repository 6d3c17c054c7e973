r"""Runs a matrix, benchmarks x defenses x targets (x attacks), as Inspect eval sets.

    vlmguard run --config paper_main --dry-run
    vlmguard run --config my_matrix.yaml
    vlmguard run --benchmark siuo --defense none --defense vlmguard --target M \
        --role grader=G --role rewriter=R
    vlmguard run --suite red_team --defense vlmguard --target M --role grader=G --role rewriter=R

A thin loop over `inspect_ai.eval_set`: one set, and one log folder, for each defense
(`LOG_DIR/DEFENSE`), and for each attack on it (`parts.py`). The same command again resumes
unfinished parts, and does nothing if all is finished. Ctrl-C stops the whole matrix. A full disk
stops it too, since every further answer would be paid for and lost.

Beyond one process: `--ray` (`cluster/`). Also beyond one machine: targets on vLLM or SGLang
(`model: vllm/NAME` with `model_args: {tensor_parallel_size: 8}`, `data_parallel_size`, or a server
on a Ray cluster through `openai-api/`); judges through batch APIs (`generate: {batch: true}` of the
role, half the price, hours later); logs on S3 (`log_dir: s3://BUCKET/FOLDER`, which all commands
read); several runners, each with its own `--defense`, below one `log_dir`.
"""

from collections.abc import Callable

from inspect_ai.log import list_eval_logs

from vlmguard.guard.errors import UserError
from vlmguard.results.run.changed_files import holds_logs
from vlmguard.results.run.cluster.folders import shards_in
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.costs import know_priced_models
from vlmguard.results.run.guard_cache import with_guard_cache
from vlmguard.results.run.locks import locked
from vlmguard.results.run.plan import Planned
from vlmguard.results.run.ready import ready
from vlmguard.results.run.rounds import finish_set

__all__ = ["run", "shards_alone"]


def run(matrix: Matrix, announce: Callable[[list[Planned]], None] | None = None) -> bool:
    """Run or resume a matrix; returns whether everything finished.

    Args:
        matrix: The matrix.
        announce: Gets the plan before anything is paid for.

    Raises:
        UserError: As for `ready`; or it has shards, Inspect refuses to start, another run uses a
            folder, or the disk is full.
        KeyboardInterrupt: Ctrl-C; finished samples are kept.
    """
    if matrix.shards > 1:
        raise UserError(f"{shards_alone(matrix)}.")
    checked = ready(matrix)
    if announce is not None:
        announce(checked.lines)
    know_priced_models(matrix.options)
    tasks = checked.tasks
    finished = True
    for part in checked.parts:
        cached = with_guard_cache(part.matrix)
        for defense, place in zip(cached.defenses, part.folders, strict=True):
            with locked(place):
                _refuse_shards(place)
                finished = finish_set(cached, defense, place, tasks) and finished
            tasks = []
    return finished


def shards_alone(matrix: Matrix) -> str:
    """Why shards cannot run without Ray, with the way out."""
    return (
        f"shards: {matrix.shards} splits benchmarks for several processes, which --ray starts: run "
        "with --ray local (or auto, or an address), or without shards"
    )


def _refuse_shards(place: str) -> None:
    """Stop before Inspect takes the logs of shards for old ones of one run, and removes them."""
    for info in list_eval_logs(place) if holds_logs(place) else ():
        if (shards := shards_in(info.name)) > 1:
            raise UserError(
                f"{place} has logs of a run with --ray and shards: {shards}, which cannot go on "
                "without. Run as before, or name another log_dir."
            )
