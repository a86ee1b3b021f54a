"""Prometheus: collectors in the default registry, which LiveKit's worker serves.

A worker serves the registry on its `prometheus_port`. Its jobs are processes of their own: they
share their values with it by files in `prometheus_multiproc_dir` (`PROMETHEUS_MULTIPROC_DIR`).
Without that directory, a worker that runs jobs in processes serves no metric of any job.
"""

from __future__ import annotations

from typing import Any, assert_never

import prometheus_client

from . import instruments
from .instruments import Instrument, Kind
from .measuring import Measurement

PREFIX = "resilient_stt"


def name_of(instrument: Instrument) -> str:
    """Return the name of a collector; Prometheus adds `_total` to that of a counter."""
    return "_".join(filter(None, (PREFIX, instrument.name, instrument.unit)))


class PrometheusMetrics:
    """Gives measurements to collectors of its own."""

    def __init__(
        self, registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY
    ) -> None:
        """Register the collectors.

        Raises:
            ValueError: the registry has them already.
        """
        self._collectors = {i.name: _collector(i, registry) for i in instruments.ALL}

    def record(self, measurement: Measurement) -> None:
        """Take a measurement."""
        instrument, value, labels = measurement
        collector = self._collectors[instrument.name]
        child = collector.labels(*labels) if labels else collector
        match instrument.kind:
            case Kind.COUNTER | Kind.UP_DOWN:
                child.inc(value)
            case Kind.STATE:
                child.set(value)
            case Kind.HISTOGRAM:
                child.observe(value)
            case _:
                assert_never(instrument.kind)


def _collector(instrument: Instrument, registry: prometheus_client.CollectorRegistry) -> Any:
    name, about, labels = name_of(instrument), instrument.description, instrument.labels
    match instrument.kind:
        case Kind.COUNTER:
            return prometheus_client.Counter(name, about, labels, registry=registry)
        case Kind.UP_DOWN:
            return prometheus_client.Gauge(
                name, about, labels, registry=registry, multiprocess_mode="livesum"
            )
        case Kind.STATE:
            return prometheus_client.Gauge(
                name, about, labels, registry=registry, multiprocess_mode="mostrecent"
            )
        case Kind.HISTOGRAM:
            return prometheus_client.Histogram(
                name, about, labels, registry=registry, buckets=instrument.buckets
            )
        case _:
            assert_never(instrument.kind)
