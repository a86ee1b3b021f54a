"""The audio behind the ledger's spans: pushed frames, kept until the session releases them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from livekit import rtc

from ..errors import AudioFormatError

BYTES = 2
"""Bytes of a sample (signed 16 bit)."""

PIECE = 0.1
"""Seconds of audio after which the session hears of voice activity, at most: longer frames are cut.
A replay leaves out silence older than half a second, and a longer frame would bring its speech too
late."""


class FrameStore:
    """Mono audio by session position (samples)."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self.end = 0
        """Samples that were ever held."""
        self.rate = 0

    def append(self, frame: rtc.AudioFrame) -> None:
        """Copy a frame in: the caller may reuse its buffer."""
        self.rate = frame.sample_rate
        self._starts.append(self.end)
        self._chunks.append(bytes(frame.data.cast("B")))
        self.end += frame.samples_per_channel

    def release(self, before: int) -> None:
        """Forget what lies wholly before a position."""
        gone = len(self._starts) if before >= self.end else self._index(before)
        if gone > 0:
            del self._starts[:gone], self._chunks[:gone]

    def frame(self, start: int, end: int) -> rtc.AudioFrame:
        """The samples of a span as one frame."""
        first = max(0, self._index(start))
        chunks = self._chunks[first : max(first, self._index(end - 1)) + 1]
        skipped = (start - self._starts[first]) * BYTES if chunks else 0
        data = b"".join(chunks)[max(0, skipped) :][: (end - start) * BYTES]
        if skipped < 0 or len(data) != (end - start) * BYTES:
            raise AssertionError(f"span {start}..{end} is not held any more")
        return rtc.AudioFrame(data, self.rate, 1, end - start)

    def _index(self, position: int) -> int:
        """The chunk that holds a position, or the last before it; -1 if there is none."""
        return bisect_right(self._starts, position) - 1


def check(frame: rtc.AudioFrame) -> None:
    """Refuse a frame that can hold no audio.

    Raises:
        AudioFormatError: no channels, or no rate.
    """
    if frame.num_channels < 1 or frame.sample_rate < 1:
        raise AudioFormatError(
            f"a frame of {frame.num_channels} channels at {frame.sample_rate} Hz holds no audio"
        )


def pieces(frame: rtc.AudioFrame) -> Iterator[rtc.AudioFrame]:
    """A frame in pieces of `PIECE` at most."""
    size = max(1, round(PIECE * frame.sample_rate))
    if frame.samples_per_channel <= size:
        yield frame
        return
    data, step = frame.data.cast("B"), BYTES * frame.num_channels
    for at in range(0, frame.samples_per_channel, size):
        part = bytes(data[at * step : (at + size) * step])
        yield rtc.AudioFrame(part, frame.sample_rate, frame.num_channels, len(part) // step)


def mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    """The mean of a frame's channels."""
    channels = frame.num_channels
    if channels == 1:
        return frame
    samples = np.frombuffer(frame.data, np.int16)[: frame.samples_per_channel * channels]
    mixed = samples.reshape(-1, channels).mean(axis=1).round().astype(np.int16)
    return rtc.AudioFrame(mixed.tobytes(), frame.sample_rate, 1, frame.samples_per_channel)
