"""In place of LiveKit's `FallbackAdapter`: what its users rely on holds here, too."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from typing import Any

import pytest
from livekit.agents import APIConnectionError, LanguageCode
from livekit.agents.stt import (
    STT,
    AvailabilityChangedEvent,
    FallbackAdapter,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
)
from livekit.agents.types import NOT_GIVEN, TimedString

from resilient_stt import ResilientSTT
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import (
    Behavior,
    FakeStream,
    FakeSTT,
    collect,
    fails,
    fails_at_end,
    frames,
    says,
    stt_error,
    texts,
    transcribes,
)

pytestmark = pytest.mark.stt_virtual_time


class Availability:
    """Records availability changes by the provider's identity."""

    def __init__(self, made: ResilientSTT) -> None:
        self.reported: list[tuple[int, bool]] = []
        self._changed = asyncio.Event()
        made.on("stt_availability_changed", self._on_change)

    def _on_change(self, event: AvailabilityChangedEvent) -> None:
        self.reported.append((id(event.stt), event.available))
        self._changed.set()

    async def until(self, *expected: tuple[STT[Any], bool], within: float) -> None:
        """Wait until exactly these changes were reported since the last call."""
        wanted = [(id(stt), available) for stt, available in expected]
        async with asyncio.timeout(within):
            while len(self.reported) < len(wanted):
                self._changed.clear()
                await self._changed.wait()
        assert self.reported == wanted
        self.reported.clear()


def made_of(*providers: STT[Any], **options: Any) -> ResilientSTT:
    """Make it as users make a `FallbackAdapter`: a list first, then these keywords."""
    given = {"attempt_timeout": 10.0, "max_retry_per_stt": 1, "retry_interval": 5.0, **options}
    return ResilientSTT(list(providers), **given)


async def test_takes_the_same_arguments() -> None:
    """Every parameter of `FallbackAdapter` is one of ours, in its place and of its kind."""
    theirs = inspect.signature(FallbackAdapter).parameters
    ours = inspect.signature(ResilientSTT).parameters
    assert next(iter(ours)) == next(iter(theirs)) == "stt"
    for name, parameter in theirs.items():
        assert ours[name].kind is parameter.kind
    first, second = FakeSTT(), FakeSTT()
    assert ResilientSTT(stt=[first, second]).providers == (first, second)


async def test_recognizes_with_the_first_that_answers() -> None:
    """A failed batch provider is reported by its own object, and the next one answers."""
    bad = FakeSTT(error=APIConnectionError("down"))
    good = FakeSTT(text="good morning")
    made = made_of(bad, good)
    availability = Availability(made)
    event = await made.recognize([])
    assert event.alternatives[0].text == "good morning"
    assert (len(bad.recognized), len(good.recognized)) == (1, 1)
    await availability.until((bad, False), within=0)
    good.error = APIConnectionError("down, too")
    with pytest.raises(APIConnectionError):
        await made.recognize([])
    await availability.until((good, False), within=0)
    await made.aclose()


async def test_streams_with_the_first_that_works() -> None:
    """A stream whose input ends at once gets the fallback's words and reports one change."""
    bad, good = FakeSTT(fails_at_end(stt_error())), FakeSTT(says("good morning"))
    made = made_of(bad, good)
    availability = Availability(made)
    async with made.stream() as stream:
        stream.end_input()
        assert texts(await collect(stream)) == ["good morning"]
    assert (len(bad.streams), len(good.streams)) == (1, 1)
    await availability.until((bad, False), within=0)


async def test_a_lone_final_is_the_only_event() -> None:
    """A provider that emits one FINAL and nothing else makes one event."""

    async def on_flush(stream: FakeStream) -> None:
        async for frame in stream.received():
            if frame is None and stream.audio:
                stream.final("good morning")
                stream.audio = 0.0

    for behavior in (says("good morning"), on_flush):
        made = made_of(FakeSTT(fails(stt_error())), FakeSTT(behavior), max_retry_per_stt=0)
        async with made.stream() as stream:
            await asyncio.sleep(0.2)
            stream.push_frame(frames(0.01, duration=0.01, rate=48_000)[0])
            stream.end_input()
            events = await collect(stream)
        assert [e.type for e in events] == [SpeechEventType.FINAL_TRANSCRIPT]
        assert texts(events) == ["good morning"]


async def test_connections_begin_on_the_streams_clock() -> None:
    """An offset set right after `stream()` reaches every provider's stream."""
    bad, good = FakeSTT(fails_at_end(stt_error())), FakeSTT(says("hi"))
    stream = made_of(bad, good).stream()
    stream.start_time_offset = 30.0
    async with stream:
        stream.end_input()
        await collect(stream)
    for fake in (bad, good):
        assert fake.streams[0].start_time_offset >= 30.0


async def test_a_batch_provider_comes_back_by_itself() -> None:
    """A provider that failed in `recognize()` and works again is available within a second."""
    dead = FakeSTT(error=APIConnectionError("down"))
    back = FakeSTT(error=APIConnectionError("down"), delay=0.5)
    made = made_of(dead, back)
    availability = Availability(made)
    with pytest.raises(APIConnectionError):
        await made.recognize([])
    back.error, back.text = None, "good morning"
    await availability.until((dead, False), (back, False), within=0)
    try:
        await availability.until((back, True), within=1.0)
        event = await made.recognize([])
    finally:
        await made.aclose()
    assert event.alternatives[0].text == "good morning"
    assert availability.reported == []


class Broken(FakeStream):
    """A provider whose stream refuses audio and never ends."""

    def push_frame(self, frame: object) -> None:
        raise RuntimeError("broken")

    def flush(self) -> None:
        raise RuntimeError("broken")


async def test_a_broken_stream_costs_no_audio() -> None:
    """A provider whose stream raises on every frame costs the fallback no audio."""

    class BrokenSTT(FakeSTT):
        kind = Broken

    async def forever(_: FakeStream) -> None:
        await asyncio.Event().wait()

    good = FakeSTT(transcribes())
    speech = ReferenceSpeech.load("english").excerpt(0, 0)
    played = await play(made_of(BrokenSTT(forever), good), speech.padded(1.0))
    assert played.score.ok, str(played.score)


def kinds(events: Iterable[Any]) -> list[SpeechEventType]:
    return [e.type for e in events]


@pytest.mark.parametrize("working", [False, True], ids=["before words", "after words"])
async def test_speech_events_balance(working: bool) -> None:
    """If a connection dies while speech is open, the consumer still gets its END_OF_SPEECH."""

    async def dies(stream: FakeStream) -> None:
        stream.say(SpeechEventType.START_OF_SPEECH)
        if working:
            stream.say(SpeechEventType.INTERIM_TRANSCRIPT, "good")
        await stream.listen()
        raise stt_error()

    async def lives(stream: FakeStream) -> None:
        stream.say(SpeechEventType.START_OF_SPEECH)
        stream.final("good morning")
        stream.say(SpeechEventType.END_OF_SPEECH)
        await stream.listen()

    async with made_of(FakeSTT(dies), FakeSTT(lives)).stream() as stream:
        stream.end_input()
        events = await collect(stream)
    edges = [
        k
        for k in kinds(events)
        if k in (SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH)
    ]
    assert edges == [SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH]
    assert texts(events) == ["good morning"]
    last = kinds(events).index(SpeechEventType.FINAL_TRANSCRIPT)
    assert last < kinds(events).index(SpeechEventType.END_OF_SPEECH)


TRANSCRIPTS = (
    SpeechEventType.INTERIM_TRANSCRIPT,
    SpeechEventType.PREFLIGHT_TRANSCRIPT,
    SpeechEventType.FINAL_TRANSCRIPT,
)


async def test_transcripts_have_alternatives() -> None:
    """Transcript events without alternatives, which would crash consumers, are not emitted."""

    async def behave(stream: FakeStream) -> None:
        for kind in TRANSCRIPTS:
            stream.say(kind)
            stream.say(kind, "hi")
        await stream.listen()

    async with made_of(FakeSTT(behave)).stream() as stream:
        stream.end_input()
        events = await collect(stream)
    assert [k for k in kinds(events) if k in TRANSCRIPTS] == list(TRANSCRIPTS)
    assert all(e.alternatives for e in events if e.type in TRANSCRIPTS)


@pytest.mark.parametrize("behavior", [says(""), says("   ")], ids=["empty", "blank"])
async def test_empty_finals_are_no_words(behavior: Behavior) -> None:
    """An empty FINAL adds nothing to a turn."""
    async with made_of(FakeSTT(behavior)).stream() as stream:
        stream.end_input()
        assert "".join(texts(await collect(stream))).strip() == ""


async def test_extra_fields_are_kept() -> None:
    """Confidence, speaker, metadata and request id of a provider's event reach the consumer."""

    async def behave(stream: FakeStream) -> None:
        stream.final(
            "hi", confidence=0.5, speaker_id="S1", metadata={"a": 1}, is_primary_speaker=True
        )
        await stream.listen()

    async with made_of(FakeSTT(behave)).stream() as stream:
        stream.end_input()
        [event] = await collect(stream)
    data = event.alternatives[0]
    assert (data.confidence, data.speaker_id) == (0.5, "S1")
    assert data.is_primary_speaker
    assert data.metadata is not None
    assert data.metadata["a"] == 1


async def test_other_alternatives_are_passed_on() -> None:
    """A provider's other alternatives come with the first one, at its time."""
    code = LanguageCode("en")

    async def behave(stream: FakeStream) -> None:
        texts = ("won", "one", "wan")
        heard = [SpeechData(code, t, start_time=n + 1.0, end_time=9.0) for n, t in enumerate(texts)]
        event = SpeechEvent(type=SpeechEventType.FINAL_TRANSCRIPT, alternatives=heard)
        await stream.listen()
        stream._event_ch.send_nowait(event)

    async with made_of(FakeSTT(behave)).stream() as stream:
        for frame in frames(10.0):
            stream.push_frame(frame)
        stream.end_input()
        [event] = await collect(stream)
    assert [a.text for a in event.alternatives] == ["won", "one", "wan"]
    assert [(a.start_time, a.end_time) for a in event.alternatives] == [
        pytest.approx((1, 9), abs=0.01)
    ] * 3


async def test_the_language_reaches_the_provider() -> None:
    """Every connection is opened with the language of `stream(language=...)`."""
    bad, good = FakeSTT(fails(stt_error())), FakeSTT(says("hola"))
    async with made_of(bad, good).stream(language="es") as stream:
        stream.end_input()
        await collect(stream)
    assert [s.language for s in bad.streams + good.streams] == ["es", "es"]


@pytest.mark.parametrize("language", ["und", "MUL", "", None])
async def test_an_unknown_language_is_not_passed_on(language: Any) -> None:
    """Tags of an unknown language are not passed on; each provider uses its own language."""
    fake = FakeSTT(says("hola"), text="hola")
    resilient = made_of(fake)
    async with resilient.stream(language=language) as stream:
        stream.end_input()
        await collect(stream)
    await resilient.recognize(frames(), language=language)
    assert [s.language for s in fake.streams] == [NOT_GIVEN]
    assert fake.languages == [""]


async def test_one_language_has_one_tag() -> None:
    """A provider that calls it `en-US` after another one called it `en` changes no language."""

    async def american(stream: FakeStream) -> None:
        data = [
            SpeechData(LanguageCode(tag), text)
            for tag, text in [("en-US", "good morning"), ("es", "buenos dias")]
        ]
        for each in data:
            stream.send(SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, alternatives=[each]))
        await stream.listen()

    async def british(stream: FakeStream) -> None:
        stream.final("hello there my friend")
        raise stt_error()

    made = made_of(FakeSTT(british), FakeSTT(american))
    async with made.stream() as stream:
        stream.end_input()
        events = await collect(stream)
    finals = [e.alternatives[0] for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
    assert {f.text: f.language for f in finals}["good morning"] == "en"
    assert finals[-1].language == "es"


@pytest.mark.parametrize(
    ("own", "words", "expected"),
    [
        (0.9, [0.5, 0.5], 0.9),
        (0.0, [0.5, 0.7], 0.6),
        (0.0, [0.5, NOT_GIVEN], 0.0),
        (0.0, ["high", "low"], 0.0),
        (0.0, [], 0.0),
    ],
)
async def test_confidence(own: float, words: list[Any], expected: float) -> None:
    """A transcript without a confidence has that of its words, if all have one; else 0."""
    timed = [TimedString("so", 0.0, 0.1, confidence=c) for c in words]
    fake = FakeSTT(says("so so", confidence=own, words=timed or None))
    async with made_of(fake).stream() as stream:
        stream.end_input()
        events = await collect(stream)
    final = next(e for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT)
    assert final.alternatives[0].confidence == pytest.approx(expected)
