"""The audio behind the ledger's spans, and checks and conversions of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from livekit import rtc

from ..errors import AudioFormatError

BYTES = 2
"""Bytes of a sample: signed 16-bit, as `rtc.AudioFrame` holds them."""

PIECE = 0.1
"""Longest piece of audio in seconds that the engine gets at once; longer frames are split.
A replay leaves out silence older than 0.5 s (`ReplayPolicy.hold_back`), so the speech of a longer
frame would be reported after its beginning was already taken for silence."""

COPIED_FROM = 8
"""The part of the audio that must be released for the rest to be copied, as 1 in so many. A stream
with a full replay window releases a frame for each that is pushed, and 60 s are 2 MB."""


class FrameStore:
    """Pushed audio by session position (samples), kept until the engine releases it."""

    def __init__(self) -> None:
        self._audio = bytearray()
        """The newest samples, in one buffer: an object for each frame of 20 ms would take a fifth
        more memory, and blocks of an eighth of a second a twentieth, as holes between them."""
        self._kept_start, self._kept = 0, b""
        """Older samples that are kept, and the position of their first."""
        self.end = 0
        """Samples appended so far, released ones included."""
        self.rate = 0

    def append(self, frame: rtc.AudioFrame) -> None:
        """Append a copy of a mono frame: the caller may reuse the frame's buffer."""
        self.rate = frame.sample_rate
        data, samples = frame.data, frame.samples_per_channel
        self._audio += data if len(data) == samples else data[:samples]
        self.end += samples

    def release(self, before: int, kept: tuple[int, int] | None = None) -> None:
        """Drop the samples before a position, but for those that are `kept`.

        Some of these may still be to come: words are kept with some audio behind them.
        """
        kept_start, kept_end = kept or (before, before)
        kept_end = min(kept_end, self.end)
        if kept_start >= before:
            self._kept = b""
        elif kept_start != self._kept_start or len(self._kept) != (kept_end - kept_start) * BYTES:
            self._kept_start, self._kept = kept_start, self._read(kept_start, kept_end)
        gone = (min(before, self.end) - self.start) * BYTES
        if gone <= 0:
            return
        if gone * COPIED_FROM < len(self._audio):
            del self._audio[:gone]  # at once, and given back when it has grown by an eighth
        else:
            # A copy, for what is cut off a `bytearray` is not given back until it grows.
            self._audio = self._audio[gone:]

    def frame(self, start: int, end: int) -> rtc.AudioFrame:
        """Return the samples from `start` to `end` as one frame.

        Raises:
            AssertionError: they were released, or never appended.
        """
        return rtc.AudioFrame(self._read(start, end), self.rate, 1, end - start)

    @property
    def start(self) -> int:
        """The position of the oldest sample that was not released."""
        return self.end - len(self._audio) // BYTES

    def _read(self, start: int, end: int) -> bytes:
        begin, first = self.start, self._kept_start
        middle = max(start, min(end, begin))
        data = b""
        if first <= start < middle:
            data = self._kept[(start - first) * BYTES : (middle - first) * BYTES]
        if middle < end:
            data += self._audio[(middle - begin) * BYTES : (end - begin) * BYTES]
        if len(data) != (end - start) * BYTES:
            raise AssertionError(f"span {start}..{end} is not held any more")
        return data


_FIELDS = ("data", "sample_rate", "num_channels", "samples_per_channel")


def check(frame: rtc.AudioFrame) -> None:
    """Refuse what is no frame, and a frame that cannot hold audio.

    Raises:
        AudioFormatError: it has no channels, or no sample rate, or is another object.
    """
    if type(frame) is not rtc.AudioFrame and not all(hasattr(frame, name) for name in _FIELDS):
        wrapped = "its .frame" if hasattr(frame, "frame") else "rtc.AudioFrame(data, 16000, 1, n)"
        raise AudioFormatError(
            f"push_frame() takes a livekit.rtc.AudioFrame, not {type(frame).__name__}; push "
            f"{wrapped}"
        )
    if frame.num_channels < 1 or frame.sample_rate < 1:
        raise AudioFormatError(
            f"a frame of {frame.num_channels} channels at {frame.sample_rate} Hz holds no audio"
        )


def pieces(frame: rtc.AudioFrame) -> Iterable[rtc.AudioFrame]:
    """Split a frame into pieces of at most `PIECE` seconds."""
    if frame.samples_per_channel <= PIECE * frame.sample_rate:
        return (frame,)
    return _split(frame, max(1, round(PIECE * frame.sample_rate)))


def _split(frame: rtc.AudioFrame, size: int) -> Iterator[rtc.AudioFrame]:
    data, step = frame.data.cast("B"), BYTES * frame.num_channels
    for at in range(0, frame.samples_per_channel, size):
        part = bytes(data[at * step : (at + size) * step])
        yield rtc.AudioFrame(part, frame.sample_rate, frame.num_channels, len(part) // step)


def silence(rate: int, seconds: float) -> Iterable[rtc.AudioFrame]:
    """Return so many seconds of silence at `rate` Hz, in pieces of at most `PIECE` seconds."""
    return pieces(rtc.AudioFrame.create(rate, 1, round(seconds * rate)))


def mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    """Mix a frame down to one channel, the mean of all."""
    channels = frame.num_channels
    if channels == 1:
        return frame
    samples = np.frombuffer(frame.data, np.int16)[: frame.samples_per_channel * channels]
    mixed = samples.reshape(-1, channels).mean(axis=1).round().astype(np.int16)
    return rtc.AudioFrame(mixed.tobytes(), frame.sample_rate, 1, frame.samples_per_channel)
