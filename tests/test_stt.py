"""`ResilientSTT`: what it takes and refuses, and what LiveKit's callers get from it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from importlib import metadata
from typing import Any, get_args

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, stt
from livekit.agents.stt import SpeechEventType, STTError
from livekit.plugins import cartesia, deepgram

import resilient_stt
from resilient_stt import (
    AudioFormatError,
    BreakerPolicy,
    ConfigurationError,
    Event,
    MemoryHealth,
    Policies,
    ResilientStream,
    ResilientSTT,
    RetryPolicy,
    StreamClosedError,
    Switched,
    WatchdogPolicy,
    local,
)
from resilient_stt.setup import Setup

from .support.fakes import (
    FakeStream,
    FakeSTT,
    a_vad,
    collect,
    fails,
    frames,
    has_keyterms,
    says,
    stt_error,
    texts,
)
from .support.local_engines import SpeechEngine

pytestmark = pytest.mark.stt_virtual_time


def keyed() -> list[stt.STT[Any]]:
    return [cartesia.STT(model="ink-whisper", api_key="k"), deepgram.STT(api_key="k")]


# -- what it refuses


@pytest.mark.parametrize(
    ("providers", "reported"),
    [
        ([], "the list of providers is empty: give at least one LiveKit STT"),
        ("cartesia", "providers must be a list of LiveKit STTs .* got str"),
        ({"cartesia": 1}, "providers must be a list of LiveKit STTs .* got dict"),
        (7, "providers must be a list of LiveKit STTs .* got int"),
        (["cartesia"], "'cartesia' is no model of LiveKit Inference: a model string is like"),
        (["a/b"], "which needs LIVEKIT_API_KEY and LIVEKIT_API_SECRET: set LIVEKIT_API_KEY"),
        ([cartesia.STT], "provider 0 is not .* but the class STT; call the class"),
        ([None], "provider 0 is not .* but a NoneType"),
    ],
)
async def test_refuses_what_is_not_a_list_of_stts(providers: Any, reported: str) -> None:
    """Anything but a list of LiveKit STTs is refused; the message says what to give."""
    with pytest.raises(ConfigurationError, match=reported):
        ResilientSTT(providers)


async def test_refuses_a_bare_stt() -> None:
    """A single STT is refused; the message says that it must be a list."""
    bare: Any = FakeSTT()
    with pytest.raises(ConfigurationError, match=r"must be a list .* got FakeSTT"):
        ResilientSTT(bare)


async def test_refuses_the_same_object_twice() -> None:
    """A fallback must be another object than the primary."""
    fake = FakeSTT()
    with pytest.raises(ConfigurationError, match=r"provider 2 .* is in the list twice"):
        ResilientSTT([fake, FakeSTT(), fake])


async def test_takes_two_of_one_class() -> None:
    """Two objects of one plugin are two providers with names of their own."""
    names = repr(ResilientSTT([FakeSTT(), FakeSTT(), FakeSTT(provider="Other")]))
    assert names == "ResilientSTT(['fake', 'fake-2', 'other'], serving='fake')"


async def test_a_configuration_error_is_a_value_error() -> None:
    """Code that caught the `ValueError` of LiveKit's `FallbackAdapter` catches ours."""
    with pytest.raises(ValueError, match="empty"):
        ResilientSTT([])


async def test_batch_provider_needs_a_vad() -> None:
    """A provider that cannot stream is refused without a VAD; the message says how to make one."""
    with pytest.raises(ConfigurationError, match=r"cannot stream: give a LiveKit VAD .*vad="):
        ResilientSTT([FakeSTT(streaming=False)])


async def test_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any key the error names the variables to set."""
    monkeypatch.delenv("CARTESIA_API_KEY", raising=False)
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="set CARTESIA_API_KEY and DEEPGRAM_API_KEY"):
        ResilientSTT()


@pytest.mark.parametrize(
    ("there", "missing", "left"),
    [
        ("CARTESIA_API_KEY", "DEEPGRAM_API_KEY", "cartesia"),
        ("DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "deepgram"),
    ],
)
async def test_leaves_out_a_provider_without_a_key(
    there: str,
    missing: str,
    left: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With one key of two, the other provider is left out with one warning that names it."""
    monkeypatch.setenv(there, "k")
    monkeypatch.delenv(missing, raising=False)
    assert repr(ResilientSTT()) == f"ResilientSTT(['{left}'], serving='{left}')"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["set"] == missing


async def test_defaults(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With both keys: Cartesia ink-whisper, then Deepgram nova-3, and no warning."""
    monkeypatch.setenv("CARTESIA_API_KEY", "k")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    made = ResilientSTT()
    assert repr(made) == "ResilientSTT(['cartesia', 'deepgram'], serving='cartesia')"
    assert [p.model for p in made.providers] == ["ink-whisper", "nova-3"]
    assert not caplog.records


@pytest.mark.parametrize("field", ["attempt_timeout", "max_retry_per_stt", "retry_interval"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
async def test_refuses_impossible_numbers(field: str, value: float) -> None:
    """A negative or infinite time is refused where it is given."""
    options: dict[str, Any] = {field: value}
    with pytest.raises(ConfigurationError, match=field):
        ResilientSTT([FakeSTT()], **options)


async def test_takes_the_fallback_adapters_options() -> None:
    """`attempt_timeout`, `max_retry_per_stt` and `retry_interval` change our policies alone."""
    given = Policies(retry=RetryPolicy(outage_limit=7.0))
    made = ResilientSTT(
        [FakeSTT()], policies=given, attempt_timeout=3.0, max_retry_per_stt=2, retry_interval=0.5
    )
    retry = made.policies.retry
    assert (retry.connect_timeout, retry.reconnect_budget, retry.wait_max) == (3.0, 2, 0.5)
    assert retry.outage_limit == 7.0


async def test_attempt_timeout_reaches_the_providers() -> None:
    """A provider's stream gets our connect timeout and no retry, whatever the caller wants."""
    fake = FakeSTT(says("hi"))
    async with ResilientSTT([fake], attempt_timeout=3.0).stream() as stream:
        stream.end_input()
        await collect(stream)
    assert fake.streams[0].conn_options.timeout == 3.0
    assert fake.streams[0].conn_options.max_retry == 0


# -- outside a worker


async def test_explains_a_missing_http_session() -> None:
    """Without an HTTP session the stream ends at once; the error says what to do."""
    loop = asyncio.get_running_loop()
    made = ResilientSTT(keyed())
    begun = loop.time()
    async with made.stream() as stream:
        with pytest.raises(APIConnectionError, match=r"http_context.open\(\)") as raised:
            await collect(stream)
    assert not raised.value.retryable
    assert loop.time() - begun < 0.1
    await made.aclose()


async def test_explains_a_missing_http_session_to_recognize() -> None:
    """The error of `recognize()` outside a worker says what to do, too."""
    made = ResilientSTT(keyed())
    with pytest.raises(APIConnectionError, match=r"http_context.open\(\)") as raised:
        await made.recognize(frames())
    assert not raised.value.retryable
    await made.aclose()


# -- providers that cannot stream


async def test_batch_provider_through_a_vad() -> None:
    """With a LiveKit VAD, a provider that cannot stream takes part."""
    batch = FakeSTT(streaming=False, text="hello")
    made = ResilientSTT([batch], vad=a_vad())
    assert made.capabilities.streaming
    assert not made.capabilities.interim_results
    event = await made.recognize(frames())
    assert event.alternatives[0].text == "hello"
    async with made.stream() as stream:
        stream.push_frame(frames()[0])
        stream.end_input()
        await collect(stream)
    await made.aclose()


# -- capabilities


@pytest.mark.parametrize(
    ("name", "first", "second", "together"),
    [
        ("interim_results", True, False, False),
        ("interim_results", True, True, True),
        ("manual_flush", True, False, False),
        ("manual_flush", True, True, True),
        ("diarization", True, False, False),
        ("diarization", True, True, True),
        ("keyterms", False, True, True),
        ("keyterms", False, False, False),
        ("chat_context", False, True, True),
        ("aligned_transcript", "word", False, False),
        ("aligned_transcript", "word", "chunk", "word"),
    ],
)
async def test_capabilities(name: str, first: Any, second: Any, together: Any) -> None:
    """A capability that callers rely on needs all providers; a hint needs one."""
    made = ResilientSTT([FakeSTT(**{name: first}), FakeSTT(**{name: second})])
    assert getattr(made.capabilities, name) == together


async def test_capabilities_are_read_afresh() -> None:
    """Capabilities are computed on each read."""
    fake = FakeSTT(manual_flush=True)
    made = ResilientSTT([fake])
    assert made.capabilities.manual_flush
    fake.capabilities.manual_flush = False
    assert not made.capabilities.manual_flush


async def test_can_recognize_though_no_provider_can() -> None:
    """`offline_recognize` is always offered: streaming-only providers are streamed the buffer."""
    made = ResilientSTT([FakeSTT(offline_recognize=False)])
    assert made.capabilities.offline_recognize
    assert made.capabilities.streaming


# -- what callers tell it


async def test_keyterms_reach_providers_that_take_them(caplog: pytest.LogCaptureFixture) -> None:
    """Keyterms go to the providers that support them; the others cause no warning."""
    takes, ignores = FakeSTT(keyterms=True), FakeSTT()
    ResilientSTT([ignores, takes])._update_session_keyterms(["LiveKit"])
    assert takes.keyterms == ["LiveKit"]
    assert ignores.keyterms == []
    assert not caplog.records


async def test_conversation_items_reach_providers_that_take_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Conversation items go to the providers that support them; the others cause no warning."""
    takes, ignores = FakeSTT(chat_context=True), FakeSTT()
    item: Any = object()
    ResilientSTT([ignores, takes])._push_conversation_item(item)
    assert takes.items == [item]
    assert ignores.items == []
    assert not caplog.records


@has_keyterms
async def test_keyterms_without_a_taker_cause_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """If no provider supports keyterms, there is a warning, as from any LiveKit STT."""
    ResilientSTT([FakeSTT()])._update_session_keyterms(["LiveKit"])
    assert "keyterms are not supported" in caplog.text


async def test_prewarms_the_first() -> None:
    """Only the preferred provider is pre-warmed."""
    first, second = FakeSTT(), FakeSTT()
    ResilientSTT([first, second]).prewarm()
    assert (first.prewarmed, second.prewarmed) == (1, 0)


async def test_prewarms_the_last_resort() -> None:
    """A provider that needs time to load a model is pre-warmed wherever it is in the list."""
    first, second, last = FakeSTT(), FakeSTT(), local.STT(engine=(engine := SpeechEngine()))
    made = ResilientSTT([first, second, last])
    made.prewarm()
    await asyncio.to_thread(engine.loaded.wait, 10)
    assert (first.prewarmed, second.prewarmed, engine.loads) == (1, 0, 1)


# -- labels, metrics and events


async def test_labels_follow_a_switch() -> None:
    """`model`, `provider` and `metrics_metadata` are those of the provider that serves."""
    first = FakeSTT(fails(stt_error()), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), provider="Second")])
    assert (made.model, made.provider) == ("first-1", "First")
    async with made.stream() as stream:
        stream.end_input()
        await collect(stream)
    assert (made.model, made.provider) == ("second-1", "Second")
    assert made.metrics_metadata == {"model_name": "second-1", "model_provider": "Second"}


class _Caller:
    """Two sessions with one STT; the first provider drops the first stream that opens on it."""

    def __init__(self) -> None:
        self.first = FakeSTT(self._drops_once, provider="First")
        self.made = ResilientSTT(
            [self.first, FakeSTT(self._on_demand, provider="Second")], vad=None
        )
        self.say: dict[str, asyncio.Queue[str]] = {"First": asyncio.Queue()}
        self.say["Second"] = asyncio.Queue()

    async def _drops_once(self, stream: FakeStream) -> None:
        if stream is self.first.streams[0]:
            raise stt_error()
        await self._on_demand(stream)

    async def _on_demand(self, stream: FakeStream) -> None:
        """Give a FINAL for each text that the test puts into the provider's queue."""
        while True:
            stream.final(await self.say[stream.fake.provider].get())

    async def transcript(self, stream: stt.RecognizeStream, provider: str) -> None:
        """Have a provider say something, and wait until it has come through the stream."""
        self.say[provider].put_nowait("hi")
        await anext(stream)


async def test_each_stream_has_its_own_labels() -> None:
    """A stream's labels are those of its own provider, whichever stream switched last."""
    call = _Caller()
    switched, usual = call.made.stream(), call.made.stream()
    await call.transcript(switched, "Second")
    await call.transcript(usual, "First")
    for stream, model, provider in [(switched, "second-1", "Second"), (usual, "first-1", "First")]:
        assert isinstance(stream, ResilientStream)
        assert (stream.model, stream.provider) == (model, provider)
        assert stream.metrics_metadata == {"model_name": model, "model_provider": provider}
    await switched.aclose()
    await usual.aclose()


async def test_labels_are_those_of_the_stream_that_was_active_last() -> None:
    """LiveKit reads them on the STT after a turn's last final; closed streams do not count."""
    call = _Caller()
    made = call.made
    assert made.provider == "First", "before anything is open, the preferred one"
    switched = made.stream()
    await call.transcript(switched, "Second")
    assert made.provider == "Second"
    usual = made.stream()
    assert made.provider == "First", "a stream that was just opened is the current one"
    await call.transcript(switched, "Second")
    assert made.provider == "Second", "a transcript makes its stream the current one"
    await call.transcript(usual, "First")
    assert (made.model, made.provider) == ("first-1", "First")
    assert made.metrics_metadata == {"model_name": "first-1", "model_provider": "First"}
    await usual.aclose()
    assert made.provider == "Second", "the other one is still open"
    await switched.aclose()
    assert made.provider == "First", "with none open, the one that served last"


# -- subclasses


class _Named(ResilientSTT):
    """What users do: another default and an attribute."""

    def __init__(self, *args: Any, name: str = "mine", **options: Any) -> None:
        super().__init__(*args, **options)
        self.name = name


async def test_a_subclass_is_made_from_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from_config` calls the subclass's constructor and returns its type."""
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    made = _Named.from_config(
        {
            "providers": {"d": {"plugin": "deepgram", "options": {"model": "nova-3"}}},
            "routes": {"default": ["d"]},
        },
        language="en",
    )
    assert (type(made), made.name, made.model) == (_Named, "mine", "nova-3")


async def test_a_setup_is_what_a_constructor_takes() -> None:
    """Policies and a health store that are given beside a `Setup` replace its own."""
    setup = Setup.from_objects([FakeSTT()], Policies(retry=RetryPolicy(outage_limit=7.0)))
    assert ResilientSTT(setup).policies.retry.outage_limit == 7.0
    given = Policies(retry=RetryPolicy(outage_limit=9.0))
    made = ResilientSTT(setup, policies=given, attempt_timeout=3.0)
    assert (made.policies.retry.outage_limit, made.policies.retry.connect_timeout) == (9.0, 3.0)


async def test_metrics_are_forwarded_once() -> None:
    """A provider's usage becomes one metric with the provider's labels."""

    async def behave(stream: FakeStream) -> None:
        await stream.listen()
        usage = stt.RecognitionUsage(audio_duration=stream.audio)
        stream._event_ch.send_nowait(
            stt.SpeechEvent(SpeechEventType.RECOGNITION_USAGE, recognition_usage=usage)
        )

    made = ResilientSTT([FakeSTT(behave, provider="First")])
    metrics: list[Any] = []
    made.on("metrics_collected", metrics.append)
    async with made.stream() as stream:
        for frame in frames(1.0):
            stream.push_frame(frame)
        stream.end_input()
        events = await collect(stream)
    assert [e.type for e in events] == [SpeechEventType.RECOGNITION_USAGE]
    [metric] = metrics
    assert metric.audio_duration == pytest.approx(1.0)
    assert metric.metadata.model_provider == "First"


async def test_recognize_counts_audio_once() -> None:
    """`recognize()` adds no metric of its own to the provider's."""
    made = ResilientSTT([FakeSTT(text="hi")])
    metrics: list[Any] = []
    made.on("metrics_collected", metrics.append)
    await made.recognize(frames(1.0))
    assert [m.audio_duration for m in metrics] == [pytest.approx(1.0)]


async def test_failures_are_recoverable_errors() -> None:
    """A provider's failure is an `error` event that does not count towards closing a session."""
    made = ResilientSTT([FakeSTT(fails(stt_error())), FakeSTT(says("hi"))])
    errors: list[STTError] = []
    made.on("error", errors.append)
    async with made.stream() as stream:
        stream.end_input()
        assert texts(await collect(stream)) == ["hi"]
    assert [e.recoverable for e in errors] == [True]
    assert errors[0].label == made.label


@pytest.mark.parametrize("mistake", [TypeError, ZeroDivisionError])
async def test_a_subscribers_mistake_stops_nothing(mistake: type[Exception]) -> None:
    """A handler that raises is logged, and the transcript goes on."""
    # in a buffer the second one serves, too, for the first one has just failed in a stream
    made = ResilientSTT([FakeSTT(fails(stt_error())), FakeSTT(says("hi"), text="ho")])
    called: list[Any] = []

    def broken(event: Any) -> None:
        called.append(event)
        raise mistake

    for name in ("stt_availability_changed", "switched", "provider_failed", "error"):
        made.on(name, broken)
    made.on("metrics_collected", broken)
    async with made.stream() as stream:
        stream.end_input()
        assert texts(await collect(stream)) == ["hi"]
    failures = len(called)
    assert failures == 4
    assert (await made.recognize(frames())).alternatives[0].text == "ho"
    assert len(called) > failures
    await made.aclose()


async def test_events_by_name() -> None:
    """A subscriber to one event gets it as its typed object."""
    made = ResilientSTT([FakeSTT(fails(stt_error())), FakeSTT(says("hi"), provider="Other")])
    switches: list[Switched] = []
    made.on("switched", switches.append)
    async with made.stream() as stream:
        stream.end_input()
        await collect(stream)
    [switch] = switches
    assert (switch.from_provider, switch.to_provider) == ("fake", "other")


# -- its end


async def test_aclose_lets_go_of_providers() -> None:
    """After `aclose()`, which may be called twice, metrics are not forwarded."""
    fake = FakeSTT(text="hi")
    made = ResilientSTT([fake])
    metrics: list[Any] = []
    made.on("metrics_collected", metrics.append)
    await made.aclose()
    await made.aclose()
    await fake.recognize(frames())
    assert not metrics


async def test_is_a_context_manager() -> None:
    """`async with ResilientSTT(...)` closes it."""
    fake = FakeSTT(text="hi")
    metrics: list[Any] = []
    async with ResilientSTT([fake]) as made:
        made.on("metrics_collected", metrics.append)
    await fake.recognize(frames())
    assert not metrics


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"policies": RetryPolicy()}, r"policies must be Policies\(retry=RetryPolicy\(...\)\)"),
        ({"policies": WatchdogPolicy()}, r"must be Policies\(watchdog=WatchdogPolicy\(...\)\)"),
        ({"policies": {}}, r"not a dict; from_config\(\) takes a dict"),
        ({"policies": Policies}, "not the class Policies"),
        ({"policies": 0}, "not an int"),
        ({"vad": "silero"}, r"vad must be a livekit.agents.vad.VAD such as livekit.*\(\), .*a str"),
        ({"attempt_timeout": 1e16}, "attempt_timeout cannot be 1e.16: .* at most 1e.15"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments: dict[str, Any], says: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(ConfigurationError, match=says):
        ResilientSTT([FakeSTT()], **arguments)


async def test_policies_of_another_class_serve() -> None:
    """An object with the same sections need not be a `Policies`."""

    @dataclasses.dataclass(frozen=True)
    class Own:
        retry: RetryPolicy = Policies().retry
        breaker: Any = Policies().breaker
        replay: Any = Policies().replay
        watchdog: Any = Policies().watchdog
        failback: Any = Policies().failback
        routing: Any = Policies().routing

    own: Any = Own(retry=RetryPolicy(outage_limit=3))
    assert ResilientSTT([FakeSTT()], policies=own).policies.retry.outage_limit == 3


@pytest.mark.parametrize("frame", [b"\0" * 320, bytearray(320), None, "audio", [1, 2]])
async def test_what_is_no_frame_is_refused_in_words(frame: Any) -> None:
    """The stream goes on."""
    async with ResilientSTT([FakeSTT()]) as made, made.stream() as stream:
        with pytest.raises(AudioFormatError, match=r"takes a livekit.rtc.AudioFrame, not "):
            stream.push_frame(frame)
        for one in frames():
            stream.push_frame(one)


async def test_an_event_around_a_frame_is_named() -> None:
    """LiveKit's `AudioStream` yields events, which are easily mistaken for frames."""
    async with ResilientSTT([FakeSTT()]) as made, made.stream() as stream:
        event: Any = rtc.AudioFrameEvent(frame=next(iter(frames())))
        with pytest.raises(AudioFormatError, match=r"not AudioFrameEvent; push its \.frame"):
            stream.push_frame(event)


async def test_nothing_is_opened_after_aclose() -> None:
    """Its providers are let go, so a stream or a buffer would go unobserved."""
    made = ResilientSTT([FakeSTT()])
    await made.aclose()
    with pytest.raises(StreamClosedError, match=r"closed by aclose\(\)"):
        made.stream()
    with pytest.raises(StreamClosedError, match=r"closed by aclose\(\)"):
        await made.recognize(frames())


async def test_a_stream_is_shown_in_one_short_line() -> None:
    """Its id, whether it is open, who serves, and how much audio it was given."""
    async with ResilientSTT([FakeSTT()]) as made, made.stream() as stream:
        shown = repr(stream)
        assert shown == f"ResilientStream({stream.id!r}, open, serving='fake', 0.0 s)"
    assert "ended" in repr(stream)


@pytest.mark.stt_virtual_time
async def test_every_event_names_its_stream() -> None:
    """Two streams of one STT have ids of their own."""
    made = ResilientSTT(
        [FakeSTT(fails(stt_error())), FakeSTT(says("hi"))],
        policies=Policies(breaker=BreakerPolicy(consecutive_failures=9)),
    )
    seen: list[Any] = []
    for kind in get_args(Event):
        made.on(kind.name, seen.append)
    async with made.stream() as one, made.stream() as other:
        for stream in (one, other):
            for frame in frames():
                stream.push_frame(frame)
            stream.end_input()
            async for _ in stream:
                pass
    assert one.id != other.id
    assert {event.stream_id for event in seen} == {one.id, other.id}
    await made.aclose()


def test_policies_and_health_beside_a_configuration() -> None:
    """They replace those of the file."""
    store = MemoryHealth()
    config = {"providers": {"d": {"plugin": "deepgram", "options": {"api_key": "k"}}}}
    made = ResilientSTT.from_config(
        config, policies=Policies(retry=RetryPolicy(outage_limit=7)), health=store
    )
    assert made.policies.retry.outage_limit == 7
    assert made._runtime.setup.health_store is store
    with pytest.raises(ConfigurationError, match="policies must be"):
        ResilientSTT.from_config(config, policies=RetryPolicy())  # type: ignore[arg-type]


def test_the_version_is_that_of_the_distribution() -> None:
    """`resilient_stt.__version__` is what pip shows."""
    assert resilient_stt.__version__ == metadata.version("livekit-resilient-stt")
