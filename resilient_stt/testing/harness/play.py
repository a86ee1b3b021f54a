"""Play reference speech to any LiveKit STT in real time, and keep its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import stt
from livekit.agents.stt import SpeechEventType

from ..speech.accent import Accent
from ..speech.reference import SAMPLE_RATE, ReferenceSpeech
from .score import Final, Score, score
from .word_errors import word_error_rate

OnEvent = Callable[[float, stt.SpeechEvent], None]


@dataclass(slots=True)
class Played:
    """What an STT emitted for the speech it was played.

    Attributes:
        speech: The speech that was played.
        events: The events, each with its time in seconds since the first frame was pushed.
        error: What the stream raised, if it did; `TimeoutError` if it did not end in time.
        finished: Whether the stream ended in time.
        accents: The accents of the providers. With any, a word counts in every form that an accent
            writes.
    """

    speech: ReferenceSpeech
    events: list[tuple[float, stt.SpeechEvent]] = field(default_factory=list)
    error: Exception | None = None
    finished: bool = False
    accents: Sequence[Accent] = ()

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
        return score(self.speech.words, self.finals, accents=bool(self.accents))

    @property
    def word_error_rate(self) -> float:
        """Words of the finals that are wrong, missing or too many, as a share of those spoken: the
        measure for a real recognizer, which misses words on its own account."""
        return word_error_rate(self.speech.text, " ".join(final.text for final in self.finals))

    @property
    def balanced(self) -> bool:
        """Whether START_OF_SPEECH and END_OF_SPEECH alternate, and the last one is an END."""
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
    accents: Sequence[Accent] = (),
) -> Played:
    """Play speech to a new stream of `target`, and listen until it ends.

    Frames are pushed at the pace of speech, on the clock of the event loop. An exception of the
    stream is in the result, and so is a `TimeoutError` if the stream did not end in time. `target`
    is not closed. Outside a LiveKit worker, plugins without an HTTP session need
    `livekit.agents.utils.http_context.open()` around this call and around their closing.

    Args:
        target: Any LiveKit STT that streams.
        speech: The speech; `speech.padded(1.0)` gives a recognizer the silence after the last word.
        sample_rate: Hz of the frames.
        channels: Channels of the frames.
        frame_duration: Seconds of a frame.
        patience: Seconds after the end of the speech after which a stream that has not ended is
            closed.
        on_event: Called with the time and each event. Its exceptions are raised.
        accents: The accents of the fake servers behind `target`, for the score.

    Raises:
        TypeError: `speech` is not a `ReferenceSpeech`.
        ValueError: There are no frames with this rate, these channels and this duration.
    """
    if not isinstance(speech, ReferenceSpeech):
        raise TypeError(
            f"speech must be a ReferenceSpeech, such as ReferenceSpeech.load(), not {speech!r}"
        )
    played = Played(speech, accents=accents)
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
            async with asyncio.timeout(speech.duration + patience):
                await listen(stream)
            played.finished = True
        except (
            Exception
        ) as error:  # an exception of the stream is a result, not a failure of the kit
            played.error = error
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
    if mistakes:
        raise mistakes[0]
    return played
