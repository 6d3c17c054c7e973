"""Decides how often a log is written during a run.

With Inspect's own settings, a killed run leaves samples that were finished but not written, and
Inspect may rebuild them with the wrong answer. So each sample is written when it is finished, and
no buffer is kept beside the log.

Each write copies the whole log and reads its table of contents. Measured: 1.4 ms of processor time
for each megabyte in the log, and more for many samples. For 2,000 samples of 80 kB this adds up to
0.13 s a sample, beside 0.03 s for all other work of Inspect. So in large logs some samples are
gathered before the log is written, as many as keep this below 5 % (74 in this example; measured
with 61: 5.9 %). If a run is killed, the gathered samples are lost and paid for again.
"""

from pathlib import Path
from typing import Any, Final

from inspect_ai import Task

from vlmguard.guard.messages import images_of
from vlmguard.results.run.config import Matrix

# One more sample is gathered for each `_BYTES` bytes, and for each `_SAMPLES` samples.
_BYTES: Final = 3_000_000
_SAMPLES: Final = 100


def log_options(tasks: list[Task], matrix: Matrix) -> dict[str, Any]:
    """Options of `eval_set` that make a run safe to kill.

    Args:
        tasks: The benchmarks, with their data.
        matrix: Says how many samples are run, and whether images are logged.

    Returns:
        `log_realtime` and `log_buffer` (at least 1).
    """
    return {
        "log_realtime": False,
        "log_buffer": max(1, *(_gathered(task, matrix) for task in tasks)),
    }


def _gathered(task: Task, matrix: Matrix) -> int:
    samples = list(task.dataset)[: matrix.limit]
    answers = len(samples) * int(matrix.options.get("epochs", 1))
    share = answers / len(samples) if samples else 0
    images = [image for sample in samples for image in images_of(sample.input)]
    size = sum(map(_size, images)) * share
    if matrix.options.get("log_images") is False:
        size = 0
    return round(size / _BYTES + answers / _SAMPLES)


def _size(image: str) -> int:
    """Bytes of an image as a log holds it: base64, compressed."""
    if image.startswith("data:"):
        return len(image) * 3 // 4
    # The size of other images of others' tasks (an address, for example) is not known before they
    # are fetched.
    path = Path(image)
    return path.stat().st_size if path.is_file() else 0
