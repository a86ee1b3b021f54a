"""A provider in this process that costs next to nothing: it has rehearsed what will be said.

It counts the samples that it is sent, and gives each transcript when it has heard enough for it. So
what a frame costs is what is in front of it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr, TimedString

from resilient_stt.livekit.compat import capabilities, pushed, send
from resilient_stt.testing import ReferenceSpeech, SpokenWord, silence
from resilient_stt.testing.harness.in_process import InProcessSTT
from resilient_stt.testing.speech.reference import SAMPLE_RATE

FRAME = 320
"""Samples of a pushed frame: 20 ms, as LiveKit's rooms give them."""
FRAMES_PER_SECOND = SAMPLE_RATE // FRAME
LATENCY = 0.2
"""Seconds from the end of a word to the interim transcript that has it."""
ENDPOINTING = 0.5
"""Seconds from the end of a sentence to its final."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the provider says once it has heard `at` samples."""

    at: int
    kind: SpeechEventType
    words: tuple[SpokenWord, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Audio, in frames of 20 ms, and what a provider says of it. Both are repeated from the start.

    Attributes:
        frames: The audio.
        lines: What is said of it, in order.
    """

    frames: tuple[rtc.AudioFrame, ...]
    lines: tuple[Line, ...]

    @property
    def samples(self) -> int:
        """The samples until it is repeated."""
        return FRAME * len(self.frames)

    def finals(self, seconds: float) -> int:
        """The number of finals within so many seconds of audio."""
        heard = round(seconds * SAMPLE_RATE)
        said = itertools.takewhile(lambda due: due[0] <= heard, self.endlessly())
        return sum(line.kind is SpeechEventType.FINAL_TRANSCRIPT for _, line in said)

    def endlessly(self) -> Iterator[tuple[int, Line]]:
        """Yield each line with the sample at which it is said, over and over."""
        for begun in itertools.count(0, self.samples):
            for line in self.lines:
                yield begun + line.at, line


def of_speech() -> Rehearsal:
    """The English reference speech: 70 words in 26 s, with an interim transcript for each word."""
    speech = ReferenceSpeech.load("english").padded(1.0)
    lines: list[Line] = []
    for sentence in speech.sentences:
        words = tuple(speech.words[index] for index in sentence)
        lines += _sentence(words)
    return Rehearsal(_whole_frames(speech), tuple(lines))


def of_silence(words_of_a_final: int, words_per_second: float = 2.5) -> Rehearsal:
    """Words without a pause over silence, where only the text matters; one final for so many."""
    length = 1 / words_per_second
    spoken = [
        SpokenWord(f"word{number}", number * length, (number + 1) * length, "en")
        for number in range(words_of_a_final)
    ]
    quiet = silence(words_of_a_final * length + LATENCY + ENDPOINTING + 0.1)
    return Rehearsal(_whole_frames(quiet), tuple(_sentence(tuple(spoken))))


def _whole_frames(speech: ReferenceSpeech) -> tuple[rtc.AudioFrame, ...]:
    frames = list(speech.frames())
    return tuple(frame for frame in frames if frame.samples_per_channel == FRAME)


def _sentence(words: tuple[SpokenWord, ...]) -> Iterator[Line]:
    yield Line(round((words[0].start + LATENCY) * SAMPLE_RATE), SpeechEventType.START_OF_SPEECH)
    for count, word in enumerate(words, start=1):
        at = round((word.end + LATENCY) * SAMPLE_RATE)
        yield Line(at, SpeechEventType.INTERIM_TRANSCRIPT, words[:count])
    at = round((words[-1].end + ENDPOINTING) * SAMPLE_RATE)
    yield Line(at, SpeechEventType.FINAL_TRANSCRIPT, words)
    yield Line(at, SpeechEventType.END_OF_SPEECH)


class RehearsedSTT(InProcessSTT):
    """A provider that says the lines of a rehearsal, on every stream."""

    def __init__(self, name: str, rehearsal: Rehearsal, *, works: bool = True) -> None:
        given = capabilities(streaming=True, interim_results=True)
        super().__init__(name, given, model="rehearsed")
        self.rehearsal = rehearsal
        self.works = works
        """Whether a stream can be opened."""

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> RehearsedStream:
        return RehearsedStream(self, conn_options)


_SENT = "sent at "


def sent_at(event: stt.SpeechEvent) -> float | None:
    """The CPU of the process, in seconds, when a rehearsed provider sent an event; None if another
    provider did."""
    _, ours, at = event.request_id.partition(_SENT)
    return float(at) if ours else None


class RehearsedStream(stt.RecognizeStream):
    """One connection."""

    def __init__(self, of: RehearsedSTT, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=of, conn_options=conn_options)
        self._of = of

    async def _run(self) -> None:
        if not self._of.works:
            raise APIConnectionError("this provider is down")
        heard, lines = 0, self._of.rehearsal.endlessly()
        due, line = next(lines)
        async for item in pushed(self):
            if isinstance(item, rtc.AudioFrame):
                heard += item.samples_per_channel
                while due <= heard:
                    shift = (due - line.at) / SAMPLE_RATE + self.start_time_offset
                    send(self, _event(line, shift))
                    due, line = next(lines)


def _event(line: Line, shift: float) -> stt.SpeechEvent:
    now = f"{_SENT}{time.process_time()}"
    if not line.words:
        return stt.SpeechEvent(type=line.kind, request_id=now)
    return stt.SpeechEvent(type=line.kind, request_id=now, alternatives=[_data(line.words, shift)])


def _data(words: Sequence[SpokenWord], shift: float) -> stt.SpeechData:
    return stt.SpeechData(
        language=LanguageCode("en"),
        text=" ".join(word.text for word in words),
        start_time=words[0].start + shift,
        end_time=words[-1].end + shift,
        confidence=0.9,
        words=[
            TimedString(w.text, start_time=w.start + shift, end_time=w.end + shift) for w in words
        ],
    )
