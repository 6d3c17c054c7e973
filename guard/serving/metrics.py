"""What is counted of requests, and `/metrics`.

Without `prometheus-client` (the extra `[serve]`) nothing is counted, and `/metrics` says how to
change that. No label has a value that a client chose.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from vlmguard.guard.record import Stage
from vlmguard.guard.serving.faults import Fault

__all__ = ["FOLDER", "MISSING", "PACKAGE", "Exposed", "Metrics", "make_metrics"]

PACKAGE: Final = "prometheus_client"
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder where several workers count; the package's own name for it."""
MISSING: Final = "/metrics needs prometheus-client: pip install 'vlmguard[serve]'."


class Metrics:
    """Counts nothing."""

    def came(self) -> None:
        """A request came."""

    def left(self, endpoint: str, status: int, action: str, seconds: float) -> None:
        """It ended.

        Args:
            endpoint: Its path, or a word for others.
            status: Its status.
            action: What the client was told of the guard; empty if nothing.
            seconds: The time from its first byte to the last one of its answer.
        """

    def told(self, code: str) -> None:
        """A client got an error of ours.

        Args:
            code: Its code.
        """

    def decided(self, seconds: float, failure: str) -> None:
        """The guard decided about a request or an answer.

        Args:
            seconds: Its time.
            failure: Why its output could not be used; empty if it could.
        """

    def asked(self, stages: Sequence[Stage]) -> None:
        """The guard asked its models, or the target.

        Args:
            stages: The calls.
        """

    def shadowed(self, would: str) -> None:
        """In shadow mode: what would have happened.

        Args:
            would: An action, or why there is none.
        """

    def recorded(self, what: str) -> None:
        """`--record`: what became of a request.

        Args:
            what: `recorded`, `declined`, `dropped` or `failed`.
        """

    def text(self) -> tuple[bytes, str]:
        """All figures, and their media type.

        Raises:
            Fault: Nothing is counted.
        """
        raise Fault(501, "not_counted", MISSING)


def make_metrics() -> Metrics:
    """What counts here."""
    if find_spec(PACKAGE) is None:
        return Metrics()
    # It reads its environment when it is imported, so not before it is needed.
    from vlmguard.guard.serving.prometheus import PrometheusMetrics

    return PrometheusMetrics()


class Exposed:
    """`/metrics`.

    Args:
        metrics: The figures.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, request: Request) -> Response:
        """All figures, for Prometheus.

        Raises:
            Fault: Nothing is counted.
        """
        text, media_type = self._metrics.text()
        return Response(text, headers={"content-type": media_type})
