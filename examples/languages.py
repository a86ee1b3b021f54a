"""Follow a caller into another language: `python languages.py speech.wav`, with keys of both.

The language is unknown at first, so the route `detect` of `stt.yaml` serves: a provider that
reports which language it hears. Two finals in Spanish, or a long one, and the route `es` takes
over.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.agents.utils.audio import audio_frames_from_file

from resilient_stt import LanguageRouted, ResilientSTT

CONFIGURATION = Path(__file__).with_name("stt.yaml")


async def follow(
    frames: AsyncIterable[rtc.AudioFrame],
    configuration: str | Path | Mapping[str, Any] = CONFIGURATION,
) -> None:
    """Print what is said, and each change of the route."""

    def routed(event: LanguageRouted) -> None:
        names = ", ".join(event.providers)
        sys.stdout.write(f"-- {event.language}: route {event.route} ({names})\n")

    async with (
        http_context.open(),
        ResilientSTT.from_config(configuration) as transcriber,
        transcriber.stream(language="") as stream,
        asyncio.TaskGroup() as tasks,
    ):
        transcriber.on("language_routed", routed)
        tasks.create_task(push(stream, frames))
        async for event in stream:
            if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                said = event.alternatives[0]
                sys.stdout.write(f"{said.language}: {said.text}\n")


async def push(stream: stt.RecognizeStream, frames: AsyncIterable[rtc.AudioFrame]) -> None:
    """Push audio to a stream in real time."""
    async for frame in frames:
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)
    stream.end_input()


if __name__ == "__main__":
    asyncio.run(follow(audio_frames_from_file(sys.argv[1], sample_rate=16_000)))
