"""Local voice activity: LiveKit's bundled model, called directly, behind a tiny interface.

Called in the event loop: one window of 32 ms takes the model about 15 µs, far less than the hop to
an executor that LiveKit's own wrapper makes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from livekit import rtc

from .compat import VAD, VAD_WINDOW_SAMPLES

MODEL_RATE = 16_000
"""Hz; what the bundled model was trained on."""


NOISE_FLOOR = 10.0
"""RMS of 16-bit samples (-70 dBFS) below which nothing is louder than anything else."""

_Window = np.ndarray[Any, np.dtype[np.int16]]


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech started (or, `started=False`, ended) at a sample of the audio pushed so far.

    `told_at`: the sample up to which it was listened to when that became certain; by default the
    end of the frame. Who is flushed at an end is sent no more before.
    """

    started: bool
    at: int
    known_at: int | None = None


class SpeechDetector(Protocol):
    """Anything that finds speech in the audio of one stream.

    Starts and ends alternate, their positions never go back; an end is told once it is certain
    that what followed `at` is silence.
    """

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        """Take the next mono frame; all frames of a stream have one rate."""

    def finish(self) -> Iterator[SpeechEdge]:
        """No more audio will come: speech that lasts ended where it was last heard."""


SpeechDetectorFactory = Callable[[], SpeechDetector]
"""Makes the detector of one stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """Probabilities and durations (seconds) of `BundledDetector`."""

    start_above: float = 0.5
    end_below: float = 0.25
    silence: float = 0.35
    """Time below `end_below` that ends speech: streaming pauses inside a word are shorter."""
    pad: float = 0.1
    """Speech reaches this much beyond the windows that were voiced: soft onsets and releases."""
    onset_rise: float = 1.4
    """Times the level of a pause so far at which the next word may begin, which the model hears up
    to three windows late: nobody should be flushed in it. Of 153 ends in pauses of 0.3 to 0.6 s, 15
    were told in a word without that, and 5 with it, in its first 40 ms."""
    onset_wait: float = 0.1
    """Seconds by which that delays an end at most."""


class BundledDetector:
    """LiveKit's bundled voice activity model as a `SpeechDetector`."""

    def __init__(self, options: DetectorOptions | None = None) -> None:
        self._options = options or DetectorOptions()
        self._model = VAD()
        self._rate = 0
        self._resampler: rtc.AudioResampler | None = None
        self._pending = np.empty(0, np.int16)
        self._windows = 0
        self._last_voiced = 0
        """Windows up to and including the last voiced one."""
        self._speaking = False
        self._ended_at = 0
        self._levels: list[float] = []
        """RMS of the windows since the last voiced one."""

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        """Take the next mono frame of any rate."""
        for piece in self._at_model_rate(frame):
            samples = np.frombuffer(piece.data, np.int16)
            self._pending = np.concatenate([self._pending, samples])
        while len(self._pending) >= VAD_WINDOW_SAMPLES:
            window, self._pending = (
                self._pending[:VAD_WINDOW_SAMPLES],
                self._pending[VAD_WINDOW_SAMPLES:],
            )
            self._windows += 1
            if (edge := self._judge(self._model.predict(window), window)) is not None:
                yield edge

    def finish(self) -> Iterator[SpeechEdge]:
        """End speech that lasts where it was last heard."""
        if self._speaking:
            yield self._end()

    def _at_model_rate(self, frame: rtc.AudioFrame) -> list[rtc.AudioFrame]:
        if not self._rate:
            self._rate = frame.sample_rate
            if self._rate != MODEL_RATE:
                self._resampler = rtc.AudioResampler(
                    self._rate, MODEL_RATE, quality=rtc.AudioResamplerQuality.QUICK
                )
        return self._resampler.push(frame) if self._resampler else [frame]

    def _judge(self, probability: float, window: _Window) -> SpeechEdge | None:
        options = self._options
        if self._speaking:
            if probability >= options.end_below:
                self._voiced()
                return None
            self._levels.append(math.sqrt(np.mean(np.square(window, dtype=np.float64))))
            silence = self._seconds(self._windows - self._last_voiced)
            if silence >= options.silence + (options.onset_wait if self._rises() else 0.0):
                return self._end()
        elif probability >= options.start_above:
            self._speaking = True
            self._voiced()
            start = self._position(self._windows - 1, -options.pad)
            return SpeechEdge(True, max(self._ended_at, start, 0), self._position(self._windows))
        return None

    def _voiced(self) -> None:
        self._last_voiced = self._windows
        self._levels.clear()

    def _rises(self) -> bool:
        """Whether the last window is louder than the pause before it, its edges apart."""
        before = self._levels[1:-2] or self._levels[:-1]
        floor = max(NOISE_FLOOR, statistics.median(before)) if before else NOISE_FLOOR
        return self._levels[-1] > self._options.onset_rise * floor

    def _end(self) -> SpeechEdge:
        self._speaking = False
        heard = self._position(self._windows)
        self._ended_at = min(self._position(self._last_voiced, self._options.pad), heard)
        return SpeechEdge(False, self._ended_at, heard)

    def _seconds(self, windows: int) -> float:
        return windows * VAD_WINDOW_SAMPLES / MODEL_RATE

    def _position(self, windows: int, pad: float = 0.0) -> int:
        return round((self._seconds(windows) + pad) * self._rate)
