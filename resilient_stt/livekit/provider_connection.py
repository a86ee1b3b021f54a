"""One provider stream: opens it, feeds it, reads it, tags what it says with the leg's id."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, stt
from livekit.agents.types import NOT_GIVEN
from livekit.agents.utils import aio

from ..core.messages import ConnectionEnded, ConnectionFailed, OpenConnection, ProviderEvent, Role
from ..errors import classify
from ..observe import logger
from .normalize import normalize
from .usage import UsageTag, current

CLOSE_TIMEOUT = 0.5
"""Seconds a provider's stream gets for a polite goodbye. aiohttp would wait 10 s for the closing
frame of a server that does not answer any more; a second cancellation ends that."""

READER_GRACE = 0.05
"""Seconds between a refused frame and calling the stream ended: a stream that died has more to tell
(its exception) in the next turns of the loop."""

CLOCK_OFFSET_SENTINEL = 1e6
"""Seconds that every leg's clock is ahead: LiveKit's plugins add their stream's `start_time_offset`
to what they tell, others do not know of it, and so each time tells by itself what it is."""

Inbox = Callable[[ProviderEvent | ConnectionFailed | ConnectionEnded], None]


class ProviderConnection:
    """A stream opened on a provider, as one attempt. Decides nothing."""

    def __init__(
        self,
        order: OpenConnection,
        provider: stt.STT[Any],
        *,
        inbox: Inbox,
        wait: Callable[[], float],
        connect_timeout: float,
        start_time_offset: float,
    ) -> None:
        """`start_time_offset`: seconds of session audio before the leg's first sample.

        Raises whatever the provider's `stream()` raises.
        """
        self.id = order.connection
        self._inbox = inbox
        self._wait = wait
        self._usage = UsageTag(order.provider, order.role)
        self._stream = contextvars.copy_context().run(self._open, provider, order, connect_timeout)
        self._stream.start_time_offset = CLOCK_OFFSET_SENTINEL + start_time_offset
        self._reader = asyncio.create_task(self._read(), name=f"resilient_stt.leg-{self.id}")

    def _open(
        self, provider: stt.STT[Any], order: OpenConnection, connect_timeout: float
    ) -> stt.RecognizeStream:
        current.set(self._usage)
        return provider.stream(
            language=order.language or NOT_GIVEN,
            # LiveKit's own retry must not act beside ours, and with max_retry >= 1 it would retry
            # a hanging handshake forever (its budget refills on every timeout)
            conn_options=APIConnectOptions(max_retry=0, timeout=connect_timeout),
        )

    def set_serving(self) -> None:
        """It is active from now on, whatever it was opened for."""
        self._usage.role = Role.ACTIVE

    def push(self, frame: rtc.AudioFrame) -> None:
        """Send a frame. A stream that takes no more has failed."""
        self._guarded(lambda: self._stream.push_frame(frame))

    def flush(self) -> None:
        """Ask for finals of what was sent."""
        self._guarded(self._stream.flush)

    def end_input(self) -> None:
        """Tell the provider that no more audio will come.

        Not in the same turn of the loop in which the stream was made: a stream that finds its
        input closed before it ran once may return without connecting (Cartesia's does).
        """
        asyncio.get_running_loop().call_soon(self._guarded, self._stream.end_input)

    async def aclose(self) -> None:
        """Close the stream, for good after `CLOSE_TIMEOUT` whatever the server does."""
        await aio.cancel_and_wait(self._reader)
        await close_for_good(self._stream)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            # the stream is dead, and the reader is about to tell why; if it is not, we say so
            asyncio.get_running_loop().call_later(READER_GRACE, self._report_refused)

    def _report_refused(self) -> None:
        if not self._reader.done():
            self._inbox(ConnectionEnded(self.id, backoff=self._wait()))

    async def _read(self) -> None:
        try:
            async for event in self._stream:
                self._inbox(ProviderEvent(self.id, normalize(event, self._to_connection_time)))
        except Exception as error:
            failure = classify(error)
            self._inbox(
                ConnectionFailed(
                    self.id, failure.kind, failure.detail, failure.retry_after, self._wait()
                )
            )
        else:
            self._inbox(ConnectionEnded(self.id, backoff=self._wait()))

    def _to_connection_time(self, time: float) -> float:
        """A provider's time as seconds of the audio that this leg was sent."""
        time = float(time)  # JSON has whole numbers that are too great for one: an error of the leg
        return time - self._stream.start_time_offset if time >= CLOCK_OFFSET_SENTINEL / 2 else time


async def close_for_good(stream: stt.RecognizeStream) -> None:
    """Close a provider's stream within a bounded time, whatever its server does."""
    closing: set[asyncio.Task[None]] = set()
    for _ in range(3):
        closing.add(asyncio.create_task(stream.aclose()))
        done, closing = await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        for task in done:
            # an error of a stream that is thrown away anyway; taken, so that nobody warns
            _ = task.cancelled() or task.exception()
        if not closing:
            return
    logger.error("provider stream cannot be closed", stream=type(stream).__name__)
