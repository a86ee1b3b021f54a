"""The audio behind the ledger's spans, and checks and conversions of frames."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from livekit import rtc

from ..errors import AudioFormatError

BYTES = 2
"""Bytes of a sample: signed 16-bit, as `rtc.AudioFrame` holds them."""

PIECE = 0.1
"""Longest piece of audio in seconds that the engine gets at once; longer frames are split.
A replay leaves out silence older than 0.5 s (`ReplayPolicy.hold_back`), so the speech of a longer
frame would be reported after its beginning was already taken for silence."""


class FrameStore:
    """Pushed audio by session position (samples), kept until the engine releases it."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self.end = 0
        """Samples appended so far, released ones included."""
        self.rate = 0

    def append(self, frame: rtc.AudioFrame) -> None:
        """Append a copy of a mono frame: the caller may reuse the frame's buffer."""
        self.rate = frame.sample_rate
        self._starts.append(self.end)
        self._chunks.append(bytes(frame.data.cast("B")))
        self.end += frame.samples_per_channel

    def release(self, before: int, kept: tuple[int, int] | None = None) -> None:
        """Drop the chunks that lie wholly before a position, but for samples that are `kept`."""
        gone = len(self._starts) if before >= self.end else max(0, self._index(before))
        first = last = 0
        if kept is not None:
            first, last = max(0, self._index(kept[0])), min(gone, self._index(kept[1] - 1) + 1)
        for start, end in ((max(first, last), gone), (0, min(first, gone))):
            del self._starts[start:end], self._chunks[start:end]

    def frame(self, start: int, end: int) -> rtc.AudioFrame:
        """Return the samples from `start` to `end` as one frame.

        Raises:
            AssertionError: they were released, or never appended.
        """
        first = max(0, self._index(start))
        chunks = self._chunks[first : max(first, self._index(end - 1)) + 1]
        skipped = (start - self._starts[first]) * BYTES if chunks else 0
        data = b"".join(chunks)[max(0, skipped) :][: (end - start) * BYTES]
        if skipped < 0 or len(data) != (end - start) * BYTES:
            raise AssertionError(f"span {start}..{end} is not held any more")
        return rtc.AudioFrame(data, self.rate, 1, end - start)

    def _index(self, position: int) -> int:
        """Index of the chunk that contains a position, or of the last one before it; else -1."""
        return bisect_right(self._starts, position) - 1


_FIELDS = ("data", "sample_rate", "num_channels", "samples_per_channel")


def check(frame: rtc.AudioFrame) -> None:
    """Refuse what is no frame, and a frame that cannot hold audio.

    Raises:
        AudioFormatError: it has no channels, or no sample rate, or is another object.
    """
    if not all(hasattr(frame, name) for name in _FIELDS):
        wrapped = "its .frame" if hasattr(frame, "frame") else "rtc.AudioFrame(data, 16000, 1, n)"
        raise AudioFormatError(
            f"push_frame() takes a livekit.rtc.AudioFrame, not {type(frame).__name__}; push "
            f"{wrapped}"
        )
    if frame.num_channels < 1 or frame.sample_rate < 1:
        raise AudioFormatError(
            f"a frame of {frame.num_channels} channels at {frame.sample_rate} Hz holds no audio"
        )


def pieces(frame: rtc.AudioFrame) -> Iterator[rtc.AudioFrame]:
    """Split a frame into pieces of at most `PIECE` seconds."""
    size = max(1, round(PIECE * frame.sample_rate))
    if frame.samples_per_channel <= size:
        yield frame
        return
    data, step = frame.data.cast("B"), BYTES * frame.num_channels
    for at in range(0, frame.samples_per_channel, size):
        part = bytes(data[at * step : (at + size) * step])
        yield rtc.AudioFrame(part, frame.sample_rate, frame.num_channels, len(part) // step)


def mono(frame: rtc.AudioFrame) -> rtc.AudioFrame:
    """Mix a frame down to one channel, the mean of all."""
    channels = frame.num_channels
    if channels == 1:
        return frame
    samples = np.frombuffer(frame.data, np.int16)[: frame.samples_per_channel * channels]
    mixed = samples.reshape(-1, channels).mean(axis=1).round().astype(np.int16)
    return rtc.AudioFrame(mixed.tobytes(), frame.sample_rate, 1, frame.samples_per_channel)
