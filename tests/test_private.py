"""Whatever providers say and raise, none of it is in an event, a log, a metric or a span."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import prometheus_client
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livekit.agents import APIConnectionError, APIError, APIStatusError, LanguageCode, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.telemetry import tracer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import ProxyTracerProvider

from resilient_stt import Event, Policies, ResilientSTT, RetryPolicy
from resilient_stt.testing.harness.clock import run_virtual

from .support.fakes import Behavior, FakeStream, FakeSTT, frames

SECRETS = "sk-4711-key", "Kowalski", "umbrella"
"""A key and two words, of which nothing may be repeated anywhere."""

errors = st.sampled_from(
    [
        RuntimeError(" ".join(SECRETS)),
        ValueError({"key": SECRETS[0]}),
        APIConnectionError(f"cannot reach wss://host/?token={SECRETS[0]}"),
        APIError(f"{SECRETS[1]} {SECRETS[2]}", body={"text": SECRETS[1]}, retryable=True),
        *(
            APIStatusError(f"bad key {SECRETS[0]}", status_code=code, body={"said": SECRETS[2]})
            for code in (400, 401, 402, 429, 503)
        ),
    ]
)
said = st.tuples(
    st.sampled_from(SpeechEventType),
    st.lists(st.sampled_from(SECRETS), max_size=4).map(" ".join),
    st.sampled_from(["en", "es", "", "pt-BR", SECRETS[1], " ".join(SECRETS)]),
    st.floats(0, 0.5),
)


@dataclass
class Script:
    """What one connection does: it says things, with waits between them, and may fail."""

    says: Sequence[tuple[SpeechEventType, str, str, float]]
    error: Exception | None

    async def __call__(self, stream: FakeStream) -> None:
        listener = asyncio.create_task(stream.listen())
        for kind, text, language, wait in self.says:
            data = stt.SpeechData(LanguageCode(language), text, confidence=0.5)
            stream.send(stt.SpeechEvent(type=kind, alternatives=[data], request_id="r"))
            await asyncio.sleep(wait)
        if self.error is not None:
            listener.cancel()
            raise self.error
        await listener


scripts: st.SearchStrategy[Behavior] = st.builds(
    Script, st.lists(said, max_size=6), st.none() | errors
)


@contextmanager
def everything() -> Iterator[list[str]]:
    """Collect all records of the log and all spans; metrics are added at the end."""
    found: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: found.append(  # type: ignore[method-assign]
        f"{record.getMessage()} {record.__dict__} {record.exc_text}"
    )
    ours = logging.getLogger("livekit.resilient_stt")
    level, exporter, provider = ours.level, InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer.set_provider(provider)
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        ours.removeHandler(handler)
        ours.setLevel(level)
        tracer.set_provider(ProxyTracerProvider())
    found += [span.to_json() for span in exporter.get_finished_spans()]
    found.append(prometheus_client.generate_latest().decode())


async def call(behaviors: Sequence[Behavior], found: list[str], *, whole: bool) -> None:
    """One call, which is closed in the middle or runs to its end; its events are collected."""
    made = ResilientSTT(
        [FakeSTT(behavior, error=APIError(SECRETS[0])) for behavior in behaviors],
        policies=Policies(retry=RetryPolicy(outage_limit=2.0, end_input_limit=2.0)),
        traits={"fake": {"language_detection": True}},
        vad=None,
    )
    for kind in get_args(Event):
        made.on(kind.name, lambda event: found.append(repr(event)))
    for name in ("error", "metrics_collected"):  # LiveKit's own
        made.on(name, lambda event: found.append(repr(event)))
    stream = made.stream()
    try:
        for frame in frames(2.0):
            stream.push_frame(frame)
            await asyncio.sleep(frame.duration)
        if whole:
            stream.end_input()
            async for _ in stream:
                pass
    except (APIConnectionError, RuntimeError) as error:
        found.append("".join(traceback.format_exception(error)))
    try:
        await made.recognize(list(frames(0.1)))
    except APIError as error:
        found.append("".join(traceback.format_exception(error)))
    await stream.aclose()
    await made.aclose()
    found.append(repr(made))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(scripts, min_size=1, max_size=2), st.booleans())
def test_nothing_is_repeated(behaviors: Sequence[Behavior], whole: bool) -> None:
    """Neither in events and their reprs, nor in records at DEBUG, metrics, spans and reprs."""
    with everything() as found:
        run_virtual(call(behaviors, found, whole=whole))
    assert any("StreamEnded" in text for text in found)
    assert any("resilient_stt_streams_total" in text for text in found)
    assert any('"name": "resilient_stt.stream"' in text for text in found)
    for text in found:
        assert not [secret for secret in SECRETS if secret.lower() in text.lower()], text


def test_the_test_would_find_it() -> None:
    """A record that holds a word is found."""
    with everything() as found:
        logging.getLogger("livekit.resilient_stt").debug("said %s", SECRETS[1])
    with pytest.raises(AssertionError):
        assert not any(SECRETS[1] in text for text in found)
