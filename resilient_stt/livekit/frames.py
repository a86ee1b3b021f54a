"""The audio behind the ledger's spans, and checks and conversions of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from livekit import rtc

from ..errors import AudioFormatError

BYTES = 2
"""Bytes of a sample: signed 16-bit, as `rtc.AudioFrame` holds them."""

BLOCK = 2048
"""Samples that are held, and dropped, together: an eighth of a second at 16 kHz."""

PIECE = 0.1
"""Longest piece of audio in seconds that the engine gets at once; longer frames are split.
A replay leaves out silence older than 0.5 s (`ReplayPolicy.hold_back`), so the speech of a longer
frame would be reported after its beginning was already taken for silence."""


class FrameStore:
    """Pushed audio by session position (samples), kept until the engine releases it.

    It is held in blocks of one size. An object for each frame of 20 ms would take a fifth more
    memory. One buffer for all would take up to twice as much: it grows in steps, and does not
    shrink with what it holds.
    """

    __slots__ = "_blocks", "_filled", "_kept", "_kept_start", "_newest", "_skipped", "end", "rate"

    def __init__(self) -> None:
        self._blocks: list[bytearray] = []
        """The samples, oldest first, `BLOCK` in each."""
        self._newest = memoryview(b"").cast("h")
        """The last block, to be filled."""
        self._filled = BLOCK
        """Samples in it."""
        self._skipped = 0
        """Samples at the beginning of the first block that were released."""
        self._kept_start, self._kept = 0, b""
        """Older samples that are kept, and the position of their first."""
        self.end = 0
        """Samples appended so far, released ones included."""
        self.rate = 0

    def append(self, frame: rtc.AudioFrame) -> None:
        """Append a copy of a mono frame: the caller may reuse the frame's buffer."""
        data, samples, at = frame.data, frame.samples_per_channel, self._filled
        self.rate = frame.sample_rate
        self.end += samples
        if at + samples <= BLOCK:
            self._newest[at : at + samples] = data if len(data) == samples else data[:samples]
            self._filled = at + samples
        else:
            self._append_across(data[:samples])

    def _append_across(self, data: memoryview) -> None:
        while len(data):
            if self._filled == BLOCK:
                self._blocks.append(block := bytearray(BLOCK * BYTES))
                self._newest, self._filled = memoryview(block).cast("h"), 0
            at, count = self._filled, min(len(data), BLOCK - self._filled)
            self._newest[at : at + count] = data[:count]
            self._filled, data = at + count, data[count:]

    def release(self, before: int, kept: tuple[int, int] | None = None) -> None:
        """Drop the samples before a position, but for those that are `kept`."""
        kept_start, kept_end = kept or (before, before)
        if kept_start >= before:
            self._kept = b""
        elif kept_start != self._kept_start or len(self._kept) != (kept_end - kept_start) * BYTES:
            self._kept_start, self._kept = kept_start, self._read(kept_start, kept_end)
        gone = min(before, self.end) - self.start
        if gone > 0:
            self._skipped += gone
            # the last block is being filled
            if whole := min(self._skipped // BLOCK, len(self._blocks) - 1):
                del self._blocks[:whole]
                self._skipped -= whole * BLOCK

    def frame(self, start: int, end: int) -> rtc.AudioFrame:
        """Return the samples from `start` to `end` as one frame.

        Raises:
            AssertionError: they were released, or never appended.
        """
        return rtc.AudioFrame(self._read(start, end), self.rate, 1, end - start)

    @property
    def start(self) -> int:
        """The position of the oldest sample that was not released."""
        held = (len(self._blocks) - 1) * BLOCK + self._filled - self._skipped
        return self.end - held

    def _read(self, start: int, end: int) -> bytes:
        begin, first = self.start, self._kept_start
        middle = max(start, min(end, begin))
        data = b""
        if first <= start < middle:
            data = self._kept[(start - first) * BYTES : (middle - first) * BYTES]
        if middle < end:
            data += self._held(middle - begin, min(end, self.end) - begin)
        if len(data) != (end - start) * BYTES:
            raise AssertionError(f"span {start}..{end} is not held any more")
        return data

    def _held(self, start: int, end: int) -> bytes:
        """Return samples of what is held, counted from the oldest that was not released."""
        start, end = start + self._skipped, end + self._skipped
        first = start // BLOCK
        blocks = b"".join(self._blocks[first : -(-end // BLOCK)])
        return blocks[(start - first * BLOCK) * BYTES : (end - first * BLOCK) * BYTES]


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
