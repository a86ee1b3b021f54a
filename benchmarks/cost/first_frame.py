"""How long a new process takes to hand its first frame to a provider, once all is imported."""

from __future__ import annotations

import asyncio
import sys
import time

from livekit import rtc
from livekit.agents.stt import SpeechEventType

from .rehearsed import FRAME, Line, Rehearsal, RehearsedSTT
from .subjects import SUBJECTS


def main(subject: str) -> None:
    """Print the milliseconds from making an STT to the event with which its provider answers."""
    sys.stdout.write(f"{1e3 * asyncio.run(_first_frame(subject))}\n")


async def _first_frame(subject: str) -> float:
    frame = rtc.AudioFrame.create(50 * FRAME, 1, FRAME)
    said = Rehearsal((frame,), (Line(1, SpeechEventType.START_OF_SPEECH),))
    providers = [RehearsedSTT(f"provider-{number}", said) for number in range(2)]
    begun = time.perf_counter()
    target = SUBJECTS[subject](providers)
    async with target.stream() as stream:
        stream.push_frame(frame)
        await anext(aiter(stream))
        took = time.perf_counter() - begun
    await target.aclose()
    return took
