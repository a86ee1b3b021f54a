"""Prometheus collectors, by themselves and in the registry that LiveKit's worker serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from resilient_stt.core.events import AudioLossReason, AudioLost
from resilient_stt.metrics.instruments import ALL, Instrument, Kind
from resilient_stt.metrics.measuring import Measurement, Measuring
from resilient_stt.metrics.prometheus import PrometheusMetrics, name_of

from ..support.scripts import ROOT

TYPES = {
    Kind.COUNTER: "counter",
    Kind.UP_DOWN: "gauge",
    Kind.STATE: "gauge",
    Kind.HISTOGRAM: "histogram",
}


@pytest.mark.parametrize("instrument", ALL, ids=lambda i: i.name)
def test_every_instrument_has_a_collector(instrument: Instrument) -> None:
    """Of its type, with its labels, under a name that Prometheus' own parser takes."""
    registry = prometheus_client.CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    labels = tuple(f"some {label}" for label in instrument.labels)
    metrics.record(Measurement(instrument, 0.3, labels))
    text = prometheus_client.generate_latest(registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    family = families[name_of(instrument)]
    assert family.type == TYPES[instrument.kind]
    assert family.documentation == instrument.description
    totals = [s for s in family.samples if not s.name.endswith(("_created", "_bucket", "_count"))]
    assert {s.value for s in totals} == {0.3}
    assert set(totals[0].labels.values()) == set(labels)


def test_the_default_registry_has_them() -> None:
    """It is the one that a worker serves on its `prometheus_port`."""
    import resilient_stt.stt  # noqa: F401

    families = {family.name for family in prometheus_client.REGISTRY.collect()}
    assert {name_of(instrument) for instrument in ALL} <= families


JOB = """
from resilient_stt.core.events import *
from resilient_stt.metrics import record

record(AudioLost(at=1.0, seconds=2.5, reason=AudioLossReason.UNANSWERED))
record(ConnectionOpened(at=0, provider="a", connection=0, role=Role.ACTIVE, replay_from=0))
record(
    BreakerChanged(at=0, provider="a", from_state=BreakerState.CLOSED, state=BreakerState.OPEN)
)
"""
WORKER = """
import asyncio
from livekit.agents.telemetry.http_server import metrics

print(asyncio.run(metrics(None)).body.decode())
"""


def test_a_worker_serves_what_its_jobs_have_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs, which are processes, write into the worker's directory; counts add up."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout

    run(JOB)
    run(JOB)
    families = {family.name: family for family in text_string_to_metric_families(run(WORKER))}
    samples = families["resilient_stt_audio_lost_seconds"].samples
    assert [(s.labels, s.value) for s in samples if s.value] == [({"reason": "unanswered"}, 5.0)]
    states = {s.labels["state"]: s.value for s in families["resilient_stt_breaker_state"].samples}
    assert states == {"closed": 0.0, "open": 1.0, "half_open": 0.0, "locked": 0.0}


def test_counters_add_up() -> None:
    """Each event is added to what was before."""
    registry = prometheus_client.CollectorRegistry()
    metrics, measuring = PrometheusMetrics(registry), Measuring()
    for seconds in (1.0, 2.5):
        lost = AudioLost(at=1.0, seconds=seconds, reason=AudioLossReason.UNANSWERED)
        for measurement in measuring.of(lost):
            metrics.record(measurement)
    value = registry.get_sample_value(
        "resilient_stt_audio_lost_seconds_total", {"reason": "unanswered"}
    )
    assert value == 3.5
