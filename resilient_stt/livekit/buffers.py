"""Whole buffers: checked, streamed at a provider's pace, and their finals joined."""

from __future__ import annotations

import asyncio
import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import AudioBuffer, aio, is_given

from ..core.audio.pacing import TokenBucket
from ..core.policy import Pace, WatchdogPolicy
from ..core.transcript.tokens import is_spaced
from ..errors import AudioFormatError
from .frames import check, mono, pieces
from .provider_connection import READER_GRACE, close_for_good
from .vad import CheckedDetector, SpeechEdge

_FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT


def validate_frames(buffer: AudioBuffer) -> list[rtc.AudioFrame]:
    """Return the frames of a buffer, possibly none.

    Raises:
        AudioFormatError: it is not a frame or a list of frames, or they are of several formats.
    """
    frames = buffer if isinstance(buffer, list) else [buffer]
    for frame in frames:
        if not isinstance(frame, rtc.AudioFrame):
            raise AudioFormatError(
                "recognize() takes a livekit.rtc.AudioFrame or a list of them, not "
                f"{'a list with ' if isinstance(buffer, list) else ''}a {type(frame).__name__}"
            )
        check(frame)
    formats = {(frame.sample_rate, frame.num_channels) for frame in frames}
    if len(formats) > 1:
        listed = ", ".join(
            f"{rate} Hz with {channels} channels" for rate, channels in sorted(formats)
        )
        raise AudioFormatError(
            f"the frames of a buffer must be of one format, and these are of several: {listed}; "
            "resample them to one rate (livekit.rtc.AudioResampler)"
        )
    return frames


async def recognize_by_streaming(
    provider: stt.STT[Any],
    frames: Sequence[rtc.AudioFrame],
    pace: Pace,
    language: NotGivenOr[str],
    options: APIConnectOptions,
    watchdog: WatchdogPolicy,
) -> list[stt.SpeechEvent]:
    """Stream the frames at the given pace and return the finals.

    Some plugins never end a stream (Soniox's, 1.8.9). So the finals count after the silence after
    which a stream of a call does: `watchdog.drain_timeout`, once the provider can have processed
    all of the buffer. Without any final there is nothing that could count.

    Raises:
        APIConnectionError: the stream ended before the whole buffer was sent.
        Exception: whatever the provider's stream raises.
    """
    stream = provider.stream(language=language, conn_options=options)
    begun = asyncio.get_running_loop().time()
    heard = _Heard()
    feeder = asyncio.create_task(_feed(stream, frames, pace), name="resilient_stt.buffer-feeder")
    reader = asyncio.create_task(heard.listen(stream), name="resilient_stt.buffer-reader")
    try:
        await _send(feeder, reader)
        seconds = sum(frame.duration for frame in frames)
        await heard.all(reader, begun + seconds / watchdog.min_processing_rate, watchdog)
        return heard.finals
    finally:
        await aio.cancel_and_wait(feeder, reader)
        await close_for_good(stream)


async def _send(feeder: asyncio.Task[None], reader: asyncio.Task[None]) -> None:
    """Wait until the whole buffer was sent."""
    await asyncio.wait({feeder, reader}, return_when=asyncio.FIRST_COMPLETED)
    if feeder.done() and feeder.exception():
        # a dead stream refuses audio, and its reader is about to raise the reason
        await asyncio.wait({reader}, timeout=READER_GRACE)
        if not reader.done():
            feeder.result()
    if reader.done():
        reader.result()
    if not feeder.done() or feeder.exception():
        raise APIConnectionError("the stream ended before the whole buffer was sent")


@dataclass
class _Heard:
    """What a stream gave for a buffer."""

    finals: list[stt.SpeechEvent] = field(default_factory=list)
    last_at: float = 0.0
    """When its last event came, in the time of the loop."""

    async def listen(self, stream: stt.RecognizeStream) -> None:
        """Take the events of the stream until it ends."""
        async for event in stream:
            self.last_at = asyncio.get_running_loop().time()
            if event.type is _FINAL and event.alternatives:
                self.finals.append(event)

    async def all(
        self, reader: asyncio.Task[None], processed_by: float, watchdog: WatchdogPolicy
    ) -> None:
        """Wait for the end of the stream, or until it was silent for long after its last event.

        `processed_by`: when the provider has processed the whole buffer, in the time of the loop.
        """
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        while not reader.done():
            quiet_since = max(sent_at, self.last_at, processed_by)
            left = quiet_since + watchdog.drain_timeout - loop.time()
            if left <= 0 and self.finals:
                return
            # without a final the whole limit counts, which the caller sets
            await asyncio.wait({reader}, timeout=left if left > 0 else watchdog.drain_timeout)
        reader.result()


async def _feed(stream: stt.RecognizeStream, frames: Sequence[rtc.AudioFrame], pace: Pace) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)  # if its input ends before the stream ran once, it may never connect
    bucket = TokenBucket(pace, loop.time())
    for piece in _mono_pieces(frames):
        if (wait := bucket.available_at(piece.duration) - loop.time()) > 0:
            await asyncio.sleep(wait)
        bucket.available(loop.time(), piece.sample_rate)  # refills; a piece is never divided
        bucket.take(piece.duration)
        stream.push_frame(piece)
    stream.end_input()


async def voice_spans(
    frames: Sequence[rtc.AudioFrame], detector: CheckedDetector
) -> list[tuple[float, float]]:
    """Return the stretches of detected speech, in seconds of the buffer.

    If the detector fails, its `failure` is set and what is returned ends there. A minute of audio
    takes the bundled model about 30 ms; other tasks run in between.
    """
    edges: list[SpeechEdge] = []
    rate = 0
    for piece in _mono_pieces(frames):
        rate = piece.sample_rate
        edges += detector.push(piece)
        await asyncio.sleep(0)
    edges += detector.finish()
    times = [edge.at / rate for edge in edges]
    # a detector that failed may have left its last start without an end
    return list(zip(times[::2], times[1::2], strict=False))


def _mono_pieces(frames: Sequence[rtc.AudioFrame]) -> Iterator[rtc.AudioFrame]:
    for frame in frames:
        for piece in pieces(frame):
            if piece.samples_per_channel:
                yield mono(piece)


def join_finals(finals: Sequence[stt.SpeechEvent], language: NotGivenOr[str]) -> stt.SpeechEvent:
    """Join finals into one; return an empty one in `language` if there are none."""
    if not finals:
        code = LanguageCode(language if is_given(language) else "")
        return stt.SpeechEvent(type=_FINAL, alternatives=[stt.SpeechData(code, "")])
    parts = [event.alternatives[0] for event in finals]
    whole = dataclasses.replace(
        parts[0],
        text=_text(part.text.strip() for part in parts),
        end_time=parts[-1].end_time,
        words=[word for p in parts for word in p.words or []] or None,
    )
    return dataclasses.replace(finals[-1], alternatives=[whole])


def _text(parts: Iterable[str]) -> str:
    """Join texts, with spaces between those that are written with spaces."""
    text = ""
    for part in parts:
        if text and part and not _runs_on(text[-1], part[0]):
            text += " "
        text += part
    return text


def _runs_on(last: str, first: str) -> bool:
    """Whether no space belongs between two characters: both are of a script without spaces.

    A full stop of such a script (`。`) is not a letter, but is a wide character.
    """
    return all(not is_spaced(c) or unicodedata.east_asian_width(c) == "W" for c in (last, first))
