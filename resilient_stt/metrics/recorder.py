"""Records the events of all streams of the process, in all places where they are counted."""

from __future__ import annotations

from threading import Lock

from ..core.events import Event
from ..observe import logger
from .measuring import Measuring
from .otel import OtelMetrics, OtelSpans
from .prometheus import PrometheusMetrics


class Recorder:
    """Measures events once, and gives the measurements to Prometheus and OpenTelemetry."""

    def __init__(
        self, prometheus: PrometheusMetrics, otel_metrics: OtelMetrics, spans: OtelSpans
    ) -> None:
        self._prometheus = prometheus
        self._otel_metrics = otel_metrics
        self._spans = spans
        self._measuring = Measuring()
        self._lock = Lock()
        """Streams of several event loops share this."""
        self._has_failed = False

    def __repr__(self) -> str:
        return f"Recorder({self._measuring!r}, {self._spans!r})"

    def record(self, event: Event) -> None:
        """Take an event. Whatever goes wrong with it is logged once, and ends no call."""
        try:
            with self._lock:
                self._record(event)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                logger.exception("metrics are incomplete: an event could not be recorded")

    def _record(self, event: Event) -> None:
        for measurement in self._measuring.of(event):
            self._prometheus.record(measurement)
            self._otel_metrics.record(measurement)
        self._spans.record(event)


record = Recorder(PrometheusMetrics(), OtelMetrics(), OtelSpans()).record
"""Takes an event of any stream of the process."""
