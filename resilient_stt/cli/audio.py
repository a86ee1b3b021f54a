"""Audio files as frames that a recogniser takes."""

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

from .problems import Problem

SAMPLE_RATE = 16_000
"""Hz; what both providers' plugins send."""

_FRAME = SAMPLE_RATE // 50  # samples: 20 ms, as a call brings them


class AudioFile:
    """An audio file that was opened and found to hold audio.

    Attributes:
        duration: In seconds, as the file says; None if it does not.
        damaged: Packets that could not be decoded and were skipped, so far.
    """

    def __init__(self, container: InputContainer, path: Path) -> None:
        self.duration = container.duration / av.time_base if container.duration else None
        self.damaged = 0
        self._container = container
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is None:
            raise Problem(f"{path} holds no audio")
        self._frames = chain([first], self._frames)

    def frames(self) -> Iterator[rtc.AudioFrame]:
        """Yield the audio once, as mono frames of 20 ms at `SAMPLE_RATE`; the last is shorter."""
        return self._frames

    def _decoded(self) -> Iterator[rtc.AudioFrame]:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE, frame_size=_FRAME)
        for decoded in chain(self._sound(), [None]):  # None flushes the resampler
            for frame in resampler.resample(decoded):
                yield rtc.AudioFrame(frame.to_ndarray().tobytes(), SAMPLE_RATE, 1, frame.samples)

    def _sound(self) -> Iterator[av.AudioFrame]:
        if not self._container.streams.audio:
            return
        packets = self._container.demux(self._container.streams.audio[0])
        while True:
            try:
                if (packet := next(packets, None)) is None:
                    return
                yield from packet.decode()
            except av.error.FFmpegError:
                self.damaged += 1  # a player goes on after a scratch, too


@contextlib.contextmanager
def opened(path: Path) -> Iterator[AudioFile]:
    """Open anything that PyAV reads: any rate, any number of channels.

    Raises:
        Problem: The file cannot be read, or holds no audio.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from None
    with file, _container(file, path) as container:
        yield AudioFile(container, path)


def _container(file: IO[bytes], path: Path) -> InputContainer:
    try:
        return av.open(file, mode="r")
    except av.error.FFmpegError:
        raise Problem(f"{path} is no audio file that can be decoded") from None
