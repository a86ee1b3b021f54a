"""What LiveKit Agents expects of an STT, a test per row of the contract's tables."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import APIConnectionError, stt
from livekit.agents.metrics import STTMetrics
from livekit.agents.stt import RecognizeStream, SpeechEventType
from livekit.agents.types import NOT_GIVEN, NotGivenOr

from resilient_stt import ConfigurationError, FailbackPolicy, Policies, ResilientSTT, RetryPolicy
from resilient_stt.stream import ResilientStream
from resilient_stt.testing.faults import Drop, from_
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import (
    Behavior,
    FakeStream,
    FakeSTT,
    arena,
    collect,
    fails,
    frames,
    hangs,
    has_keyterms,
    routed,
    says,
    stt_error,
    texts,
    transcribes,
)

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english")

ROWS = {
    "subclass stt.STT; implement _recognize_impl and stream": (
        "test_livekit_contract.py::test_is_an_stt",
    ),
    "raise only APIErrors; never end while the input is open": (
        "test_livekit_contract.py::test_raises_only_api_errors",
        "test_livekit_contract.py::test_never_ends_while_the_input_is_open",
        "test_stream.py::test_gives_up_after_the_outage_limit",
        "test_batch.py::test_any_error_is_a_failure",
    ),
    "forward children's metrics_collected; no own metrics": (
        "test_livekit_contract.py::test_usage_has_the_role_of_its_connection",
        "test_livekit_contract.py::test_usage_of_a_probe",
        "test_livekit_contract.py::test_usage_of_buffers",
        "test_stt.py::test_metrics_are_forwarded_once",
        "test_stt.py::test_recognize_counts_audio_once",
    ),
    "set each connection's start_time_offset from the position of its first audio sample": (
        "test_contract.py::test_connections_begin_on_the_streams_clock",
        "test_stream.py::test_start_time_offset",
        "test_stream.py::test_times_of_other_plugins",
    ),
    "balance speech events over connections; remove repeated finals": (
        "test_contract.py::test_speech_events_balance",
        "test_stream.py::test_fault_of_the_primary",
        "test_agent_session.py::test_history_has_every_word_once",
    ),
    "forward keyterms, conversation items, flush and prewarm": (
        "test_livekit_contract.py::test_keyterms_of_connections_opened_later",
        "test_livekit_contract.py::test_conversation_items_come_before_a_later_connection",
        "test_livekit_contract.py::test_a_flush_reaches_a_connection_opened_later",
        "test_livekit_contract.py::test_prewarms_the_first_of_the_route",
        "test_stt.py::test_keyterms_reach_providers_that_take_them",
        "test_stt.py::test_conversation_items_reach_providers_that_take_them",
        "test_stt.py::test_prewarms_the_first",
        "test_stream.py::test_keyterms_in_the_middle",
        "test_stream.py::test_flush_reaches_the_provider",
    ),
    "capabilities: truthful and dynamic": (
        "test_livekit_contract.py::test_capabilities_change",
        "test_stt.py::test_capabilities",
        "test_stt.py::test_capabilities_are_read_afresh",
        "test_stt.py::test_can_recognize_though_no_provider_can",
    ),
    "after end_input() with no audio at all, still finish, still fail over": (
        "test_contract.py::test_streams_with_the_first_that_works",
        "test_stream.py::test_ends_if_no_provider_answers",
    ),
    "model, provider, metrics_metadata tell who serves now": (
        "test_livekit_contract.py::test_labels_follow_buffers",
        "test_stt.py::test_labels_follow_a_switch",
        "test_stt.py::test_labels_are_those_of_the_stream_that_was_active_last",
    ),
    "update_options": (
        "test_livekit_contract.py::test_options_reach_providers_that_take_them",
        "test_livekit_contract.py::test_options_of_connections_opened_later",
        "test_livekit_contract.py::test_an_unknown_option",
        "test_livekit_contract.py::test_a_language_given_to_update_options",
    ),
    "trap: max_retry of a connection refills its budget": (
        "test_stt.py::test_attempt_timeout_reaches_the_providers",
        "test_stream.py::test_livekit_does_not_retry",
    ),
    "trap: end_input() before the connection's task ran": (
        "livekit/test_provider_connection.py::test_the_input_ends_after_the_stream_began",
    ),
    "trap: plugins burst what was queued; a streaming-only recognize()": (
        "test_batch.py::test_a_buffer_is_paced",
        "test_batch.py::test_the_real_plugin",
    ),
    "trap: push_frame on a dead stream raises RuntimeError": (
        "livekit/test_provider_connection.py::test_a_dead_stream_takes_no_audio",
        "test_contract.py::test_a_broken_stream_costs_no_audio",
    ),
    "trap: 24 kHz audio": ("test_stream.py::test_takes_any_audio",),
    "trap: no HTTP session outside a worker": (
        "test_stt.py::test_explains_a_missing_http_session",
        "test_stt.py::test_explains_a_missing_http_session_to_recognize",
    ),
    "a failed connection's error is re-emitted as recoverable": (
        "test_stt.py::test_failures_are_recoverable_errors",
    ),
    "transcripts have alternatives": ("test_contract.py::test_transcripts_have_alternatives",),
    "nobody calls STT.aclose(): the stream's takes everything with it": (
        "test_stream.py::test_aclose_at_any_moment",
    ),
}
"""The rows, shortened, and the tests that would fail if one did not hold."""


@pytest.mark.parametrize("test", sorted({test for tests in ROWS.values() for test in tests}))
def test_the_rows_have_their_tests(test: str) -> None:
    """Each test that is named for a row exists."""
    file, name = test.split("::")
    source = (Path(__file__).parent / file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


# -- "subclass `stt.STT`; implement `_recognize_impl` and `stream(*, language, conn_options)`"


def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
    found = inspect.signature(function).parameters
    return {name: (p.kind, p.default) for name, p in found.items()}


@pytest.mark.parametrize("method", ["stream", "recognize", "_recognize_impl", "prewarm", "aclose"])
async def test_is_an_stt(method: str) -> None:
    """Methods take what LiveKit's take, in the same way and with the same defaults."""
    made = ResilientSTT([FakeSTT()])
    assert isinstance(made, stt.STT)
    assert parameters(getattr(ResilientSTT, method)) == parameters(getattr(stt.STT, method))
    async with made.stream() as stream:
        assert isinstance(stream, RecognizeStream)
        stream.end_input()


# -- "raise only `APIError`s; never end while the input is open"


@pytest.mark.parametrize("error", [KeyError("text"), RuntimeError("?"), stt_error()])
async def test_raises_only_api_errors(error: Exception) -> None:
    """Whatever the providers raise, a stream ends with a non-retryable error of LiveKit's."""
    made = ResilientSTT(
        [FakeSTT(fails(error)), FakeSTT(fails(error))],
        policies=Policies(retry=RetryPolicy(outage_limit=2.0)),
    )
    async with made.stream() as stream:
        with pytest.raises(APIConnectionError) as raised:
            await collect(stream)
    assert not raised.value.retryable


async def returns(_: FakeStream) -> None:
    """End at once, without an error."""


@pytest.mark.parametrize("behavior", [returns, hangs, says("hi")])
async def test_never_ends_while_the_input_is_open(behavior: Behavior) -> None:
    """Whatever its connections do, a stream lasts as long as its input is open."""
    made = ResilientSTT([FakeSTT(behavior)])
    async with made.stream() as stream:
        reader = asyncio.create_task(collect(stream))
        await asyncio.sleep(30.0)
        assert not reader.done()
        stream.end_input()
        await asyncio.wait([reader], timeout=30.0)
        assert reader.done()
    _ = reader.exception()


# -- "forward children's `metrics_collected`; set `_recognize_metrics_needed = False`; override
#    `_metrics_monitor_task`, else audio is counted twice"


def metered(behavior: Behavior) -> Behavior:
    """Report a second of usage when opened, and the received audio at the end."""

    async def behave(stream: FakeStream) -> None:
        tell_usage(stream, 1.0)
        await behavior(stream)
        tell_usage(stream, stream.audio)

    return behave


def tell_usage(stream: FakeStream, seconds: float) -> None:
    usage = stt.RecognitionUsage(audio_duration=seconds)
    stream.send(stt.SpeechEvent(SpeechEventType.RECOGNITION_USAGE, recognition_usage=usage))


Usage = tuple[str, str, str]
"""Whose model, which provider, in which role."""


def usage_of(made: ResilientSTT) -> list[Usage]:
    """Collect the usage from now on."""
    reported: list[Usage] = []

    def note(metrics: STTMetrics) -> None:
        labels: Any = metrics.metadata
        reported.append((labels.model_provider, labels.provider, labels.role))

    made.on("metrics_collected", note)
    return reported


async def test_usage_has_the_role_of_its_connection() -> None:
    """A connection's usage is one metric; a hedge's has that role, and `active` once it serves."""
    silent = FakeSTT(metered(FakeStream.listen), provider="First", interim_results=True)
    made = ResilientSTT([silent, FakeSTT(metered(transcribes()), provider="Second")])
    reported = usage_of(made)
    played = await play(made, SPEECH.excerpt(0, 1).padded(1.0))
    assert played.score.ok, str(played.score)
    assert reported[0] == ("First", "first", "active")
    second = [usage for usage in reported if usage[0] == "Second"]
    assert second == [("Second", "second", "hedge"), ("Second", "second", "active")]
    await made.aclose()


async def test_usage_of_a_probe() -> None:
    """A probe's usage has the role `probe`."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def comes_back(stream: FakeStream) -> None:
        if loop.time() - begun < 6.0:
            raise stt_error()
        await metered(transcribes())(stream)

    made = ResilientSTT(
        [FakeSTT(comes_back, provider="First"), FakeSTT(transcribes(), provider="Second")],
        policies=Policies(failback=FailbackPolicy(min_dwell=5.0)),
    )
    reported = usage_of(made)
    played = await play(made, SPEECH.padded(1.0))
    assert played.score.ok, str(played.score)
    assert reported[0] == ("First", "first", "probe")
    await made.aclose()


async def test_usage_of_buffers() -> None:
    """The usage of an answered buffer has the role `active`, that of a recovery `probe`."""
    first = FakeSTT(error=stt_error(), provider="First")
    streams = FakeSTT(metered(says("hi")), offline_recognize=False, provider="Second")
    made = ResilientSTT([first, streams])
    reported = usage_of(made)
    await made.recognize(frames())
    assert set(reported) == {("Second", "second", "active")}
    first.error = None
    await asyncio.sleep(5.0)
    assert reported[-1] == ("First", "first", "probe")
    await made.recognize(frames())
    assert reported[-1] == ("First", "first", "active")
    await made.aclose()


# -- "forward keyterms, conversation items, flush and prewarm"


@has_keyterms
async def test_keyterms_of_connections_opened_later() -> None:
    """A connection opened after the keyterms were set sends them, with the real plugin."""
    async with arena(cartesia=[Drop(at_word=5, part=0.5), Drop(connections=from_(1))]) as a:
        a.stt._update_session_keyterms(["LiveKit", "Ångström"])
        await play(a.stt, SPEECH.excerpt(0, 1).padded(1.0))
        queries = [c.query.getall("keyterm") for c in a.deepgram.connections]
    assert queries
    assert all(terms == ["LiveKit", "Ångström"] for terms in queries)


async def test_conversation_items_come_before_a_later_connection() -> None:
    """A provider gets the conversation before it has to serve."""
    known: list[list[object]] = []

    async def behave(stream: FakeStream) -> None:
        known.append(list(stream.fake.items))
        await stream.listen()

    first = FakeSTT(fails(stt_error(), after=1.0))
    made = ResilientSTT([first, FakeSTT(behave, chat_context=True)])
    item: Any = object()
    async with made.stream() as stream:
        made._push_conversation_item(item)
        await asyncio.sleep(2.0)
        stream.end_input()
        await collect(stream)
    assert known == [[item]]


async def test_a_flush_reaches_a_connection_opened_later() -> None:
    """A flush without a final is repeated where its audio is replayed."""
    speech = SPEECH.excerpt(0, 0)
    flushed = asyncio.Event()

    async def on_flush(stream: FakeStream) -> None:
        async for frame in stream.received():
            if frame is None:
                flushed.set()

    async def dies(stream: FakeStream) -> None:
        async for frame in stream.received():
            if frame is None:
                raise stt_error()

    second = FakeSTT(on_flush, manual_flush=True)
    async with ResilientSTT([FakeSTT(dies, manual_flush=True), second]).stream() as stream:
        for piece in speech.frames():
            stream.push_frame(piece)
        stream.flush()
        async with asyncio.timeout(10.0):
            await flushed.wait()
        assert second.streams[0].audio == pytest.approx(speech.duration, abs=0.5)


@pytest.mark.parametrize(
    ("language", "warm"), [(NOT_GIVEN, "a"), ("es", "b"), ("es-MX", "b"), ("fr", "a")]
)
async def test_prewarms_the_first_of_the_route(language: NotGivenOr[str], warm: str) -> None:
    """The first provider of the default route, or of the constructor's language, is pre-warmed."""
    fakes = {"a": FakeSTT(), "b": FakeSTT()}
    made = routed(fakes, {"default": ["a", "b"], "es": ["b", "a"]}, language=language)
    made.prewarm()
    assert [name for name, fake in fakes.items() if fake.prewarmed] == [warm]


# -- "`capabilities`: truthful and dynamic; `manual_flush` and `interim_results` only if all
#    providers of the route have them; `keyterms`, `chat_context` if any has; `offline_recognize`"

NAMES = ("manual_flush", "interim_results", "keyterms", "chat_context")


@pytest.mark.parametrize("name", NAMES)
async def test_capabilities_change(name: str) -> None:
    """A provider's change of capabilities changes ours, also through an old reference."""
    fake = FakeSTT()
    made = ResilientSTT([fake])
    for able in (True, False):
        setattr(fake.capabilities, name, able)
        assert getattr(made.capabilities, name) is able
    assert made.capabilities.offline_recognize


# -- "`model`, `provider`, `metrics_metadata` are of the provider that serves"


async def test_labels_follow_buffers() -> None:
    """Labels are those of the provider of the last buffer; background recovery does not change
    them.
    """
    first = FakeSTT(error=stt_error(), provider="First")
    made = ResilientSTT([first, FakeSTT(text="hi", provider="Second")])
    await made.recognize(frames())
    first.error = None
    for _ in range(2):
        labels = {"model_name": made.model, "model_provider": made.provider}
        assert labels == {"model_name": "second-1", "model_provider": "Second"}
        assert made.metrics_metadata == labels
        await asyncio.sleep(5.0)
    assert len(first.recognized) > 1
    await made.recognize(frames())
    assert (made.model, made.provider) == ("first-1", "First")
    await made.aclose()


# -- `update_options`: LiveKit's own adapter raises AttributeError (#4641)


class Adjustable(FakeSTT):
    """A provider with options; a connection uses those of the time when it is opened."""

    options: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = {}

    def update_options(self, *, language: str = "", endpointing_ms: int = 0) -> None:
        self.options |= {"endpointing_ms": endpointing_ms}


async def test_options_reach_providers_that_take_them() -> None:
    """Options reach all providers whose `update_options` takes them, or `provider=` alone."""
    one, two, plain = Adjustable(), Adjustable(), FakeSTT()
    made = routed({"one": one, "two": two, "plain": plain}, {"default": ["one", "two", "plain"]})
    made.update_options(endpointing_ms=25)
    assert one.options == two.options == {"endpointing_ms": 25}
    made.update_options(provider="two", endpointing_ms=100)
    assert (one.options, two.options) == ({"endpointing_ms": 25}, {"endpointing_ms": 100})


class Refusing(FakeSTT):
    """A provider that refuses every option."""

    def update_options(self, *, endpointing_ms: int) -> None:
        raise ValueError(f"{endpointing_ms} ms is too long")


async def test_options_that_one_provider_refuses() -> None:
    """The other providers get them, open connections included, and the error names the refusing
    one.
    """
    one, two = Adjustable(), Adjustable()
    providers = {"one": one, "bad": Refusing(), "two": two}
    made = routed(providers, {"default": [*providers]})
    async with made.stream() as stream:
        await asyncio.sleep(1.0)
        with pytest.raises(ConfigurationError, match=r"refused by bad \(9 ms is too long\)"):
            made.update_options(endpointing_ms=9)
        await asyncio.sleep(1.0)
        stream.end_input()
        await collect(stream)
    assert one.options == two.options == {"endpointing_ms": 9}
    assert len(one.streams) == 2


async def test_options_of_connections_opened_later() -> None:
    """A connection that is opened after the change uses the new options."""
    seen: list[dict[str, Any]] = []

    async def behave(stream: FakeStream) -> None:
        assert isinstance(stream.fake, Adjustable)
        seen.append(dict(stream.fake.options))
        await stream.listen()

    made = ResilientSTT([FakeSTT(fails(stt_error(), after=1.0)), Adjustable(behave)])
    async with made.stream() as stream:
        made.update_options(endpointing_ms=25)
        await asyncio.sleep(2.0)
        stream.end_input()
        await collect(stream)
    assert seen == [{"endpointing_ms": 25}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpointing_msec": 1}, "takes no 'endpointing_msec'; did you mean 'endpointing_ms'"),
        ({"endpointing_ms": 1, "x": 1}, "takes no 'x'"),
        ({"provider": "tow", "endpointing_ms": 1}, "no provider 'tow'; did you mean 'two'"),
        ({"provider": "plain", "endpointing_ms": 1}, "of plain takes no 'endpointing_ms'"),
        ({"language": 7, "endpointing_ms": 1}, "language must be a BCP 47 tag"),
    ],
)
async def test_an_unknown_option(options: dict[str, Any], message: str) -> None:
    """An unknown option is refused with the nearest name, and nothing is changed."""
    two = Adjustable()
    made = routed({"two": two, "plain": FakeSTT()}, {"default": ["two", "plain"]})
    with pytest.raises(ConfigurationError, match=message):
        made.update_options(**options)
    assert two.options == {}


async def test_a_language_given_to_update_options() -> None:
    """Open streams go over to the language's route, and later ones begin there."""
    a, b = FakeSTT(says("hello")), FakeSTT(says("hola"))
    made = routed({"a": a, "b": b}, {"default": ["a", "b"], "es": ["b", "a"]})
    async with made.stream() as stream:
        await asyncio.sleep(1.0)
        made.update_options(language="es")
        await asyncio.sleep(1.0)
        stream.end_input()
        assert texts(await collect(stream)) == ["hello", "hola"]
    assert isinstance(stream, ResilientStream)
    async with made.stream() as stream:
        stream.end_input()
        await collect(stream)
    assert (len(a.streams), [s.language for s in b.streams]) == (1, ["es", "es"])
