"""Cuts the audio of a stream into utterances, by local voice activity.

An utterance ends in a pause. The longer it is, the shorter a pause will do: its final should not be
far away, and decoding takes the longer the longer it is. Speech without any pause is cut where it
is quietest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from livekit import rtc

from ..core.policy import FailbackPolicy
from ..livekit.vad import BundledDetector, DetectorOptions, SpeechEdge
from .local_engine import RATE

LEAD = RATE // 10
"""Samples before a start of speech that an utterance has, too: words begin softly."""
LONG = 5 * RATE
"""Samples of an utterance from which on a short pause ends it."""
SHORT_PAUSE = RATE // 5
"""Samples without voice that make it. Pauses inside a word are shorter."""
LONGEST = 12 * RATE
"""Samples of an utterance at most. It takes about a second to decode so much."""
CUT_WITHIN = 3 * RATE
"""The last samples of a longest utterance, in which the quietest place is looked for."""
TURN_SILENCE = round(FailbackPolicy().turn_silence * RATE)
"""Samples of silence that end a turn."""

_STEP = RATE // 100
_QUIET_PLACE = 12
"""Steps of 10 ms whose loudness is compared: longer than the silence inside a word (`p`, `t`)."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """A turn began: the first speech after a silence that ended the last one."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechOver:
    """A turn is over."""

    at: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """The consumer has flushed, and no utterance before this sample is open."""

    at: int


@dataclass(frozen=True, slots=True)
class SpokenAudio:
    """The audio of an utterance, or of what there is of one so far."""

    number: int
    """Of the utterance in its stream."""
    start: int
    """Its first sample, counted from the first one of the stream."""
    end: int
    audio: bytes
    """Samples of 16 bits."""


Cut = SpeechBegan | SpokenAudio | SpeechOver | Flushed


class UtteranceCutter:
    """Cuts the audio of one stream: frames with one channel, at `RATE`."""

    def __init__(self, options: DetectorOptions | None = None) -> None:
        self._detector = BundledDetector(options)
        self._audio = bytearray()
        """What an utterance may still need."""
        self._first = 0
        """The sample at which `_audio` begins."""
        self._end = 0
        """Samples that were pushed."""
        self._number = 0
        self._start: int | None = None
        """Where the open utterance begins; `None` if there is none."""
        self._cut_at = 0
        """Where the last utterance ended."""
        self._silent_since: int | None = None
        """Where the last speech ended, in a turn that is not over."""

    def push(self, frame: rtc.AudioFrame) -> Iterator[Cut]:
        """Take the next frame, and yield what ends or begins with it, in order."""
        self._audio += frame.data.cast("B")
        self._end += frame.samples_per_channel
        for edge in self._detector.push(frame):
            yield from self._edge(edge)
        yield from self._cut_long()
        if self._silent_since is not None and self._end - self._silent_since >= TURN_SILENCE:
            yield self._turn_over()
        self._forget()

    def flush(self) -> Iterator[Cut]:
        """End the open utterance here, or in the pause that began before."""
        if self._has_voice():
            yield self._close(self._open_end())
        yield Flushed(self._end)

    def finish(self) -> Iterator[Cut]:
        """No more audio will come."""
        for edge in self._detector.finish():
            yield from self._edge(edge)
        if self._silent_since is not None:
            yield self._turn_over()

    def open_utterance(self) -> SpokenAudio | None:
        """Return what there is of an utterance with voice; where it ends if nothing follows, once
        there is a pause."""
        return self._spoken(self._open_end()) if self._has_voice() else None

    @property
    def open_since(self) -> int | None:
        """The first sample of the open utterance; `None` if there is none with voice."""
        return self._start if self._has_voice() else None

    @property
    def voiced_through(self) -> int:
        """The sample behind the last voice; 0 before the first."""
        return self._detector.voiced_through

    @property
    def in_pause(self) -> bool:
        """Whether the open utterance ends here if no more voice follows."""
        return self._detector.pause_start is not None

    @property
    def number(self) -> int:
        """The number of the utterance that is open, or comes next."""
        return self._number

    def _edge(self, edge: SpeechEdge) -> Iterator[Cut]:
        if edge.started:
            if self._silent_since is None:
                yield SpeechBegan(edge.at)
            self._silent_since = None
            self._start = max(edge.at - LEAD, self._cut_at, self._first)
            return
        if self._has_voice():
            yield self._close(edge.at)
        self._start = None
        self._silent_since = edge.at

    def _cut_long(self) -> Iterator[Cut]:
        while self._start is not None and self._has_voice():
            length = self._end - self._start
            silence = self._end - self._detector.voiced_through
            if length >= LONG and silence >= SHORT_PAUSE and self.in_pause:
                yield self._close(self._open_end())
            elif length >= LONGEST:
                yield self._close(self._quietest(self._start + LONGEST))
            else:
                return

    def _has_voice(self) -> bool:
        """Whether there was voice in the open utterance since it began."""
        return self._start is not None and self._detector.voiced_through > self._start + LEAD

    def _open_end(self) -> int:
        pause = self._detector.pause_start
        return self._end if pause is None else min(pause, self._end)

    def _close(self, end: int) -> SpokenAudio:
        """End the open utterance at a sample; the next one begins there, if speech goes on."""
        spoken = self._spoken(end)
        self._number += 1
        self._start = self._cut_at = end
        return spoken

    def _spoken(self, end: int) -> SpokenAudio:
        assert self._start is not None
        return SpokenAudio(self._number, self._start, end, self._between(self._start, end))

    def _between(self, start: int, end: int) -> bytes:
        return bytes(self._audio[2 * (start - self._first) : 2 * (end - self._first)])

    def _quietest(self, end: int) -> int:
        """Return the middle of the quietest place of the last seconds before a sample."""
        start = end - CUT_WITHIN
        samples = np.frombuffer(self._between(start, end), np.int16).astype(np.float64)
        energy = (samples.reshape(-1, _STEP) ** 2).sum(axis=1)
        places = np.convolve(energy, np.ones(_QUIET_PLACE), "valid")
        return start + int(places.argmin()) * _STEP + _QUIET_PLACE * _STEP // 2

    def _turn_over(self) -> SpeechOver:
        at = self._silent_since
        assert at is not None
        self._silent_since = None
        return SpeechOver(at)

    def _forget(self) -> None:
        """Drop audio that no utterance can need: speech is reported a little after it began."""
        keep = self._end - RATE if self._start is None else self._start
        if keep - self._first >= RATE:
            del self._audio[: 2 * (keep - self._first)]
            self._first = keep
