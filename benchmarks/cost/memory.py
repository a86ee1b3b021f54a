"""Memory of a stream: differences of the resident memory of a process that opens many.

Resident memory has what `tracemalloc` does not see: the VAD's model, and what the allocator wastes.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal

from livekit import rtc
from livekit.agents import stt

from resilient_stt.testing.speech.reference import SAMPLE_RATE

from .in_process import in_virtual_time
from .process import in_new_process, resident
from .rehearsed import Rehearsal, RehearsedSTT, of_speech
from .subjects import ADAPTER, BARE, SUBJECTS

State = Literal["healthy", "unsettled", "hour"]
KIB = 1024
FRAME = 0.1
"""Seconds of a pushed frame: an hour takes long enough."""
SETTLED = 20.0
"""Seconds of audio in which a healthy stream has reached its size: two sentences."""
UNSETTLED = 58.0
"""Seconds of audio without any transcript; after 60 s of an outage a stream gives up."""
AUDIO_KIB = UNSETTLED * SAMPLE_RATE * 2 / KIB
"""What that audio takes itself: two bytes for each sample."""
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Streams:
    """Of how many streams the memory is compared: those that are opened first, whose memory does
    not count because they bring what all share, and those that are opened then.
    """

    first: int
    then: int


SIZES: dict[State, Streams] = {
    "healthy": Streams(10, 40),
    "unsettled": Streams(1, 10),
    "hour": Streams(0, 3),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """KiB of a stream, by subject.

    Attributes:
        healthy: While a provider works.
        unsettled: With `UNSETTLED` seconds of audio that no provider has transcribed.
        hour: What a stream takes more after an hour of speech than after `SETTLED` seconds.
    """

    healthy: dict[str, float]
    unsettled: dict[str, float]
    hour: dict[str, float]


def measure() -> Memory:
    """Measure every subject; only ours keep audio, so only they can have some that is unsettled."""
    ours = [subject for subject in SUBJECTS if subject not in (BARE, ADAPTER)]
    return Memory(
        healthy={subject: kib(subject, "healthy") for subject in SUBJECTS},
        unsettled={subject: kib(subject, "unsettled") for subject in ours},
        hour={subject: kib(subject, "hour") for subject in SUBJECTS},
    )


def kib(subject: str, state: State) -> float:
    """Return the KiB that a stream of a subject takes in a state, in a process of its own."""
    return in_new_process(_measure, subject, state)


def _measure(subject: str, state: State) -> float:
    return in_virtual_time(_after_an_hour(subject) if state == "hour" else _opened(subject, state))


async def _opened(subject: str, state: State) -> float:
    works, seconds = state == "healthy", SETTLED if state == "healthy" else UNSETTLED
    async with _Caller(subject, works=works) as caller:
        size = SIZES[state]
        await caller.open(size.first)
        await caller.speak(seconds)
        if state == "healthy":
            before = _resident()
            await caller.open(size.then)
        else:  # the first ones would give up
            await caller.close()
            before = _resident()
            await caller.open(size.then)
        await caller.speak(seconds)
        return (_resident() - before) / size.then / KIB


async def _after_an_hour(subject: str) -> float:
    async with _Caller(subject) as caller:
        await caller.open(SIZES["hour"].then)
        await caller.speak(SETTLED)
        before = _resident()
        await caller.speak(HOUR - SETTLED)
        return (_resident() - before) / SIZES["hour"].then / KIB


class _Caller:
    """Streams of one subject that all hear the reference speech, over and over."""

    def __init__(self, subject: str, *, works: bool = True) -> None:
        rehearsal = of_speech()
        self._frames = _longer(rehearsal)
        made = [RehearsedSTT(f"provider-{n}", rehearsal, works=works) for n in range(2)]
        self._target = SUBJECTS[subject](made)
        self._stack = AsyncExitStack()
        self._streams: list[stt.RecognizeStream] = []
        self._listeners: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self._target.aclose()

    async def open(self, streams: int) -> None:
        for _ in range(streams):
            stream = await self._stack.enter_async_context(self._target.stream())
            self._streams.append(stream)
            self._listeners.append(asyncio.create_task(_listen(stream)))

    async def close(self) -> None:
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        await self._stack.aclose()
        self._streams.clear()
        self._listeners.clear()

    async def speak(self, seconds: float) -> None:
        """Push audio to all streams at the pace of speech."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(round(seconds / FRAME)):
            await asyncio.sleep(begun + number * FRAME - loop.time())
            frame = self._frames[number % len(self._frames)]
            for stream in self._streams:
                stream.push_frame(frame)


async def _listen(stream: stt.RecognizeStream) -> None:
    async for _ in stream:
        pass


def _longer(rehearsal: Rehearsal) -> list[rtc.AudioFrame]:
    data = b"".join(bytes(frame.data.cast("B")) for frame in rehearsal.frames)
    samples = round(FRAME * SAMPLE_RATE)
    whole = range(0, len(data) - 2 * samples + 1, 2 * samples)
    return [rtc.AudioFrame(data[at : at + 2 * samples], SAMPLE_RATE, 1, samples) for at in whole]


def _resident() -> int:
    """The resident memory, without what is garbage and what the allocator could give back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return resident()
