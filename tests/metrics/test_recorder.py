"""Events reach every place where they are counted, and no place can end a call."""

from __future__ import annotations

import logging

import prometheus_client
import pytest

from resilient_stt import ResilientSTT
from resilient_stt.core.events import OutageStarted
from resilient_stt.metrics.measuring import Measurement
from resilient_stt.metrics.otel import OtelMetrics, OtelSpans
from resilient_stt.metrics.prometheus import PrometheusMetrics
from resilient_stt.metrics.recorder import Recorder

from ..support.fakes import FakeSTT, collect, fails, frames, says, stt_error


def value(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(f"resilient_stt_{name}", labels) or 0.0


@pytest.mark.stt_virtual_time
async def test_a_call_is_counted() -> None:
    """Its failure, its switch, its connections and its words, under the names of its providers."""
    names = {"provider": "metrics-a"}, {"provider": "metrics-b"}
    made = ResilientSTT(
        [
            FakeSTT(fails(stt_error()), provider="metrics-a"),
            FakeSTT(says("hi"), provider="metrics-b"),
        ]
    )
    ended = value("streams_total", reason="finished")
    async with made.stream() as stream:
        for frame in frames():
            stream.push_frame(frame)
        stream.end_input()
        await collect(stream)
    await made.aclose()
    assert value("provider_failures_total", reason="dropped", **names[0]) == 1
    assert value("words_total", **names[1]) == 1
    assert value("streams_total", reason="finished") == ended + 1
    assert value("audio_sent_seconds_total", role="active", **names[1]) > 0
    for name in names:
        assert value("open_connections", role="active", **name) == 0
        assert value("breaker_state", state="closed", **name) == 1


class Broken(PrometheusMetrics):
    def record(self, measurement: Measurement) -> None:
        raise OSError("the disk is full")


def test_a_place_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on without metrics."""
    recorder = Recorder(Broken(prometheus_client.CollectorRegistry()), OtelMetrics(), OtelSpans())
    for _ in range(3):
        recorder.record(OutageStarted(at=0.0))
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "metrics are incomplete" in record.getMessage()
    assert repr(recorder).startswith("Recorder(Measuring(")
