"""OpenTelemetry's metrics and spans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from livekit.agents.telemetry import tracer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import ProxyTracerProvider, StatusCode

from resilient_stt.core.events import (
    CloseReason,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ErrorKind,
    Event,
    FinalEmitted,
    Role,
    StreamEnded,
    StreamEndReason,
    Switched,
)
from resilient_stt.metrics.instruments import ALL, Instrument, Kind
from resilient_stt.metrics.measuring import Measurement
from resilient_stt.metrics.otel import OtelMetrics, OtelSpans

from ..test_log_lines import EVENTS


@pytest.mark.parametrize("instrument", ALL, ids=lambda i: i.name)
def test_every_instrument_is_exported(instrument: Instrument) -> None:
    """Under its name, in its unit, with its labels as attributes."""
    reader = InMemoryMetricReader()
    metrics = OtelMetrics(MeterProvider([reader]).get_meter("test"))
    labels = tuple(f"some {label}" for label in instrument.labels)
    metrics.record(Measurement(instrument, 2, labels))
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == f"resilient_stt.{instrument.name}"
    assert metric.unit == ("s" if instrument.unit else "1")
    (point,) = metric.data.data_points
    assert point.attributes == dict(zip(instrument.labels, labels, strict=True))
    if instrument.kind is Kind.HISTOGRAM:
        assert tuple(point.explicit_bounds) == instrument.buckets  # type: ignore[union-attr]
    else:
        assert point.value == 2  # type: ignore[union-attr]


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """What LiveKit's tracer exports, as it does when telemetry is on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer.set_provider(provider)
    yield exporter
    tracer.set_provider(ProxyTracerProvider())


def opened(number: int, role: Role = Role.ACTIVE) -> ConnectionOpened:
    return ConnectionOpened(
        at=0, provider="a", connection=number, role=role, replay_from=0, stream_id="x"
    )


def closed(number: int, reason: ErrorKind | CloseReason) -> ConnectionClosed:
    return ConnectionClosed(
        at=1,
        provider="a",
        connection=number,
        role=Role.ACTIVE,
        reason=reason,
        seconds=1,
        duration=1,
        stream_id="x",
    )


def ended(reason: StreamEndReason) -> StreamEnded:
    (event,) = [event for event, _, _ in EVENTS if isinstance(event, StreamEnded)]
    return replace(event, reason=reason, stream_id="x")


def story(reason: StreamEndReason) -> list[Event]:
    """A stream whose first connection drops, and whose second one serves to the end."""
    return [
        opened(0),
        ConnectionEstablished(
            at=0, provider="a", connection=0, role=Role.ACTIVE, duration=0.2, stream_id="x"
        ),
        FinalEmitted(at=1, provider="a", connection=0, words=2, stream_id="x"),
        closed(0, ErrorKind.DROPPED),
        opened(1),
        Switched(
            at=1,
            from_provider="a",
            to_provider="a",
            reason=ErrorKind.DROPPED,
            replay_from=0.5,
            stream_id="x",
        ),
        closed(1, CloseReason.STREAM_ENDED),
        ended(reason),
    ]


def test_a_stream_is_a_span_with_its_connections(exported: InMemorySpanExporter) -> None:
    """Decisions are events of it; the failed connection is an error."""
    spans = OtelSpans()
    with tracer.start_as_current_span("session"):
        for event in story(StreamEndReason.FINISHED):
            spans.record(event)
    first, second, stream, session = exported.get_finished_spans()
    assert [s.name for s in (first, second, stream)] == [
        "resilient_stt.connection",
        "resilient_stt.connection",
        "resilient_stt.stream",
    ]
    assert stream.parent == session.get_span_context()
    assert first.parent == second.parent == stream.get_span_context()
    assert [s.status.status_code for s in (first, second, stream)] == [
        StatusCode.ERROR,
        StatusCode.UNSET,
        StatusCode.UNSET,
    ]
    assert [event.name for event in first.events] == ["resilient_stt.connection_established"]
    (switch,) = stream.events
    assert switch.name == "resilient_stt.switched"
    assert switch.attributes is not None
    assert switch.attributes["resilient_stt.reason"] == "dropped"
    assert stream.attributes is not None
    assert stream.attributes["resilient_stt.pushed"] == 9.0
    assert repr(spans) == "OtelSpans(0 streams)"


def test_a_stream_that_gave_up_is_an_error(exported: InMemorySpanExporter) -> None:
    """So it is found in a list of traces."""
    spans = OtelSpans()
    for event in story(StreamEndReason.GAVE_UP):
        spans.record(event)
    assert exported.get_finished_spans()[-1].status.status_code is StatusCode.ERROR


def test_what_is_outside_of_a_stream_has_no_span(exported: InMemorySpanExporter) -> None:
    """A whole buffer's events, and those that come after the end."""
    spans = OtelSpans()
    for event, _, _ in EVENTS:
        if not isinstance(event, ConnectionOpened):
            spans.record(event)
    assert not exported.get_finished_spans()
    assert repr(spans) == "OtelSpans(0 streams)"
