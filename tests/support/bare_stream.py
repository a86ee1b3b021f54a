"""A bare stream of a published plugin: fed in real time, and not tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from livekit.agents import APIConnectOptions, APIError, stt

from resilient_stt.testing import ReferenceSpeech

E = TypeVar("E", bound=APIError)


async def failure_of(
    provider: stt.STT[Any],
    speech: ReferenceSpeech,
    options: APIConnectOptions,
    expected: type[E],
    *,
    within: float,
) -> E:
    """Return the error with which a stream ends within so many seconds; closes its provider."""
    stream = provider.stream(conn_options=options)
    pusher = asyncio.create_task(push(stream, speech))
    try:
        with pytest.raises(expected) as raised:
            async with asyncio.timeout(within):
                await drain(stream)
    finally:
        pusher.cancel()
        await asyncio.gather(pusher, return_exceptions=True)
        await stream.aclose()
        await provider.aclose()
    return raised.value


async def drain(
    stream: stt.RecognizeStream, take: Callable[[stt.SpeechEvent], None] = lambda _: None
) -> None:
    """Read all events of a stream."""
    async for event in stream:
        take(event)


async def push(stream: stt.RecognizeStream, speech: ReferenceSpeech) -> None:
    """Push speech in real time, and leave the input open."""
    for frame in speech.frames():
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)
