"""One connection: opens a provider's stream, feeds it, reads it, and reports under its id."""

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
"""Seconds that each of three attempts to close a provider's stream may take. aiohttp would wait
10 s for the closing frame of a server that no longer answers; a second cancellation ends that."""

READER_GRACE = 0.05
"""Seconds between a refused frame and reporting that the stream ended. A stream that died raises
its exception to the reader in the next turns of the loop, and that one says more."""

CLOCK_OFFSET_SENTINEL = 1e6
"""Seconds added to every connection's `start_time_offset`. LiveKit's plugins add that offset to the
times they report, and other plugins do not know of it: a time above half of this was offset, any
other was not. No call lasts the 5.8 days that it
takes to confuse the two."""

Inbox = Callable[[ProviderEvent | ConnectionFailed | ConnectionEnded], None]


class ProviderConnection:
    """A provider's stream, opened once. It decides nothing: what happens goes into the inbox."""

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
        """Open the stream and start to read it.

        Args:
            order: the engine's command.
            provider: on which to open a stream.
            inbox: takes the provider's events, and the failure or the end.
            wait: draws the backoff in seconds that is reported with a failure or an end.
            connect_timeout: seconds that the plugin may take to connect.
            start_time_offset: seconds of session audio before the connection's first sample.

        Raises:
            Exception: whatever the provider's `stream()` raises.
        """
        self.id = order.connection
        self._inbox = inbox
        self._wait = wait
        self._usage = UsageTag(order.provider, order.role)
        # tasks that the stream starts inherit this context, and with it the usage tag
        self._stream = contextvars.copy_context().run(self._open, provider, order, connect_timeout)
        self._stream.start_time_offset = CLOCK_OFFSET_SENTINEL + start_time_offset
        self._reader = asyncio.create_task(self._read(), name=f"resilient_stt.connection-{self.id}")

    def _open(
        self, provider: stt.STT[Any], order: OpenConnection, connect_timeout: float
    ) -> stt.RecognizeStream:
        current.set(self._usage)
        return provider.stream(
            language=order.language or NOT_GIVEN,
            # LiveKit's own retry must not compete with ours. With max_retry >= 1 it would retry a
            # hanging handshake forever, because its budget refills on every timeout (1.8.9).
            conn_options=APIConnectOptions(max_retry=0, timeout=connect_timeout),
        )

    def set_serving(self) -> None:
        """Count its usage as active from now on, whatever role it was opened for."""
        self._usage.role = Role.ACTIVE

    def push(self, frame: rtc.AudioFrame) -> None:
        """Send a frame. If the stream refuses it, the connection is reported as ended."""
        self._guarded(lambda: self._stream.push_frame(frame))

    def flush(self) -> None:
        """Ask for finals of the audio sent so far."""
        self._guarded(self._stream.flush)

    def end_input(self) -> None:
        """Tell the provider that no more audio will come.

        Never in the turn of the loop in which the stream was made: a stream whose input is closed
        before it ran once may return without connecting (Cartesia's does, 1.8.9).
        """
        asyncio.get_running_loop().call_soon(self._guarded, self._stream.end_input)

    async def aclose(self) -> None:
        """Close the stream in a bounded time, whatever the server does."""
        await aio.cancel_and_wait(self._reader)
        await close_for_good(self._stream)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            # a dead stream; the reader is about to report why, and if it does not, we do
            asyncio.get_running_loop().call_later(READER_GRACE, self._report_refused)

    def _report_refused(self) -> None:
        if not self._reader.done():
            self._inbox(ConnectionEnded(self.id, backoff=self._wait()))

    async def _read(self) -> None:
        # LiveKit's adapter passes on the times of each utterance's own buffer (1.8.9), and does not
        # say where in the stream that was.
        by_utterance = isinstance(self._stream, stt.StreamAdapterWrapper)
        try:
            async for event in self._stream:
                transcript = normalize(event, None if by_utterance else self._to_connection_time)
                self._inbox(ProviderEvent(self.id, transcript))
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
        """Convert a provider's time to seconds of the audio that this connection was sent."""
        time = float(time)  # raises for a JSON integer too large for it, which fails the connection
        return time - self._stream.start_time_offset if time >= CLOCK_OFFSET_SENTINEL / 2 else time


async def close_for_good(stream: stt.RecognizeStream) -> None:
    """Close a provider's stream within 3 * `CLOSE_TIMEOUT`, whatever its server does."""
    closing: set[asyncio.Task[None]] = set()
    for _ in range(3):
        closing.add(asyncio.create_task(stream.aclose()))
        done, closing = await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        for task in done:
            # errors do not matter any more; retrieved, or asyncio would log them
            _ = task.cancelled() or task.exception()
        if not closing:
            return
    logger.error("provider stream cannot be closed", stream=type(stream).__name__)
