"""Decodes audio files into the frames that providers take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import av
import av.error
from av.container import InputContainer
from livekit import rtc

from .command_error import CommandError

SAMPLE_RATE = 16_000
"""Hz; the rate at which the plugins of Cartesia and Deepgram send audio."""

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
        """Yield the audio once, as mono frames of 20 ms at `SAMPLE_RATE`; the last is shorter."""
        return self._frames

    def _mono_frames(self) -> Iterator[rtc.AudioFrame]:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE, frame_size=_FRAME)
        for decoded in chain(self._decoded(), [None]):  # None flushes the resampler
            for frame in resampler.resample(decoded):
                yield rtc.AudioFrame(frame.to_ndarray().tobytes(), SAMPLE_RATE, 1, frame.samples)

    def _decoded(self) -> Iterator[av.AudioFrame]:
        if not self._container.streams.audio:
            return
        packets = self._container.demux(self._container.streams.audio[0])
        while True:
            try:
                if (packet := next(packets, None)) is None:
                    return
                yield from packet.decode()
            except av.error.FFmpegError:
                # Skip a damaged packet, as audio players do. The caller reports how many.
                self.damaged += 1


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
