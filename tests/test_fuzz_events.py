"""Whatever events a provider's stream gives, our stream lives, and every sane word comes once.

A real `ResilientSTT` over LiveKit STTs in process. The first one recognizes the reference speech
and in between gives events that no plugin should make, or raises any exception.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livekit.agents import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    LanguageCode,
    stt,
)
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import NOT_GIVEN, TimedString

from resilient_stt import ResilientSTT
from resilient_stt.errors import classify
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.speech.recognizer import AudioRecognizer, HeardWord
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import Behavior, FakeStream, FakeSTT, transcribes

pytestmark = pytest.mark.sweep

MORE = int(os.environ.get("FUZZ", "1"))
"""Times as many examples as in CI."""
SPEECH = ReferenceSpeech.load("english").excerpt(0, 1).padded(1.0)
WORDS = [w.text for w in SPEECH.words]
PATIENCE = 60.0
"""Seconds after the end of the input in which the stream must have ended."""
KINDS = list(SpeechEventType)
START, END, FINAL = (
    SpeechEventType.START_OF_SPEECH,
    SpeechEventType.END_OF_SPEECH,
    SpeechEventType.FINAL_TRANSCRIPT,
)
TRANSCRIPTS = (FINAL, SpeechEventType.INTERIM_TRANSCRIPT, SpeechEventType.PREFLIGHT_TRANSCRIPT)
MARK = "\u2603"
"""Stands in every text that was not spoken, to distinguish it from the words that were."""


def fuzzed(count: int) -> Callable[[Any], Any]:
    """The settings of a fuzzer that tries `count` examples in CI."""
    return settings(
        max_examples=count * MORE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# -- what a stream may say

huge = st.sampled_from([("x", 100_000), ("so it is ", 20_000)]).map(lambda t: t[0] * t[1])
texts = st.one_of(
    st.text(st.characters(), max_size=8),
    st.sampled_from(["", " ", "\ud800", "\udfff\ud800", "\x00", "..."]),
    huge,
)
odd_texts: st.SearchStrategy[Any] = texts | st.sampled_from([None, 7, b"x", ["x"], {}])
no_times: st.SearchStrategy[Any] = st.sampled_from(
    [math.nan, math.inf, -math.inf, 1e308, -1e308, 10**9, -(10**9), 1e12]
)
"""Numbers that cannot be a time of what was sent."""
times: st.SearchStrategy[Any] = (
    no_times
    | st.floats()
    | st.floats(-2, 12)
    | st.sampled_from([0, 10**400, -(10**400), None, "1.5", NOT_GIVEN, True])
)


def timed_strings(
    text: st.SearchStrategy[str], at: st.SearchStrategy[Any], offset: st.SearchStrategy[Any]
) -> st.SearchStrategy[TimedString]:
    return st.builds(TimedString, text, at, at, start_time_offset=offset)


offsets = st.just(NOT_GIVEN) | times
words: st.SearchStrategy[Any] = st.none() | st.lists(
    timed_strings(texts, times, offsets) | texts, max_size=4
)
data: st.SearchStrategy[Any] = st.builds(
    stt.SpeechData,
    language=st.sampled_from(["en", "", "zh-Hant", "--", "\ud800", None, 7]),
    text=odd_texts,
    start_time=times,
    end_time=times,
    confidence=times,
    speaker_id=st.sampled_from([None, "S1", 1]),
    words=words | st.just(()) | st.just("words"),
    metadata=st.none() | st.just({"a": 1}) | st.just([1]) | st.just("m"),
)
events: st.SearchStrategy[Any] = st.builds(
    stt.SpeechEvent,
    type=st.sampled_from(KINDS),
    alternatives=st.lists(data, max_size=3) | st.none(),
    speech_start_time=times,
) | st.sampled_from([None, "event", 7])


def caused_by_itself() -> Exception:
    error = APIConnectionError("circle")
    error.__cause__ = error
    return error


def nameless(error: Any) -> Exception:
    """An error whose fields are not what LiveKit's types promise."""
    for name in ("message", "status_code", "body"):
        if hasattr(error, name):
            setattr(error, name, None)
    assert isinstance(error, Exception)
    return error


def status(code: int, wait: object = None) -> Exception:
    return APIStatusError("told", status_code=code, body={"Retry-After": wait})


NUMBERS = (-1, 0, 99, 400, 401, 429, 503, 600, 1011, 10**9)
DELAYS: list[Any] = [math.nan, 10**400, "abc", [], -1, "1e999", "inf", True, "2"]
ERRORS: list[Callable[[], BaseException]] = [
    lambda: APIError("odd"),
    lambda: APIConnectionError(""),
    APITimeoutError,
    *(partial(status, number) for number in NUMBERS),
    *(partial(status, 429, delay) for delay in DELAYS),
    caused_by_itself,
    lambda: nameless(APIConnectionError("x")),
    lambda: nameless(APIStatusError("x", status_code=500)),
    lambda: ValueError("\ud800"),
    lambda: ExceptionGroup("several", [KeyError("text"), OSError(32, "broken")]),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    RecursionError,
    asyncio.CancelledError,
    StopAsyncIteration,
]


@dataclass(frozen=True)
class Act:
    """What a stream does after so much audio: give an event, raise, or end."""

    at: float
    event: Any = None
    error: Callable[[], BaseException] | None = None
    ends: bool = False


moments = st.floats(0, SPEECH.duration).map(lambda s: round(s, 2))
tells = st.builds(Act, moments, events)
raises = st.builds(Act, moments, error=st.sampled_from(ERRORS))
ends = st.builds(Act, moments, ends=st.just(True))


def recognizes(acts: Sequence[Act], *, connections: int, **how: bool) -> Behavior:
    """Recognize the reference speech, and do these acts on the first connections."""

    healthy = transcribes(**how)

    async def behave(stream: FakeStream) -> None:
        if len(stream.fake.streams) > connections:
            await healthy(stream)
            return
        hearing, pending = AudioRecognizer(), list[HeardWord]()
        waiting = sorted(acts, key=lambda act: act.at)
        async for frame in stream.received():
            if frame is None:
                continue
            pending += hearing.feed(bytes(frame.data.cast("B")))
            if hearing.silence >= 0.3:
                tell_words(stream, pending, **how)
            while waiting and waiting[0].at <= stream.audio:
                if not perform(waiting.pop(0), stream):
                    return
        pending += hearing.finish()
        tell_words(stream, pending, **how)

    return behave


def tell_words(
    stream: FakeStream,
    pending: list[HeardWord],
    *,
    times: bool = True,
    adds_offset: bool = True,
    names_offset: bool = True,
) -> None:
    """Give a FINAL of the pending words, as `transcribes` does."""
    if not pending:
        return
    shift = stream.start_time_offset if adds_offset else 0.0
    offset = stream.start_time_offset if names_offset else NOT_GIVEN
    words = [
        TimedString(w.text, w.start + shift, w.end + shift, start_time_offset=offset)
        for w in pending
    ]
    text = " ".join(w.text for w in pending)
    pending.clear()
    stream.final(text, words=words if times else None)


def perform(act: Act, stream: FakeStream) -> bool:
    """Do it; return whether the stream goes on."""
    if act.error is not None:
        raise act.error()
    if not act.ends:
        stream.send(act.event)
    return not act.ends


# -- what came of it


@dataclass
class Heard:
    """The events of a stream, and what it raised."""

    events: list[stt.SpeechEvent] = field(default_factory=list)
    error: Exception | None = None

    @property
    def sane(self) -> list[stt.SpeechData]:
        """The finals that have no mark."""
        finals = [e.alternatives[0] for e in self.events if e.type is FINAL]
        return [f for f in finals if MARK not in f.text]

    @property
    def words(self) -> list[str]:
        return [word for final in self.sane for word in final.text.split()]


async def hear(behavior: Behavior, *, vad: bool = True, second: Behavior | None = None) -> Heard:
    """Push the speech to the fuzzed provider, with a healthy one behind it."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    heard = Heard()
    route = [FakeSTT(behavior, provider="Odd"), FakeSTT(second or transcribes())]
    resilient = ResilientSTT(route) if vad else ResilientSTT(route, vad=None)

    async def push(stream: stt.RecognizeStream) -> None:
        for frame in SPEECH.frames(frame_duration=0.1):
            await asyncio.sleep(frame.duration)
            stream.push_frame(frame)
        stream.end_input()

    async def listen(stream: stt.RecognizeStream) -> None:
        async for event in stream:
            heard.events.append(event)

    async with resilient.stream() as stream:
        pushing = asyncio.create_task(push(stream))
        try:
            async with asyncio.timeout(SPEECH.duration + PATIENCE):
                await listen(stream)
        except Exception as error:
            heard.error = error
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)
    await resilient.aclose()
    await asyncio.sleep(1)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left: {left}"
    assert not complaints, f"nobody took these: {complaints}"
    return heard


def run(main: Coroutine[Any, Any, Heard]) -> Heard:
    """Run in virtual time, and check what every stream is promised."""
    heard = run_virtual(main)
    assert heard.error is None
    edges = [e.type for e in heard.events if e.type in (START, END)]
    assert edges == [START, END] * (len(edges) // 2)
    for event in heard.events:
        if event.type in TRANSCRIPTS:
            check_told(event)
    return heard


def check_told(event: stt.SpeechEvent) -> None:
    """A consumer can use the event: it has a text, and its times are times."""
    first = event.alternatives[0]
    assert isinstance(first.text, str)
    assert first.text.strip()
    for reported in event.alternatives:
        assert math.isfinite(reported.start_time)
        assert math.isfinite(reported.end_time)
    for word in first.words or []:
        assert isinstance(word.start_time, float)
        assert isinstance(word.end_time, float)
        assert math.isfinite(word.start_time)
        assert math.isfinite(word.end_time)


def check_times(heard: Heard) -> None:
    """Every sane word has the time at which it was spoken."""
    reported = [w for final in heard.sane for w in final.words or []]
    assert [str(w) for w in reported] == WORDS
    for word, truth in zip(reported, SPEECH.words, strict=True):
        assert word.start_time == pytest.approx(truth.start, abs=0.1)
        assert word.end_time == pytest.approx(truth.end, abs=0.1)


# -- the properties


@pytest.mark.parametrize("make", ERRORS)
def test_every_error_has_a_kind(make: Callable[[], BaseException]) -> None:
    """Every exception has a kind, and a `retry_after` is a time that can be waited."""
    failure = classify(make())
    assert failure.retry_after is None or 0 < failure.retry_after < math.inf


@given(
    st.lists(tells | tells | raises | ends, min_size=1, max_size=6),
    st.integers(1, 4),
    st.booleans(),
)
@fuzzed(60)
def test_no_event_kills_the_stream(acts: list[Act], connections: int, vad: bool) -> None:
    """No exception, no hang, balanced speech events, and every event can be used."""
    run(hear(recognizes(acts, connections=connections), vad=vad))


marked = texts.map(lambda t: MARK + t)
bad_words = st.lists(timed_strings(marked, no_times, offsets), min_size=1, max_size=3)
noise_data = st.builds(
    stt.SpeechData,
    language=st.sampled_from(["en", "", "--", None]),
    text=marked,
    start_time=no_times,
    end_time=no_times,
    words=st.none() | bad_words,
)
noises = st.builds(
    stt.SpeechEvent,
    type=st.sampled_from(KINDS),
    alternatives=st.just([]) | st.lists(noise_data, min_size=1, max_size=2),
)
"""Events that say nothing about the audio: no word that was spoken, and no time that can be."""
chatter = st.lists(st.builds(Act, moments, noises), min_size=1, max_size=6)


@given(chatter, st.booleans(), st.booleans(), st.booleans())
@fuzzed(40)
def test_sane_words_come_once(
    acts: list[Act], vad: bool, adds_offset: bool, names_offset: bool
) -> None:
    """Nonsense in between changes no word, no order and no time of the words around it."""
    odd = recognizes(acts, connections=9, adds_offset=adds_offset, names_offset=names_offset)
    heard = run(hear(odd, vad=vad))
    assert heard.words == WORDS
    check_times(heard)


silent = st.builds(
    stt.SpeechEvent,
    type=st.sampled_from([kind for kind in KINDS if kind is not FINAL]),
    alternatives=st.just([]) | st.lists(noise_data, min_size=1, max_size=2),
) | st.builds(stt.SpeechEvent, type=st.just(FINAL))
"""Noises that give no text for final, which would speak for audio."""


@given(
    st.lists(st.builds(Act, moments, silent), max_size=4),
    st.lists(raises | ends, min_size=1, max_size=1),
    st.integers(1, 4),
)
@fuzzed(40)
def test_a_stream_that_dies_costs_no_word(
    acts: list[Act], deaths: list[Act], connections: int
) -> None:
    """However a stream dies, every word comes once."""
    heard = run(hear(recognizes(acts + deaths, connections=connections)))
    assert heard.words == WORDS


@pytest.mark.parametrize(
    "fields",
    [
        {"language": None},
        {"language": 7},
        {"metadata": [1]},
        {"words": [TimedString("x", -(10**400), -(10**400))]},
    ],
    ids=str,
)
def test_fields_of_a_wrong_type_cost_no_word(fields: dict[str, Any]) -> None:
    """An interim with fields of wrong types, which once killed a stream, costs no word."""
    data = stt.SpeechData(**{"language": LanguageCode("en"), "text": MARK, **fields})
    odd = stt.SpeechEvent(type=SpeechEventType.INTERIM_TRANSCRIPT, alternatives=[data])
    heard = run(hear(recognizes([Act(1.0, odd)], connections=1)))
    assert heard.words == WORDS


@pytest.mark.parametrize("vad", [True, False])
def test_a_thousand_finals_in_a_row(vad: bool) -> None:
    """A provider that floods its stream delays nothing."""
    flood = [Act(1.0, noise(f"{MARK}{number}")) for number in range(1_000)]
    heard = run(hear(recognizes(flood, connections=1), vad=vad))
    finals = [e for e in heard.events if e.type is FINAL]
    assert len(finals) == 1_000 + len(heard.sane)
    assert heard.words == WORDS


def noise(text: str) -> stt.SpeechEvent:
    """A FINAL without times."""
    data = stt.SpeechData(LanguageCode("en"), text)
    return stt.SpeechEvent(type=FINAL, alternatives=[data])
