"""Plays reference speech to any LiveKit STT in real time and keeps what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import stt
from livekit.agents.stt import SpeechEventType

from ..speech.reference import SAMPLE_RATE, ReferenceSpeech
from .score import Final, Score, score

OnEvent = Callable[[float, stt.SpeechEvent], None]


@dataclass(slots=True)
class Played:
    """What an STT said to the speech it was played.

    Attributes:
        speech: That was played.
        events: Each with the time it came at, in seconds since the first frame was pushed.
        error: What the stream raised, if it did; `TimeoutError` if it had to be left.
        finished: Whether the stream came to its end in time.
    """

    speech: ReferenceSpeech
    events: list[tuple[float, stt.SpeechEvent]] = field(default_factory=list)
    error: Exception | None = None
    finished: bool = False

    @property
    def finals(self) -> list[Final]:
        """The final transcripts, in the order emitted."""
        return [
            Final.from_event(event, at)
            for at, event in self.events
            if event.type is SpeechEventType.FINAL_TRANSCRIPT
        ]

    @property
    def score(self) -> Score:
        """How the finals differ from the words spoken."""
        return score(self.speech.words, self.finals)

    @property
    def balanced(self) -> bool:
        """Whether START_OF_SPEECH and END_OF_SPEECH alternate, and the last is an END."""
        edges = [
            event.type
            for _, event in self.events
            if event.type in (SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH)
        ]
        pair = [SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH]
        return edges == pair * (len(edges) // 2)


async def play(
    target: stt.STT[Any],
    speech: ReferenceSpeech,
    *,
    sample_rate: int = SAMPLE_RATE,
    channels: int = 1,
    frame_duration: float = 0.02,
    patience: float = 30.0,
    on_event: OnEvent | None = None,
) -> Played:
    """Play speech to a new stream of `target` and listen until it ends.

    Frames are pushed at the pace at which they are spoken, on the clock of the event loop. What the
    stream raises is in the result, and so is a `TimeoutError` if it did not end in time. `target`
    is not closed. Outside of a LiveKit worker, plugins that are given no HTTP session need
    `livekit.agents.utils.http_context.open()` around this and their closing.

    Args:
        target: Any LiveKit STT that streams.
        speech: `speech.padded(1.0)` gives a recogniser the silence after the last word.
        sample_rate: Hz of the frames pushed.
        channels: Of the frames pushed.
        frame_duration: Seconds of a frame.
        patience: Seconds after the end of the speech before a stream that has not ended is left.
        on_event: Called with each event and its time. What it raises is raised.

    Raises:
        TypeError: `speech` is none.
        ValueError: There are no such frames.
    """
    if not isinstance(speech, ReferenceSpeech):
        raise TypeError(f"speech must be a ReferenceSpeech, as load() gives it, not {speech!r}")
    played = Played(speech)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    frames = speech.frames(
        sample_rate=sample_rate, channels=channels, frame_duration=frame_duration
    )
    mistakes: list[Exception] = []

    async def push(stream: stt.RecognizeStream) -> None:
        position = 0.0
        for frame in frames:
            position += frame.duration
            await asyncio.sleep(begun + position - loop.time())
            stream.push_frame(frame)
        stream.end_input()

    async def listen(stream: stt.RecognizeStream) -> None:
        async for event in stream:
            at = loop.time() - begun
            played.events.append((at, event))
            if on_event:
                try:
                    on_event(at, event)
                except Exception as mistake:
                    mistakes.append(mistake)
                    return

    async with target.stream() as stream:
        pushing = asyncio.create_task(push(stream))
        try:
            await asyncio.wait_for(listen(stream), speech.duration + patience)
            played.finished = True
        except Exception as error:  # whatever a stream raises is a finding, not our failure
            played.error = error
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
    if mistakes:
        raise mistakes[0]
    return played
