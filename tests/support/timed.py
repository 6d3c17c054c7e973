"""One eval against the latency server, timed."""

import tempfile
import time

from inspect_ai import Task, eval

CONNECTIONS = 32
MODEL = "openai-api/bench/canned"
_TOKENS_READ = 200
"""The usage that the server reports for each call."""


def timed_eval(task: Task, roles: tuple[str, ...], calls: int) -> float:
    """Run a task with `CONNECTIONS` connections; every role is played by `MODEL`.

    Args:
        task: The task.
        roles: Its model roles.
        calls: The number of calls that it must make.

    Returns:
        Seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        [log] = eval(
            task,
            model=MODEL,
            model_roles=dict.fromkeys(roles, MODEL),
            max_connections=CONNECTIONS,
            max_samples=CONNECTIONS,
            log_dir=folder,
            display="none",
        )
        seconds = time.perf_counter() - start
    assert log.status == "success", log.error
    made = log.stats.model_usage[MODEL].input_tokens // _TOKENS_READ
    assert made == calls, f"{made} calls"
    return seconds
