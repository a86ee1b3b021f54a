"""Providers whose times are of the wrong kind, or missing: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode
from livekit.agents.stt import SpeechData, SpeechEvent, SpeechEventType, StreamAdapter
from livekit.agents.types import NOT_GIVEN, NotGivenOr, TimedString
from livekit.agents.utils import AudioBuffer

from resilient_stt import ResilientSTT
from resilient_stt.core.events import Event, ProviderFailed
from resilient_stt.testing.harness.play import Played, play
from resilient_stt.testing.speech.recognizer import AudioRecognizer
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import Behavior, FakeStream, FakeSTT, a_vad, listen, stt_error

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").padded(1.0)


@dataclass(frozen=True)
class Heard:
    """A word as it is told: any text, and times in seconds of the connection's audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Now:
    """What a wrong clock may be derived from, in seconds."""

    utterance: float
    """Where the utterance began, in the connection's audio."""
    sent: float
    """How much audio the connection was sent."""
    earlier: float
    """How much audio the connections before it were sent."""


Clock = Callable[[Sequence[Heard], Now], Sequence[Heard] | None]


def shifted(by: Callable[[Now], float], factor: float = 1.0) -> Clock:
    """Return a clock that begins elsewhere, or has other units."""
    return lambda words, now: [
        Heard(w.text, (w.start + by(now)) * factor, (w.end + by(now)) * factor) for w in words
    ]


def one_segment(words: Sequence[Heard], _: Now) -> Sequence[Heard]:
    return [Heard(" ".join(w.text for w in words), words[0].start, words[-1].end)]


def all_at(second: float) -> Clock:
    return lambda words, _: [Heard(w.text, second, second) for w in words]


CLOCKS: dict[str, Clock] = {
    "none": lambda words, now: None,
    "utterance": shifted(lambda now: -max(0.0, now.utterance - 0.2)),
    "utterance, exactly": shifted(lambda now: -now.utterance),
    "segments": one_segment,
    "segments of utterances": lambda words, now: one_segment(
        CLOCKS["utterance"](words, now) or (), now
    ),
    "milliseconds": shifted(lambda _: 0.0, 1e3),
    "ticks": shifted(lambda _: 0.0, 1e7),
    "minutes": shifted(lambda _: 0.0, 1 / 60),
    "kiloseconds": shifted(lambda _: 0.0, 1e-3),
    "wall clock": shifted(lambda _: 1.76e9),
    "wall clock in ms": shifted(lambda _: 1.76e9, 1e3),
    "all the connections": shifted(lambda now: now.earlier),
    "zero": all_at(0.0),
    "constant": all_at(1.0),
    "what was sent": lambda words, now: [Heard(w.text, now.sent, now.sent) for w in words],
    "the future": shifted(lambda _: 3.0),
    "negative": shifted(lambda _: -100.0),
}


@dataclass
class Odd:
    """How a provider recognizes the reference speech, with a FINAL per pause of 0.3 s.

    `times`: `words`, or `end` for the times of the whole transcript only. `late`: seconds of audio
    after which a final comes. `drops`: seconds of audio of its first connection after which it
    drops, and every later one refuses.
    """

    clock: Clock
    interims: bool
    late: float = 0.0
    drops: float = 0.0
    times: str = "words"
    earlier: list[FakeStream] = field(default_factory=list)

    async def __call__(self, stream: FakeStream) -> None:
        if self.drops and self.earlier:
            raise stt_error()
        await _Hearing(self, stream, sum(other.audio for other in self.earlier)).run()

    def tell(
        self, stream: FakeStream, kind: SpeechEventType, words: Sequence[Heard], now: Now
    ) -> None:
        told, text = self.clock(words, now), " ".join(w.text for w in words)
        if told is None:
            stream.say(kind, text)
            return
        offset = stream.start_time_offset
        timed = [
            TimedString(w.text, w.start + offset, w.end + offset, start_time_offset=offset)
            for w in told
        ]
        stream.say(
            kind,
            text,
            words=timed if self.times == "words" else None,
            start_time=told[0].start + offset,
            end_time=told[-1].end + offset,
        )


class _Hearing:
    """One connection of it."""

    def __init__(self, of: Odd, stream: FakeStream, before: float) -> None:
        of.earlier.append(stream)
        self._of, self._stream, self._before = of, stream, before
        self._recognizer = AudioRecognizer()
        self._pending: list[Heard] = []
        self._due: list[tuple[float, list[Heard], Now]] = []

    async def run(self) -> None:
        async for frame in self._stream.received():
            if frame is not None:
                self._hear(frame)
        self._add([Heard(w.text, w.start, w.end) for w in self._recognizer.finish()])
        self._end_utterance()
        self._tell_due(math.inf)

    def _hear(self, frame: rtc.AudioFrame) -> None:
        words = self._recognizer.feed(bytes(frame.data.cast("B")))
        self._add([Heard(w.text, w.start, w.end) for w in words])
        if words and self._of.interims:
            kind = SpeechEventType.INTERIM_TRANSCRIPT
            self._of.tell(self._stream, kind, self._pending, self._now)
        if self._recognizer.silence >= 0.3:
            self._end_utterance()
        self._tell_due(self._stream.audio)
        if self._of.drops and self._stream.audio >= self._of.drops:
            raise stt_error()

    def _add(self, words: list[Heard]) -> None:
        self._pending.extend(words)

    @property
    def _now(self) -> Now:
        return Now(self._pending[0].start, self._stream.audio, self._before)

    def _end_utterance(self) -> None:
        if self._pending:
            self._due.append((self._stream.audio + self._of.late, self._pending, self._now))
            self._pending = []

    def _tell_due(self, through: float) -> None:
        while self._due and self._due[0][0] <= through:
            _, words, now = self._due.pop(0)
            self._of.tell(self._stream, SpeechEventType.FINAL_TRANSCRIPT, words, now)


def hears(clock: Clock, *, interims: bool, **options: Any) -> Behavior:
    return Odd(clock, interims, **options)


def honest(**options: Any) -> Behavior:
    return hears(shifted(lambda _: 0.0), interims=True, **options)


async def heard(*behaviors: tuple[Behavior, bool]) -> tuple[Played, list[Event]]:
    """Play the reference speech to providers, each with or without interim transcripts."""
    route = [
        FakeSTT(behavior, provider=f"P{number}", interim_results=interims)
        for number, (behavior, interims) in enumerate(behaviors)
    ]
    events: list[Event] = []
    resilient = ResilientSTT(route)
    listen(resilient, events.append)
    played = await play(resilient, SPEECH)
    await resilient.aclose()
    return played, events


class Batch(FakeSTT):
    """Recognizes buffers only, with the times of each buffer."""

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> SpeechEvent:
        if self.error:
            raise self.error
        recognizer = AudioRecognizer()
        words = recognizer.feed(bytes(rtc.combine_audio_frames(buffer).data.cast("B")))
        words += recognizer.finish()
        text = " ".join(w.text for w in words)
        timed = [TimedString(w.text, w.start, w.end) for w in words]
        end = words[-1].end if words else 0.0
        data = SpeechData(LanguageCode("en"), text, words=timed, end_time=end)
        return SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])


@pytest.mark.parametrize(("drops", "local"), [(0.0, {}), (11.5, {}), (0.0, {"vad": None})])
async def test_times_behind_a_stream_adapter(drops: float, local: dict[str, Any]) -> None:
    """LiveKit's StreamAdapter passes on the times of each utterance's buffer."""
    batch = Batch(streaming=False)
    second = FakeSTT(honest(), provider="P1", interim_results=True)
    first = StreamAdapter(stt=batch, vad=a_vad())
    if drops:
        asyncio.get_running_loop().call_later(drops, setattr, batch, "error", stt_error())
    events: list[Event] = []
    resilient = ResilientSTT([first, second], **local)
    listen(resilient, events.append)
    played = await play(resilient, SPEECH)
    await resilient.aclose()
    # The adapter itself may clip a word.
    assert (played.score.lost, played.score.twice) == (0, 0), [f.text for f in played.finals]
    assert bool([e for e in events if isinstance(e, ProviderFailed)]) is (drops > 0)


def check(played: Played) -> None:
    score = played.score
    assert (score.lost, score.twice, score.fragments) == (0, 0, 0), [f.text for f in played.finals]


@pytest.mark.parametrize(("times", "interims"), [("words", True), ("end", False)])
@pytest.mark.parametrize("clock", CLOCKS)
async def test_wrong_times_are_no_failure(clock: str, times: str, interims: bool) -> None:
    """A provider that works is not left because of its times, and tells each word once."""
    behavior = hears(CLOCKS[clock], interims=interims, times=times)
    played, events = await heard((behavior, interims), (honest(), True))
    check(played)
    assert not [e for e in events if isinstance(e, ProviderFailed)]


@pytest.mark.sweep
@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("drops", [2.6, 5.6, 9.1, 13.2, 18.5, 23.9])
@pytest.mark.parametrize("clock", CLOCKS)
async def test_wrong_times_commit_no_word_that_did_not_come(
    clock: str, drops: float, interims: bool
) -> None:
    """A provider with wrong times drops at any moment: what it had not told comes from the next."""
    behavior = hears(CLOCKS[clock], interims=interims, drops=drops, late=0.4)
    played, _ = await heard((behavior, interims), (honest(), True))
    check(played)
