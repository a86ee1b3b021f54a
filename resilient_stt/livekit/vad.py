"""Local voice activity: the detector interface, its check, and LiveKit's bundled model.

The model is called directly in the event loop: one window of 32 ms takes it about 15 µs, far less
than the hop to an executor that LiveKit's own wrapper makes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol, TypeVarTuple

import numpy as np
from livekit import rtc

from ..core.messages import VoiceSound
from ..errors import SpeechDetectorError
from .compat import VAD, VAD_WINDOW_SAMPLES

MODEL_RATE = 16_000
"""Sample rate in Hz that the bundled model was trained on."""

POSITION_TOLERANCE = 0.001
"""Seconds that an edge may lie beyond the pushed audio: a detector that resamples rounds positions
to samples of another rate. Such an edge is moved to the end of the audio."""

NOISE_FLOOR = 10.0
"""RMS of 16-bit samples (-70 dBFS); quieter windows are all equally quiet."""

_WINDOW_BYTES = 2 * VAD_WINDOW_SAMPLES

_Window = np.ndarray[Any, np.dtype[np.int16]]
_Ts = TypeVarTuple("_Ts")


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech started (or, with `started=False`, ended) at sample `at` of the pushed audio.

    `known_at` is the sample up to which the detector had to listen to be certain, at least `at`; by
    default the end of the frame that was just pushed. Audio after `known_at` may already belong to
    the next word, so a provider that is flushed at an end of speech is sent no more than that
    before the flush.

    `sound`, at an end of speech, is how the speech sounded, if the detector measures that. Without
    it, noise that was asked about is not recognized when it comes again.
    """

    started: bool
    at: int
    known_at: int | None = None
    sound: VoiceSound | None = None


class SpeechDetector(Protocol):
    """Finds speech in the audio of one stream.

    An edge is a `SpeechEdge` or any object with its fields; `known_at` and `sound` may be missing.

    Starts and ends must alternate, beginning with a start. Positions are whole samples counted from
    the stream's first sample, must never go back, and must not lie beyond the pushed audio. An end
    must only be reported once it is certain that the audio after `at` is silence.

    A detector that breaks these rules or raises is switched off for its stream; see
    `SpeechDetectorError`.
    """

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        """Take the next mono frame and yield the edges found. A stream's frames have one rate."""

    def finish(self) -> Iterator[SpeechEdge]:
        """No more audio will come: end speech that lasts where it was last detected."""


SpeechDetectorFactory = Callable[[], SpeechDetector]
"""Makes the detector of one stream."""


class CheckedDetector:
    """The border between any `SpeechDetector` and the engine: it never raises.

    The engine asserts that speech edges are in order, and a user's object must not be able to end a
    call. So every edge is checked here. At the first wrong one, or at an exception, `failure` is
    set, the edges before it are still returned, and the detector is not called again.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._pushed = 0
        """Samples pushed so far."""
        self._rate = 0
        """Samples per second of the last frame."""
        self._speaking = False
        self._last = 0
        """Position of the last edge."""
        self.failure: SpeechDetectorError | None = None
        """Why the detector was switched off; `None` while it works."""

    def push(self, frame: rtc.AudioFrame) -> list[SpeechEdge]:
        """Push a frame into the detector and return the edges it found."""
        self._pushed += frame.samples_per_channel
        self._rate = frame.sample_rate
        return self._checked(self._detector.push, frame)

    def finish(self) -> list[SpeechEdge]:
        """Tell the detector that no more audio will come and return its last edges.

        Speech that it leaves open ends with the audio.
        """
        edges = self._checked(self._detector.finish)
        if self._speaking and self.failure is None:
            edges.append(SpeechEdge(False, self._pushed, self._pushed))
            self._speaking = False
        return edges

    def _checked(
        self, detect: Callable[[*_Ts], Iterator[SpeechEdge]], *args: *_Ts
    ) -> list[SpeechEdge]:
        edges: list[SpeechEdge] = []
        if self.failure is not None:
            return edges
        try:
            for edge in detect(*args):
                checked = self._check(edge)
                edges.append(checked)  # those before a failure count
        except SpeechDetectorError as failure:
            self.failure = failure
        except Exception as error:
            name = type(self._detector).__name__
            self.failure = SpeechDetectorError(f"{name} raised {type(error).__name__}")
            self.failure.__cause__ = error
        return edges

    def _check(self, edge: SpeechEdge) -> SpeechEdge:
        """Return the edge with plain integers for positions.

        Raises:
            SpeechDetectorError: it is not an edge that may follow the one before.
        """
        try:  # any object with an edge's fields will do: a detector need not import ours
            started, position = bool(edge.started), edge.at
        except AttributeError:
            kind = type(edge).__name__
            raise self._violation(f"yielded a {kind}, which is no SpeechEdge") from None
        known: int | None = getattr(edge, "known_at", None)
        try:
            at = index(position)  # takes NumPy's integers, and refuses NaN with all other floats
            known_at = self._pushed if known is None else index(known)
        except TypeError:
            raise self._violation(f"gave a position that is not a whole number: {edge}") from None
        if started is self._speaking:
            raise self._violation(
                "reported a second start of speech without an end between them"
                if started
                else "reported an end of speech that had not started"
            )
        if not self._last <= at <= self._pushed + round(POSITION_TOLERANCE * self._rate):
            raise self._violation(
                f"reported speech at sample {at}, which must lie between its last position "
                f"({self._last}) and the end of the audio pushed so far ({self._pushed})"
            )
        self._speaking, self._last = started, min(at, self._pushed)
        # harmless where it is wrong: it only says how much is sent before a flush
        known_at = min(max(known_at, self._last), self._pushed)
        sound = getattr(edge, "sound", None)
        if not (isinstance(sound, VoiceSound) and math.isfinite(sound.level + sound.spread)):
            sound = None  # harmless, too: noise is then not recognized when it comes again
        return SpeechEdge(self._speaking, self._last, known_at, sound)

    def _violation(self, problem: str) -> SpeechDetectorError:
        return SpeechDetectorError(f"{type(self._detector).__name__} {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """Probabilities and durations (seconds) of `BundledDetector`."""

    start_above: float = 0.5
    """Probability at which speech starts."""
    end_below: float = 0.25
    """Probability below which a window counts as silence while speech lasts."""
    silence: float = 0.35
    """Seconds of silent windows in a row that end speech; pauses inside a word are shorter."""
    pad: float = 0.1
    """Seconds that a segment reaches beyond its voiced windows, for soft onsets and releases."""
    onset_rise: float = 1.4
    """A window this many times louder than the pause before it may be the next word's onset, which
    the model recognizes up to three windows (96 ms) late. The end of speech is then held back, so
    that no provider is flushed inside that word. Of 153 ends in pauses of 0.3 to 0.6 s, 15 were
    reported inside a word without this rule, and 5 with it, all within its first 40 ms."""
    onset_wait: float = 0.1
    """Longest time in seconds that `onset_rise` holds an end back."""


class _LevelMeter:
    """Adds up the levels of windows."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, rms: float) -> None:
        """Add a window."""
        level = 20 * math.log10(max(rms, NOISE_FLOOR))
        self._count += 1
        self._sum += level
        self._squares += level * level

    @property
    def sound(self) -> VoiceSound:
        """What the windows sounded like; there must be one."""
        mean = self._sum / self._count
        return VoiceSound(mean, math.sqrt(max(0.0, self._squares / self._count - mean * mean)))


class BundledDetector:
    """LiveKit's bundled voice activity model as a `SpeechDetector`."""

    def __init__(self, options: DetectorOptions | None = None) -> None:
        self._options = options or DetectorOptions()
        self._model = VAD()
        self._rate = 0
        self._resampler: rtc.AudioResampler | None = None
        self._pending = bytearray()
        """Samples that do not fill a window yet."""
        self._windows = 0
        self._last_voiced = 0
        """How many windows there were up to and including the last voiced one."""
        self._speaking = False
        self._ended_at = 0
        self._levels: list[float] = []
        """RMS of the windows since the last voiced one."""
        self._meter = _LevelMeter()
        """Of the speech that lasts, up to its last voiced window."""

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        """Take the next mono frame; the first one sets the rate of all."""
        for piece in self._at_model_rate(frame):
            self._pending += piece.data
        return self._edges() if len(self._pending) >= _WINDOW_BYTES else iter(())

    def _edges(self) -> Iterator[SpeechEdge]:
        while len(self._pending) >= _WINDOW_BYTES:
            window = np.frombuffer(bytes(self._pending[:_WINDOW_BYTES]), np.int16)
            del self._pending[:_WINDOW_BYTES]
            self._windows += 1
            if (edge := self._judge(self._model.predict(window), window)) is not None:
                yield edge

    @property
    def voiced_through(self) -> int:
        """The sample behind the last voiced window; 0 before the first."""
        return self._position(self._last_voiced) if self._last_voiced else 0

    @property
    def pause_start(self) -> int | None:
        """Where the speech that lasts ends if no more voice follows; `None` without a pause."""
        if not self._speaking or self._windows == self._last_voiced:
            return None
        return self._end_position

    @property
    def _end_position(self) -> int:
        end = self._position(self._last_voiced, self._options.pad)
        return min(end, self._position(self._windows))

    def finish(self) -> Iterator[SpeechEdge]:
        """End speech that lasts, at its last voiced window."""
        if self._speaking:
            yield self._end()

    def _at_model_rate(self, frame: rtc.AudioFrame) -> Sequence[rtc.AudioFrame]:
        if not self._rate:
            self._rate = frame.sample_rate
            if self._rate != MODEL_RATE:
                self._resampler = rtc.AudioResampler(
                    self._rate, MODEL_RATE, quality=rtc.AudioResamplerQuality.QUICK
                )
        return self._resampler.push(frame) if self._resampler else (frame,)

    def _judge(self, probability: float, window: _Window) -> SpeechEdge | None:
        options = self._options
        if self._speaking:
            self._levels.append(_rms(window))
            if probability >= options.end_below:
                self._voiced()
                return None
            silence = self._seconds(self._windows - self._last_voiced)
            # a rise may be the next word, which the model has not recognized yet
            if silence >= options.silence + (options.onset_wait if self._rises() else 0.0):
                return self._end()
        elif probability >= options.start_above:
            self._speaking = True
            self._meter = _LevelMeter()
            self._levels.append(_rms(window))
            self._voiced()
            start = self._position(self._windows - 1, -options.pad)
            # the padding of two close segments would overlap
            return SpeechEdge(True, max(self._ended_at, start, 0), self._position(self._windows))
        return None

    def _voiced(self) -> None:
        self._last_voiced = self._windows
        for level in self._levels:
            self._meter.add(level)
        self._levels.clear()

    def _rises(self) -> bool:
        """Whether the last window is louder than the pause before it.

        The pause's first window and its two last ones are left out where there are others: the
        release of the last word and the onset of the next one would raise its level.
        """
        before = self._levels[1:-2] or self._levels[:-1]
        floor = max(NOISE_FLOOR, statistics.median(before)) if before else NOISE_FLOOR
        return self._levels[-1] > self._options.onset_rise * floor

    def _end(self) -> SpeechEdge:
        self._speaking = False
        self._ended_at = self._end_position
        self._levels.clear()
        return SpeechEdge(False, self._ended_at, self._position(self._windows), self._meter.sound)

    def _seconds(self, windows: int) -> float:
        return windows * VAD_WINDOW_SAMPLES / MODEL_RATE

    def _position(self, windows: int, pad: float = 0.0) -> int:
        return round((self._seconds(windows) + pad) * self._rate)


def _rms(window: _Window) -> float:
    samples = window.astype(np.float64)
    return math.sqrt(np.dot(samples, samples) / len(samples))
