"""Decodes audio files into the frames that providers take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import IO, Any

import av
import av.error
from av.container import InputContainer
from livekit import rtc

from .command_error import CommandError

SAMPLE_RATE = 16_000
"""Hz; the rate at which the plugins of Cartesia and Deepgram send audio."""

_BROKEN = (av.error.FFmpegError, ValueError, IndexError)
"""What PyAV raises for damaged data; `IndexError` for a packet of a stream that begins later, as
where Ogg files were joined."""
_MOST_FAILURES = 100  # in a row, after which the rest of a file is given up

_FRAME = SAMPLE_RATE // 50  # samples: 20 ms, as in a call


class AudioFile:
    """An open file that holds audio.

    Attributes:
        duration: In seconds, from the file's header; None if the header does not say.
        damaged: How many packets could not be decoded and were skipped, so far.

    Raises:
        CommandError: No audio could be decoded.
    """

    def __init__(self, container: InputContainer, path: Path) -> None:
        self.duration = container.duration / av.time_base if container.duration else None
        self.damaged = 0
        self._container = container
        self._frames = self._mono_frames()
        first = next(self._frames, None)
        if first is None:
            raise CommandError(f"{path} has no audio in it")
        self._frames = chain([first], self._frames)

    def frames(self) -> Iterator[rtc.AudioFrame]:
        """Yield the audio once, as mono frames of 20 ms at `SAMPLE_RATE`.

        The last is shorter, and the last before the file changes its format.
        """
        return self._frames

    def _mono_frames(self) -> Iterator[rtc.AudioFrame]:
        # Files that were joined, or damaged, change their format on the way; a resampler takes one.
        for _, alike in groupby(self._decoded(), key=_format):
            resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE, frame_size=_FRAME)
            for decoded in chain(alike, [None]):  # None flushes the resampler
                for frame in self._resampled(resampler, decoded):
                    pcm = frame.to_ndarray().tobytes()
                    yield rtc.AudioFrame(pcm, SAMPLE_RATE, 1, frame.samples)

    def _resampled(
        self, resampler: av.AudioResampler, decoded: av.AudioFrame | None
    ) -> list[av.AudioFrame]:
        if decoded is not None:
            decoded.pts = None  # those of a joined file begin anew
        try:
            return resampler.resample(decoded)
        except _BROKEN:
            self.damaged += 1
            return []

    def _decoded(self) -> Iterator[av.AudioFrame]:
        for packet in self._packets():
            try:
                yield from packet.decode()
            except _BROKEN:
                # Skip a damaged packet, as audio players do. The caller reports how many.
                self.damaged += 1

    def _packets(self) -> Iterator[Any]:
        if not self._container.streams.audio:
            return
        failures = 0
        while failures < _MOST_FAILURES:
            try:
                for packet in self._container.demux(self._container.streams.audio[0]):
                    failures = 0
                    yield packet
                return
            except _BROKEN:  # go on behind it
                self.damaged += 1
                failures += 1


def _format(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


@contextlib.contextmanager
def open_audio_file(path: Path) -> Iterator[AudioFile]:
    """Open a file in any format, sample rate and number of channels that PyAV reads.

    Raises:
        CommandError: The file cannot be read, cannot be decoded, or has no audio in it.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    with file, _container(file, path) as container:
        yield AudioFile(container, path)


def _container(file: IO[bytes], path: Path) -> InputContainer:
    try:
        return av.open(file, mode="r")
    except av.error.FFmpegError:
        raise CommandError(f"{path} is not an audio file that can be decoded") from None
