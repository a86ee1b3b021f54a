"""The times of speech on the wall clock are the caller's, after any number of switches."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from livekit.agents import LanguageCode, stt
from livekit.agents.stt import SpeechEventType

from resilient_stt import ResilientSTT
from resilient_stt.testing.speech.recognizer import AudioRecognizer, HeardWord
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import FakeStream, FakeSTT, collect, frames, stt_error

pytestmark = [
    pytest.mark.stt_virtual_time,
    pytest.mark.skipif(
        not hasattr(stt.SpeechEvent(type=SpeechEventType.START_OF_SPEECH), "speech_end_time"),
        reason="this LiveKit has no times of speech",
    ),
]

SPEECH = ReferenceSpeech.load("english").excerpt(0, 3)


@pytest.fixture(autouse=True)
async def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the wall clock go as fast as the loop's; it shows the year 2026."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(time, "time", lambda: 1.78e9 + loop.time())


@dataclass
class Recognition:
    """Recognizes words, with times of speech on the wall clock.

    `from_first_frame`: as AssemblyAI's plugin makes them, by adding the time in audio to that of
    the first frame; otherwise as LiveKit's `StreamAdapter` does, by subtracting from now. `until`:
    seconds of audio after which the connection drops.
    """

    from_first_frame: bool
    until: float = 0.0

    async def __call__(self, stream: FakeStream) -> None:
        recognizer, words = AudioRecognizer(), list[HeardWord]()
        async for frame in stream.received():
            if frame is None:
                continue
            if self.from_first_frame and stream.audio <= frame.duration:
                await asyncio.sleep(0)
                stream.start_time = time.time() - frame.duration
            words += recognizer.feed(bytes(frame.data.cast("B")))
            if words and recognizer.silence >= 0.3:
                self.give_final(stream, words, recognizer.position)
                words = []
            if self.until and stream.audio >= self.until:
                raise stt_error()

    def give_final(self, stream: FakeStream, words: list[HeardWord], position: float) -> None:
        data = stt.SpeechData(LanguageCode("en"), " ".join(w.text for w in words))
        first = stream.start_time if self.from_first_frame else time.time() - position
        for kind in (
            SpeechEventType.START_OF_SPEECH,
            SpeechEventType.FINAL_TRANSCRIPT,
            SpeechEventType.END_OF_SPEECH,
        ):
            event = stt.SpeechEvent(type=kind)
            event.alternatives = [data] if kind is SpeechEventType.FINAL_TRANSCRIPT else []
            event.speech_start_time = first + words[0].start
            event.speech_end_time = first + words[-1].end
            stream.send(event)


async def listen(providers: Iterable[stt.STT[Any]]) -> tuple[float, list[stt.SpeechEvent]]:
    """Push the speech in real time; return when it began, and all events."""
    resilient = ResilientSTT(list(providers))
    async with resilient.stream() as stream:
        reading = asyncio.create_task(collect(stream))
        began = time.time()
        for frame in SPEECH.padded(2.0).frames(frame_duration=0.05):
            await asyncio.sleep(frame.duration)
            stream.push_frame(frame)
        stream.end_input()
        events = await reading
    await resilient.aclose()
    return began, events


@pytest.mark.parametrize("switches", [0, 1, 2])
@pytest.mark.parametrize("from_first_frame", [True, False])
async def test_speech_times_are_the_callers(from_first_frame: bool, switches: int) -> None:
    """They are within 0.2 s of the words, or not given; where audio is live, they are given."""
    ends = [7.3, 5.1][:switches]
    providers = [
        FakeSTT(Recognition(from_first_frame=from_first_frame, until=until))
        for until in [*ends, 0.0]
    ]
    began, events = await listen(providers)
    words = SPEECH.words
    starts, stops = [w.start for w in words], [w.end for w in words]
    given = 0
    for event in events:
        for at, spoken in ((event.speech_start_time, starts), (event.speech_end_time, stops)):
            if at is not None:
                given += 1
                assert min(abs(at - began - s) for s in spoken) < 0.2
                assert at <= event.created_at + 0.01
    assert given >= (12 if from_first_frame or not switches else 8)
    finals = [e for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
    assert " ".join(e.alternatives[0].text for e in finals).split() == [w.text for w in words]
    assert finals[-1].speech_end_time == pytest.approx(began + words[-1].end, abs=0.2)


@pytest.mark.parametrize("at", [math.nan, math.inf, -1.0, 1e300, 10**400, "soon", None])
async def test_what_is_no_time_is_left_out(at: Any) -> None:
    """A plugin's nonsense is not passed on, and fails nothing."""

    async def behave(stream: FakeStream) -> None:
        event = stt.SpeechEvent(type=SpeechEventType.START_OF_SPEECH)
        event.speech_start_time = at
        stream.send(event)
        stream.final("hello")
        await stream.listen()

    async with ResilientSTT([FakeSTT(behave)]).stream() as stream:
        for frame in frames(0.5):
            stream.push_frame(frame)
        stream.end_input()
        events = await collect(stream)
    assert all(e.speech_start_time is None and e.speech_end_time is None for e in events[:-1])
