"""A whole buffer through a provider that can only stream, no faster than it takes audio."""

from __future__ import annotations

import asyncio
import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import AudioBuffer, aio, is_given

from ..core.audio.pacing import TokenBucket
from ..core.policy import Pace
from ..core.transcript.tokens import is_spaced
from ..errors import AudioFormatError
from .provider_connection import READER_GRACE, close_for_good
from .frames import check, mono, pieces
from .vad import SpeechDetector, SpeechEdge

_FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT


def validate_frames(buffer: AudioBuffer) -> list[rtc.AudioFrame]:
    """The frames of a buffer, perhaps none.

    Raises:
        AudioFormatError: it is no frame or list of frames, or they are not of one format.
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
        told = ", ".join(
            f"{rate} Hz with {channels} channels" for rate, channels in sorted(formats)
        )
        raise AudioFormatError(
            f"the frames of a buffer must be of one format, and these are of several: {told}; "
            "resample them to one rate (livekit.rtc.AudioResampler)"
        )
    return frames


async def recognize_by_streaming(
    provider: stt.STT[Any],
    frames: Sequence[rtc.AudioFrame],
    pace: Pace,
    language: NotGivenOr[str],
    options: APIConnectOptions,
) -> list[stt.SpeechEvent]:
    """Stream the frames and return the finals; raises what the stream raises.

    Raises:
        APIConnectionError: the stream ended before it was given everything.
    """
    stream = provider.stream(language=language, conn_options=options)
    feeder = asyncio.create_task(_feed(stream, frames, pace), name="resilient_stt.buffer-feeder")
    reader = asyncio.create_task(_finals(stream), name="resilient_stt.buffer-reader")
    try:
        return await _collect(feeder, reader)
    finally:
        await aio.cancel_and_wait(feeder, reader)
        await close_for_good(stream)


async def _collect(
    feeder: asyncio.Task[None], reader: asyncio.Task[list[stt.SpeechEvent]]
) -> list[stt.SpeechEvent]:
    await asyncio.wait({feeder, reader}, return_when=asyncio.FIRST_COMPLETED)
    if feeder.done() and feeder.exception():
        # a stream that died takes no more audio, and is about to tell its own reason
        await asyncio.wait({reader}, timeout=READER_GRACE)
        if not reader.done():
            feeder.result()
    finals = await reader
    if not feeder.done() or feeder.exception():
        raise APIConnectionError("the stream ended before it had heard the whole buffer")
    return finals


async def _feed(stream: stt.RecognizeStream, frames: Sequence[rtc.AudioFrame], pace: Pace) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)  # a stream whose input ends before it ran may never connect
    bucket = TokenBucket(pace, loop.time())
    for piece in _mono_pieces(frames):
        if (wait := bucket.available_at(piece.duration) - loop.time()) > 0:
            await asyncio.sleep(wait)
        bucket.available(loop.time(), piece.sample_rate)  # fills up; a piece is never divided
        bucket.take(piece.duration)
        stream.push_frame(piece)
    stream.end_input()


async def voice_spans(
    frames: Sequence[rtc.AudioFrame], detector: SpeechDetector
) -> list[tuple[float, float]]:
    """Where local voice activity hears speech, in seconds of the buffer.

    A minute takes some 30 ms of computing; it lets others run in between.
    """
    edges: list[SpeechEdge] = []
    rate = 0
    for piece in _mono_pieces(frames):
        rate = piece.sample_rate
        edges += detector.push(piece)
        await asyncio.sleep(0)
    edges += detector.finish()
    times = [edge.at / rate for edge in edges]
    return list(zip(times[::2], times[1::2], strict=True))


def _mono_pieces(frames: Sequence[rtc.AudioFrame]) -> Iterator[rtc.AudioFrame]:
    for frame in frames:
        for piece in pieces(frame):
            if piece.samples_per_channel:
                yield mono(piece)


async def _finals(stream: stt.RecognizeStream) -> list[stt.SpeechEvent]:
    return [event async for event in stream if event.type is _FINAL and event.alternatives]


def join_finals(finals: Sequence[stt.SpeechEvent], language: NotGivenOr[str]) -> stt.SpeechEvent:
    """Several finals as one; an empty one in that language if nothing was said."""
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
    """Texts one after the other, with spaces where they are written with them."""
    text = ""
    for part in parts:
        if text and part and not _runs_on(text[-1], part[0]):
            text += " "
        text += part
    return text


def _runs_on(last: str, first: str) -> bool:
    """Whether a text without spaces goes on; its full stop is wide, too."""
    return all(not is_spaced(c) or unicodedata.east_asian_width(c) == "W" for c in (last, first))
