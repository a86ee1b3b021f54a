"""A LiveKit STT in this process that knows only the audio it is sent, and fails as its script says.

Audio is a code: the samples of a word are its number, samples of noise are negative, silence is
zero. A word that arrived whole is transcribed as it is, a word that arrived in part as a fragment,
a phrase that arrived in part as the words of that part. So the text shows each word that was lost,
repeated or clipped.
"""

from __future__ import annotations

import asyncio
import math
import random
import string
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, assert_never

import numpy as np
from livekit import rtc
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIStatusError,
    APITimeoutError,
    LanguageCode,
    stt,
)
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr, TimedString
from livekit.agents.utils import aio, is_given

from ...livekit.compat import capabilities, input_ended, output_ended, pushed, send
from ..harness.in_process import InProcessSTT
from .schedule import FaultSpec, Point, ProviderScript, Schedule

RATE = 1000
"""Hz. One millisecond is the shortest time in a schedule."""
NOISE = -1
NOTICED = 0.1
"""Seconds of a clipped word from which on a recognizer writes something."""
_ENDED_AFTER = 0.05037
"""Seconds from the last transcript to the end of a stream. No other time of a simulation has this
fraction: if the provider's end and the caller's came at one moment, it would be left to chance
which of them came first."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch of samples with one value, from `start` to `end`."""

    value: int
    start: int
    end: int


def sounds(schedule: Schedule) -> Iterator[Sound]:
    """Yield the words and noises of a schedule, in order."""
    at, number = 0, 0
    for piece in schedule.pieces:
        at += round(piece.before * RATE)
        end = at + round(piece.length * RATE)
        number += bool(piece.text)
        yield Sound(number if piece.text else NOISE, at, end)
        at = end


def audio(schedule: Schedule) -> np.ndarray[Any, np.dtype[np.int16]]:
    """All samples of a schedule."""
    samples = np.zeros(round(schedule.length * RATE), np.int16)
    for sound in sounds(schedule):
        samples[sound.start : sound.end] = sound.value
    return samples


def runs(frame: rtc.AudioFrame) -> Iterator[tuple[int, int]]:
    """Yield the stretches of one value in a frame, as (value, number of samples)."""
    for value, group in groupby(memoryview(frame.data).cast("B").cast("h")):
        yield value, sum(1 for _ in group)


class SimulatedCall:
    """What the providers of one call share: what is spoken, and the clock."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.texts = dict(enumerate(schedule.words, start=1))
        turns = schedule.spanish_from
        self.languages = {
            s.value: "es" if turns is not None and s.start >= turns * RATE else "en"
            for s in sounds(schedule)
        }
        """The language of each word, by its number."""
        self.lengths = {s.value: s.end - s.start for s in sounds(schedule) if s.value != NOISE}
        self.begun = asyncio.get_running_loop().time()
        self.streams: list[ScriptedStream] = []
        """All streams that were opened, in order."""

    @property
    def now(self) -> float:
        """Seconds since the call began."""
        return asyncio.get_running_loop().time() - self.begun


class ScriptedSTT(InProcessSTT):
    """A provider that behaves as a `ProviderScript` says."""

    def __init__(self, name: str, script: ProviderScript, call: SimulatedCall) -> None:
        given = capabilities(
            streaming=True,
            interim_results=script.interim_results,
            manual_flush=script.manual_flush,
        )
        super().__init__(name, given, model="scripted")
        self.script = script
        self.call = call
        self._faults = iter(script.faults)

    def update_options(self, *, number: int) -> None:
        """Take an option, for which open streams reconnect inside themselves, as plugins' do."""
        for stream in self.call.streams:
            if stream.name == self.name and not stream.closing:
                stream.reconnect()

    def has_other(self, stream: ScriptedStream) -> bool:
        """Whether a stream beside this one has a session."""
        mine = (s for s in self.call.streams if s.name == self.name and s is not stream)
        return any(s.has_session for s in mine)

    def down_until(self) -> float | None:
        """The second of the call at which it is up again; None if it is up."""
        now = self.call.now
        return next((until for since, until in self.script.down if since <= now < until), None)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> ScriptedStream:
        fault = next(self._faults, None)
        if fault and fault.at == "stream":
            raise failure(fault.kind)
        return ScriptedStream(self, fault, conn_options, language)


class ScriptedStream(stt.RecognizeStream):
    """One connection of a scripted provider."""

    def __init__(
        self,
        of: ScriptedSTT,
        fault: FaultSpec | None,
        conn_options: APIConnectOptions,
        language: NotGivenOr[str],
    ) -> None:
        super().__init__(stt=of, conn_options=conn_options)
        self._of = of
        self._script = of.script
        self._fault = fault
        self._language = language if is_given(language) else "en"
        self._patience = conn_options.timeout
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._busy = 0.0
        """The time on the loop's clock at which it has processed all audio it was sent."""
        self._mute_until = 0.0
        self._withheld: list[stt.SpeechEvent] = []
        self._due: deque[ScriptedTranscript] = deque()
        """Transcripts that are about to be emitted. Timers of one moment fire in any order, so the
        order is kept here."""
        self._empties_finals = False
        self._loses_final = False
        """Whether it leaves out its next final."""
        self._ended_early = False
        self._counts: dict[Point, int] = {}
        self._recognizer = ScriptedRecognizer(of.call, of.script, seed=len(of.call.streams))
        self.name = of.name
        self.samples_received = 0
        """Samples that it has taken of what it was sent."""
        self._is_connected = False
        self.closing = False
        self.closed = False
        of.call.streams.append(self)

    # -- the life of a connection

    async def _run(self) -> None:
        await self._connect()
        loop = asyncio.get_running_loop()
        self._busy = loop.time()
        drops = [
            loop.call_later(max(0.0, since - self._of.call.now), self._fail, "dropped")
            for since, _ in self._script.down
            if since > self._of.call.now
        ]
        listener = asyncio.create_task(self._listen(), name=f"{self._of.name}.listen")
        try:
            await self._over
            await self._check_early_end()
        finally:
            for drop in drops:
                drop.cancel()
            await aio.cancel_and_wait(listener)

    @property
    def has_session(self) -> bool:
        """Whether its provider counts it: from its request until it is over or closed."""
        return self._is_connected and not (self.closed or self._over.done() or output_ended(self))

    def reconnect(self) -> None:
        """Begin a new clock, and lose the audio of which no transcript was emitted."""
        if self._over.done() or input_ended(self):
            return
        seed = len(self._of.call.streams)
        self._recognizer = ScriptedRecognizer(self._of.call, self._script, seed=seed)
        self._due, self._withheld = deque(), []
        self._busy = asyncio.get_running_loop().time()

    async def _check_early_end(self) -> None:
        """Turn an early end into an error if the caller has ended the input in the meantime.

        Otherwise the end would count as the answer to that, and words would be lost that no fault
        was drawn for.
        """
        if self._ended_early:
            await asyncio.sleep(_ENDED_AFTER)
            if input_ended(self):
                raise failure("dropped")

    async def _connect(self) -> None:
        if self._of.down_until() is not None:
            await asyncio.sleep(self._patience if self._script.hangs else 0.01)
            raise failure("timeout" if self._script.hangs else "connect")
        if self._script.one_session and self._of.has_other(self):
            await asyncio.sleep(0.01)
            raise failure("429")
        self._is_connected = True
        await asyncio.sleep(self._script.connect_time)
        fault = self._happens("connect")
        if fault and fault.effect == "hang":
            await asyncio.sleep(self._patience)
            raise failure("timeout")
        if fault:
            raise failure(fault.kind)

    async def _listen(self) -> None:
        async for item in pushed(self):
            if isinstance(item, rtc.AudioFrame):
                self._receive(item)
            elif not input_ended(self):
                self._flush_requested()
            if self._over.done() or self._is_half_open:
                await asyncio.Event().wait()
        if not self._over.done():
            self._input_ended()

    async def aclose(self) -> None:
        """Close the stream; with a `slow_close` this takes long, even if it is cancelled."""
        self.closing = True
        fault = self._happens("close")
        if fault:
            await _sleep_uncancelled(fault.seconds)
        await super().aclose()
        self.closed = True

    # -- what goes wrong

    def _happens(self, at: Point) -> FaultSpec | None:
        """Return the fault if it happens here and now. It happens only once."""
        fault = self._fault
        if fault is None or fault.at != at:
            return None
        before = self._counts.get(at, 0)
        self._counts[at] = before + 1
        reached = self._recognizer.seconds if at == "audio" else before
        if reached < fault.after:
            return None
        self._fault = None
        return fault

    def _apply_fault(self, at: Point) -> bool:
        """Let the fault happen if it is due here. Return whether the stream goes on."""
        fault = self._happens(at)
        if fault is None:
            return True
        match fault.effect:
            case "drop":
                self._fail(fault.kind)
            case "end_cleanly":
                self._ended_early = at != "end_input"
                self._finish()
            case "half_open":
                self._mute_until = math.inf
            case "stall":
                self._mute(fault.seconds)
            case "empty_finals":
                self._empties_finals = True
            case "lost_final":
                self._loses_final = True
            case "hang" | "ignore_close" | "slow_close":
                raise AssertionError(f"{fault.effect} cannot happen at {at}")
            case _:
                assert_never(fault.effect)
        return not self._over.done()

    def _mute(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._mute_until = loop.time() + seconds
        loop.call_at(self._mute_until, self._unmute)

    def _unmute(self) -> None:
        self._mute_until = 0.0
        withheld, self._withheld = self._withheld, []
        for event in withheld:
            self._send(event)

    @property
    def _is_half_open(self) -> bool:
        return self._mute_until == math.inf

    def _fail(self, kind: str) -> None:
        if not self._over.done():
            self._over.set_exception(failure(kind))

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    # -- hearing

    def _receive(self, frame: rtc.AudioFrame) -> None:
        now = asyncio.get_running_loop().time()
        self._busy = max(self._busy, now) + frame.duration / self._script.speed
        self.samples_received += frame.samples_per_channel
        for value, samples in runs(frame):
            self._schedule_transcripts(self._recognizer.hear(value, samples))
        self._apply_fault("audio")

    def _flush_requested(self) -> None:
        if self._apply_fault("flush") and self._script.manual_flush:
            self._schedule_transcripts(self._recognizer.finalize())

    def _input_ended(self) -> None:
        if not self._apply_fault("end_input"):
            return
        if self._script.finalizes_at_end:
            self._schedule_transcripts(self._recognizer.finalize())
        if not self._happens("finished"):
            asyncio.get_running_loop().call_at(self._at + _ENDED_AFTER, self._end)

    def _end(self) -> None:
        """End the stream once everything is emitted. A half-open one never ends."""
        if self._is_half_open:
            return
        if self._mute_until:
            asyncio.get_running_loop().call_at(self._mute_until + _ENDED_AFTER, self._end)
        else:
            self._finish()

    # -- saying

    @property
    def _at(self) -> float:
        """The time on the loop's clock at which it can emit something about the audio it was
        sent."""
        return self._busy + self._script.latency

    def _schedule_transcripts(self, transcripts: Sequence[ScriptedTranscript]) -> None:
        for transcript in transcripts:
            self._due.append(transcript)
            asyncio.get_running_loop().call_at(self._at, self._emit_next, self._due)

    def _emit_next(self, due: deque[ScriptedTranscript]) -> None:
        transcript = due.popleft()
        if due is not self._due:
            return  # of before it reconnected
        kind = transcript.kind
        point: Point | None = None
        if kind is SpeechEventType.FINAL_TRANSCRIPT:
            point = "final"
        elif kind is SpeechEventType.INTERIM_TRANSCRIPT:
            point = "interim"
        if self._over.done() or (point and not self._apply_fault(point)):
            return
        if point == "final" and self._loses_final:
            self._loses_final = False
            return
        if self._empties_finals and point == "interim":
            return
        self._send(self._event(transcript))
        if point == "final":
            self._apply_fault("after_final")

    def _send(self, event: stt.SpeechEvent) -> None:
        if self._over.done() or output_ended(self):
            return
        if self._mute_until:
            self._withheld.append(event)
        else:
            send(self, event)

    def _event(self, transcript: ScriptedTranscript) -> stt.SpeechEvent:
        if transcript.kind in (SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH):
            return stt.SpeechEvent(type=transcript.kind)
        words = () if self._empties_finals else transcript.words
        return stt.SpeechEvent(type=transcript.kind, alternatives=[self._data(words)])

    def _data(self, words: Sequence[ScriptedWord]) -> stt.SpeechData:
        script = self._script
        text = " ".join(w.text for w in words)
        if script.capitalizes and text:
            text = f"{text[0].upper()}{text[1:]}."
        found = words[-1].language if words and script.language_detection else self._language
        data = stt.SpeechData(LanguageCode(found), text)
        if words and script.times != "none":
            offset = self.start_time_offset if script.adds_offset else 0.0
            data.start_time = words[0].start + offset
            data.end_time = words[-1].end + offset
            if script.times == "words":
                data.words = [self._timed(w, offset) for w in words]
        return data

    def _timed(self, word: ScriptedWord, offset: float) -> TimedString:
        added = offset if self._script.adds_offset else NOT_GIVEN
        return TimedString(
            word.text,
            start_time=word.start + offset,
            end_time=word.end + offset,
            start_time_offset=added if is_given(added) else NOT_GIVEN,
        )


@dataclass(frozen=True, slots=True)
class ScriptedWord:
    """A word or a fragment, with times in seconds of the connection's own audio."""

    text: str
    start: float
    end: float
    language: str
    index: int
    """Its number among the words of the call, from 1."""
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ScriptedTranscript:
    """An event that the recognizer wants to emit."""

    kind: SpeechEventType
    words: tuple[ScriptedWord, ...] = ()


class ScriptedRecognizer:
    """Turns the samples that one connection was sent into transcripts."""

    def __init__(self, call: SimulatedCall, script: ProviderScript, *, seed: int) -> None:
        self._call = call
        self._script = script
        self._dice = random.Random(f"{call.schedule.seed} {seed}")
        self._samples = 0
        self._value = 0
        self._since = 0
        """The sample of its own audio at which the current sound began."""
        self._pending: list[ScriptedWord] = []
        self._started = False

    @property
    def seconds(self) -> float:
        """Seconds of audio received."""
        return self._samples / RATE

    def hear(self, value: int, samples: int) -> list[ScriptedTranscript]:
        """Receive samples of one value."""
        said: list[ScriptedTranscript] = []
        if value != self._value:
            said += self._sound_over()
            self._value, self._since = value, self._samples
        self._samples += samples
        if self._value > 0:
            if self._samples - self._since == self._call.lengths[self._value]:
                said += self._sound_over()
            elif not self._started and self._length >= NOTICED:
                said += self._start()
        elif self._pending and self.seconds - self._pending[-1].end >= self._script.endpointing:
            said += self.finalize()
        return said

    def finalize(self) -> list[ScriptedTranscript]:
        """Make the pending words final."""
        words, self._pending = self._written(), []
        said = [ScriptedTranscript(SpeechEventType.FINAL_TRANSCRIPT, words)] if words else []
        if self._started and self._value <= 0:
            self._started = False
            said += self._turn(SpeechEventType.END_OF_SPEECH)
        return said

    @property
    def _length(self) -> float:
        return (self._samples - self._since) / RATE

    def _start(self) -> list[ScriptedTranscript]:
        if self._started:
            return []
        self._started = True
        return self._turn(SpeechEventType.START_OF_SPEECH)

    def _turn(self, kind: SpeechEventType) -> list[ScriptedTranscript]:
        return [ScriptedTranscript(kind)] if self._script.reports_turns else []

    def _sound_over(self) -> list[ScriptedTranscript]:
        value, length = self._value, self._samples - self._since
        self._value = 0
        whole = length == self._call.lengths.get(value)
        if value <= 0 or not (whole or length / RATE >= NOTICED):
            return []
        text = self._call.texts[value] if whole else self._part(value, length)
        drift = [self._dice.uniform(-1, 1) * self._script.drift for _ in range(2)]
        start = max(0.0, self._since / RATE + drift[0])
        end = max(start + 0.02, self._samples / RATE + drift[1])
        said = self._start()
        language = self._call.languages[value]
        self._pending.append(ScriptedWord(text, start, end, language, value, whole))
        if len(self._pending) >= self._script.max_words:
            return [*said, *self.finalize()]
        if self._script.interim_results and (written := self._written()):
            said.append(ScriptedTranscript(SpeechEventType.INTERIM_TRANSCRIPT, written))
        return said

    def _part(self, value: int, length: int) -> str:
        """Return what is heard of so many samples of a sound: the words of a phrase that are in
        them, and a syllable for the one that is cut."""
        phrase, least = self._call.texts[value].split(), NOTICED * RATE
        per_letter = self._call.lengths[value] / sum(map(len, phrase))
        # Audio that begins in the middle of a sound has its end, other audio its beginning.
        step = -1 if self._since == 0 else 1
        heard, left = [], float(length)
        for word in phrase[::step]:
            whole = per_letter * len(word)
            if left >= whole - least and len(phrase) > 1:
                heard.append(word)
            elif left >= least:
                heard.append(_fragment(value))
            left -= whole
        return " ".join(heard[::step])

    def _written(self) -> tuple[ScriptedWord, ...]:
        """The pending words as this provider writes them."""
        accent = self._script.accent
        return tuple(accent.write(self._pending) if accent else self._pending)


def _fragment(value: int) -> str:
    """Return what is heard of a part of a word: as long as a word, and none of those spoken."""
    return f"z{string.ascii_lowercase[value % 26]}z"


def failure(kind: str) -> Exception:
    """The exception that a plugin raises for a kind of failure: a word, or an HTTP status."""
    match kind:
        case "connect":
            return APIConnectionError("failed to connect to the scripted provider")
        case "timeout":
            return APITimeoutError("scripted timeout")
        case "bug":
            return ValueError("a scripted bug")
        case "dropped":
            return APIConnectionError("scripted drop")
        case _:
            return APIStatusError("scripted", status_code=int(kind))


async def _sleep_uncancelled(seconds: float) -> None:
    """Sleep for so many seconds, even if the task is cancelled."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
