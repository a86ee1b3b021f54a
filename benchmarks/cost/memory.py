"""Memory of a stream: differences of the resident memory of a process that opens many.

Resident memory has what `tracemalloc` does not see: the VAD's model, and what the allocator wastes.

The callers begin one after the other, so that each is at another word. A stream keeps the audio of
the sentence that has no final yet: with all at the same word, the figure would be about that word.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import math
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
SPREAD = 30.0
"""Seconds within which the callers begin: about the length of the speech."""
SETTLED = 20.0
"""Seconds of audio, of the last caller, in which a healthy stream has reached its size."""
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
        hour: What a stream takes more after an hour of speech than when it had settled.
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
    works = state == "healthy"
    spread, seconds = (SPREAD, SPREAD + SETTLED) if works else (0.0, UNSETTLED)
    async with Caller(subject, works=works) as caller:
        size = SIZES[state]
        await caller.open(size.first, spread)
        await caller.speak(seconds)
        if not works:
            await caller.close()  # they would give up
        before = _resident()
        await caller.open(size.then, spread)
        await caller.speak(seconds)
        return (_resident() - before) / size.then / KIB


async def _after_an_hour(subject: str) -> float:
    async with Caller(subject) as caller:
        await caller.open(SIZES["hour"].then, SPREAD)
        await caller.speak(SPREAD + SETTLED)
        before = _resident()
        await caller.speak(HOUR)
        return (_resident() - before) / SIZES["hour"].then / KIB


class Caller:
    """Streams of one subject that all hear the reference speech, over and over."""

    def __init__(self, subject: str, *, works: bool = True) -> None:
        rehearsal = of_speech()
        self._frames = _longer(rehearsal)
        made = [RehearsedSTT(f"provider-{n}", rehearsal, works=works) for n in range(2)]
        self._target = SUBJECTS[subject](made)
        self._stack = AsyncExitStack()
        self.streams: list[stt.RecognizeStream] = []
        self._next: list[int] = []
        """The frame that each of them is pushed next; negative before it begins."""
        self._listeners: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self._target.aclose()

    async def open(self, streams: int, spread: float) -> None:
        """Open streams that begin to speak within so many seconds, one after the other."""
        for number in range(streams):
            stream = await self._stack.enter_async_context(self._target.stream())
            self.streams.append(stream)
            self._next.append(-round(number / streams * spread / FRAME))
            self._listeners.append(asyncio.create_task(_listen(stream)))

    async def close(self) -> None:
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        await self._stack.aclose()
        self.streams.clear()
        self._next.clear()
        self._listeners.clear()

    async def speak(self, seconds: float) -> None:
        """Push audio to all streams at the pace of speech."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(round(seconds / FRAME)):
            await asyncio.sleep(begun + number * FRAME - loop.time())
            for index, stream in enumerate(self.streams):
                if (at := self._next[index]) >= 0:
                    stream.push_frame(self._frames[at % len(self._frames)])
                self._next[index] = at + 1


async def _listen(stream: stt.RecognizeStream) -> None:
    async for _ in stream:
        pass


def _longer(rehearsal: Rehearsal) -> list[rtc.AudioFrame]:
    """Return the frames joined to longer ones, over and over until one ends where the speech does.

    If any audio were left out, the provider would say its lines at other times than they are heard.
    """
    samples = round(FRAME * SAMPLE_RATE)
    times = math.lcm(samples, rehearsal.samples) // rehearsal.samples
    data = b"".join(bytes(frame.data.cast("B")) for frame in rehearsal.frames) * times
    starts = range(0, len(data), 2 * samples)
    return [rtc.AudioFrame(data[at : at + 2 * samples], SAMPLE_RATE, 1, samples) for at in starts]


def _resident() -> int:
    """The resident memory, without what is garbage and what the allocator could give back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return resident()
