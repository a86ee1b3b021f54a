"""Transcribe an audio file outside an agent: `python transcribe_file.py speech.wav`.

Needs CARTESIA_API_KEY or DEEPGRAM_API_KEY; both, to survive an outage of one of them.
"""

from __future__ import annotations

import asyncio
import sys

from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.agents.utils.audio import audio_frames_from_file

from resilient_stt import ResilientSTT


async def transcribe(path: str) -> None:
    async with (
        http_context.open(),
        ResilientSTT() as transcriber,
        transcriber.stream() as stream,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(feed(stream, path))
        async for event in stream:
            if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                sys.stdout.write(f"{event.alternatives[0].text.strip()}\n")


async def feed(stream: stt.RecognizeStream, path: str) -> None:
    async for frame in audio_frames_from_file(path, sample_rate=16_000):
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)  # providers take audio little faster than real time
    stream.end_input()


if __name__ == "__main__":
    asyncio.run(transcribe(sys.argv[1]))
