"""OpenTelemetry: metrics under the meter provider of the process, spans under LiveKit's tracer.

Both are LiveKit's when its telemetry is on, or what the application has set. As long as no provider
is set, instruments and spans do nothing.

A stream is a span, and a child of whatever span its task was started in, such as LiveKit's session.
Each of its connections is a child of it, and decisions are events of the stream's span.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_never

from livekit.agents.telemetry import tracer
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, Status, StatusCode

from .. import log_lines
from ..core.events import (
    ConnectionClosed,
    ConnectionOpened,
    Decision,
    ErrorKind,
    Event,
    OfConnection,
    StreamEnded,
    StreamEndReason,
)
from . import instruments
from .instruments import Instrument, Kind
from .measuring import Measurement

PREFIX = "resilient_stt"


class OtelMetrics:
    """Gives measurements to OpenTelemetry's instruments."""

    def __init__(self, meter: metrics.Meter | None = None) -> None:
        """`meter`: by default that of the process."""
        meter = meter or metrics.get_meter("resilient-stt")
        self._instruments = {i.name: _instrument(i, meter) for i in instruments.ALL}

    def record(self, measurement: Measurement) -> None:
        """Take a measurement."""
        instrument, value, labels = measurement
        target = self._instruments[instrument.name]
        attributes = dict(zip(instrument.labels, labels, strict=True))
        match instrument.kind:
            case Kind.COUNTER | Kind.UP_DOWN:
                target.add(value, attributes)
            case Kind.STATE:
                target.set(value, attributes)
            case Kind.HISTOGRAM:
                target.record(value, attributes)
            case _:
                assert_never(instrument.kind)


def _instrument(instrument: Instrument, meter: metrics.Meter) -> Any:
    name, about = f"{PREFIX}.{instrument.name}", instrument.description
    unit = "s" if instrument.unit == "seconds" else "1"
    match instrument.kind:
        case Kind.COUNTER:
            return meter.create_counter(name, unit, about)
        case Kind.UP_DOWN:
            return meter.create_up_down_counter(name, unit, about)
        case Kind.STATE:
            return meter.create_gauge(name, unit, about)
        case Kind.HISTOGRAM:
            return meter.create_histogram(
                name, unit, about, explicit_bucket_boundaries_advisory=instrument.buckets
            )
        case _:
            assert_never(instrument.kind)


@dataclass(slots=True)
class _StreamSpans:
    """The open spans of a stream."""

    stream: Span
    connections: dict[int, Span] = field(default_factory=dict)


class OtelSpans:
    """Makes spans of streams and connections."""

    def __init__(self) -> None:
        self._streams: dict[str, _StreamSpans] = {}
        """By the id of the stream."""

    def __repr__(self) -> str:
        return f"OtelSpans({len(self._streams)} streams)"

    def record(self, event: Event) -> None:
        """Take an event of a stream; it begins with its first connection."""
        spans = self._streams.get(event.stream_id)
        if spans is None:
            if not isinstance(event, ConnectionOpened):
                return  # a whole buffer's, or one that comes after the stream has ended
            stream = tracer.start_span(
                f"{PREFIX}.stream", attributes={f"{PREFIX}.stream_id": event.stream_id}
            )
            spans = self._streams[event.stream_id] = _StreamSpans(stream)
        match event:
            case OfConnection():
                _record_connection(spans, event)
            case StreamEnded():
                del self._streams[event.stream_id]
                _end_stream(spans.stream, event)
            case _ if isinstance(event, Decision):
                spans.stream.add_event(f"{PREFIX}.{event.name}", _attributes(event))
            case _:
                pass


def _record_connection(spans: _StreamSpans, event: OfConnection) -> None:
    match event:
        case ConnectionOpened():
            span = tracer.start_span(
                f"{PREFIX}.connection",
                context=trace.set_span_in_context(spans.stream),
                attributes=_attributes(event),
            )
            spans.connections[event.connection] = span
        case ConnectionClosed(reason=reason):
            span = spans.connections.pop(event.connection)
            span.set_attributes(_attributes(event))
            if isinstance(reason, ErrorKind):
                span.set_status(Status(StatusCode.ERROR, reason.value))
            span.end()
        case _:
            assert isinstance(event, Event)
            span = spans.connections[event.connection]
            span.add_event(f"{PREFIX}.{event.name}", _attributes(event))


def _end_stream(span: Span, event: StreamEnded) -> None:
    span.set_attributes(_attributes(event))
    if event.reason is StreamEndReason.GAVE_UP:
        span.set_status(Status(StatusCode.ERROR, event.reason.value))
    span.end()


def _attributes(event: Event) -> dict[str, Any]:
    """Return the fields of an event that OpenTelemetry takes as attributes."""
    return {
        f"{PREFIX}.{name}": value
        for name, value in log_lines.fields(event).items()
        if isinstance(value, str | bool | int | float)
    }
