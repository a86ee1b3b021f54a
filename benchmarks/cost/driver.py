"""Pushes audio to many streams at the pace of speech, and takes what the process used meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc
from livekit.agents import stt
from livekit.agents.stt import SpeechEventType

from .rehearsed import sent_at

WARM_UP = 1.0
"""Seconds of audio before anything is measured: connections are open by then."""
LAST = 0.1
"""Seconds in which the last frame's events come."""
PHASES = 20
"""Groups of streams; each pushes at a time of its own, as callers do, and not all at once. With few
streams there are fewer: a turn of the loop for each stream would be dearer than what it does."""


@dataclass(slots=True)
class Driven:
    """What some streams did. CPU and audio are those after the warm-up.

    Attributes:
        cpu: Seconds of CPU that the process used.
        audio: Seconds of audio pushed, of all streams together.
        finals: Finals of all streams.
        ways: Seconds of CPU of the process from a rehearsed provider's event to the consumer's.
        errors: What streams raised.
    """

    cpu: float = 0.0
    audio: float = 0.0
    finals: int = 0
    ways: list[float] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


async def drive(
    target: stt.STT[Any],
    frames: Sequence[rtc.AudioFrame],
    *,
    streams: int,
    seconds: float,
    warm_up: float = WARM_UP,
    phases: int | None = None,
    on_warm: Callable[[], object] = lambda: None,
    on_end: Callable[[], object] = lambda: None,
) -> Driven:
    """Push so many seconds of audio to so many streams, after the warm-up, and close them.

    The frames are repeated. `on_warm` is called after the warm-up, `on_end` before the streams are
    closed. `phases`: groups that push at a time of their own; by default by the number of streams.
    """
    driven = Driven()
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(target.stream()) for _ in range(streams)]
        listeners = [asyncio.create_task(_listen(stream, driven)) for stream in opened]
        phases = phases or max(1, min(PHASES, streams // 5))
        pushers = [
            asyncio.create_task(_push(opened[n::phases], frames, n / phases, warm_up + seconds))
            for n in range(phases)
        ]
        await asyncio.sleep(warm_up)
        on_warm()
        gc.collect()
        begun = time.process_time()
        await asyncio.gather(*pushers)
        driven.cpu = time.process_time() - begun
        driven.audio = streams * seconds
        on_end()
        await asyncio.sleep(LAST)
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    return driven


async def _push(
    streams: Sequence[stt.RecognizeStream],
    frames: Sequence[rtc.AudioFrame],
    phase: float,
    seconds: float,
) -> None:
    loop, length = asyncio.get_running_loop(), frames[0].duration
    begun = loop.time() + phase * length
    for number in range(round(seconds / length)):
        await asyncio.sleep(begun + number * length - loop.time())
        frame = frames[number % len(frames)]
        for stream in streams:
            stream.push_frame(frame)


async def _listen(stream: stt.RecognizeStream, driven: Driven) -> None:
    try:
        async for event in stream:
            if (sent := sent_at(event)) is not None:
                driven.ways.append(time.process_time() - sent)
            driven.finals += event.type is SpeechEventType.FINAL_TRANSCRIPT
    except Exception as error:  # it is in the result
        driven.errors.append(error)
