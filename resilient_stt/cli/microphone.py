"""The default microphone, by PortAudio."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from livekit import rtc

from ..extras import install_command
from .command_error import CommandError

SAMPLE_RATE = 16_000
"""Hz; PortAudio resamples where a microphone has another rate."""

_FRAME = SAMPLE_RATE // 50  # samples: 20 ms, as in a call


@contextlib.contextmanager
def microphone(push: Callable[[rtc.AudioFrame], None]) -> Iterator[str]:
    """Push what the default microphone hears while the context is open; yield its name.

    `push` is called on the running event loop, with mono frames of 20 ms at `SAMPLE_RATE`.

    Raises:
        CommandError: There is no microphone, or what is needed for one is not installed.
    """
    sound, loop = _sounddevice(), asyncio.get_running_loop()

    def on_audio(data: Any, count: int, time: Any, status: Any) -> None:
        frame = rtc.AudioFrame(bytes(data), SAMPLE_RATE, 1, count)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the command ends
            loop.call_soon_threadsafe(push, frame)

    try:
        name = str(sound.query_devices(kind="input")["name"])
        stream = sound.RawInputStream(
            samplerate=SAMPLE_RATE, blocksize=_FRAME, channels=1, dtype="int16", callback=on_audio
        )
    except (sound.PortAudioError, ValueError) as error:
        raise CommandError(
            f"no microphone can be used: {error}; `resilient-stt transcribe FILE` takes a recording"
        ) from None
    with stream:
        yield name


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ModuleNotFoundError:
        raise CommandError(
            f"listening needs sounddevice, which is not installed: {install_command('local')}"
        ) from None
    except OSError:  # what sounddevice raises without the library
        raise CommandError(
            "listening needs PortAudio, which is not installed: apt-get install libportaudio2, or "
            "brew install portaudio"
        ) from None
