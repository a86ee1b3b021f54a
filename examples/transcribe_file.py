"""Transcribe an audio file without an agent: `python transcribe_file.py speech.wav`.

Set CARTESIA_API_KEY or DEEPGRAM_API_KEY. Set both to survive an outage of one provider.
"""

from __future__ import annotations

import asyncio
import sys

from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.agents.utils.audio import audio_frames_from_file

from resilient_stt import ResilientSTT


async def transcribe(path: str) -> None:
    """Print the final transcripts of an audio file."""
    async with (
        http_context.open(),
        ResilientSTT() as transcriber,
        transcriber.stream() as stream,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(push_audio(stream, path))
        async for event in stream:
            if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                sys.stdout.write(f"{event.alternatives[0].text.strip()}\n")


async def push_audio(stream: stt.RecognizeStream, path: str) -> None:
    """Push the audio of a file to a stream in real time."""
    async for frame in audio_frames_from_file(path, sample_rate=16_000):
        stream.push_frame(frame)
        # Providers reject audio that comes much faster than real time.
        await asyncio.sleep(frame.duration)
    stream.end_input()


if __name__ == "__main__":
    asyncio.run(transcribe(sys.argv[1]))
