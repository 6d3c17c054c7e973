"""Figures for Prometheus, of one process or of all workers of a server together.

Workers write to files of a folder (`PROMETHEUS_MULTIPROC_DIR`), which whoever is asked adds up.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from vlmguard.guard.record import Stage
from vlmguard.guard.serving.metrics import FOLDER, Metrics

__all__ = ["PrometheusMetrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_MOST: Final = 64
"""Values of a label; what a defense calls its failures is its own."""


class PrometheusMetrics(Metrics):
    """Counts for Prometheus."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "vlmguard_requests", "Requests.", ["endpoint", "status"], registry=registry
        )
        self._actions = Counter(
            "vlmguard_actions",
            "What clients were told of the guard.",
            ["endpoint", "action"],
            registry=registry,
        )
        self._errors = Counter(
            "vlmguard_errors", "Errors of ours that clients got.", ["code"], registry=registry
        )
        self._failures = Counter(
            "vlmguard_failures",
            "Decisions without a usable output of the guard.",
            ["reason"],
            registry=registry,
        )
        self._shadow = Counter(
            "vlmguard_shadow", "What would have happened.", ["action"], registry=registry
        )
        self._recorded = Counter(
            "vlmguard_recorded",
            "What became of requests to be recorded.",
            ["outcome"],
            registry=registry,
        )
        self._tokens = Counter(
            "vlmguard_tokens",
            "Tokens of models that the guard asked, where these tell.",
            ["role", "direction"],
            registry=registry,
        )
        self._cost = Counter(
            "vlmguard_cost_dollars",
            "What these calls cost, where prices are known.",
            ["role"],
            registry=registry,
        )
        self._guard = Histogram(
            "vlmguard_guard_seconds",
            "Time of a decision about a request or an answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "vlmguard_request_seconds",
            "Time of a request, to the last byte of its answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._inside = Gauge(
            "vlmguard_in_flight",
            "Requests that are answered now.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._reasons: set[str] = set()

    def came(self) -> None:
        self._inside.inc()

    def left(self, endpoint: str, status: int, action: str, seconds: float) -> None:
        self._inside.dec()
        self._requests.labels(endpoint, str(status)).inc()
        self._whole.labels(endpoint).observe(seconds)
        if action:
            self._actions.labels(endpoint, action).inc()

    def told(self, code: str) -> None:
        self._errors.labels(code).inc()

    def decided(self, seconds: float, failure: str) -> None:
        self._guard.observe(seconds)
        if failure:
            self._failures.labels(self._bounded(failure)).inc()

    def asked(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            if stage.input_tokens:
                self._tokens.labels(stage.role, "input").inc(stage.input_tokens)
            if stage.output_tokens:
                self._tokens.labels(stage.role, "output").inc(stage.output_tokens)
            if stage.cost:
                self._cost.labels(stage.role).inc(stage.cost)

    def shadowed(self, would: str) -> None:
        self._shadow.labels(self._bounded(would)).inc()

    def recorded(self, what: str) -> None:
        self._recorded.labels(what).inc()

    def text(self) -> tuple[bytes, str]:
        folder = os.environ.get(FOLDER)
        if folder is None:
            return generate_latest(self._registry), CONTENT_TYPE_LATEST
        _forget_dead(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(together), CONTENT_TYPE_LATEST

    def _bounded(self, word: str) -> str:
        if word not in self._reasons and len(self._reasons) >= _MOST:
            return "other"
        self._reasons.add(word)
        return word


def _forget_dead(folder: Path) -> None:
    """Take out what workers that ended said of the present: requests that nobody answers now."""
    for file in folder.glob("gauge_live*_*.db"):
        process = int(file.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
