"""One connection: opens a provider's stream, feeds it, reads it, and reports under its id."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, stt
from livekit.agents.types import NOT_GIVEN
from livekit.agents.utils import aio

from ..core.events import Role
from ..core.messages import (
    AudioQueued,
    AudioTaken,
    AudioUntaken,
    ConnectionEnded,
    ConnectionFailed,
    ConnectionInput,
    OpenConnection,
    PluginReconnected,
    ProviderEvent,
)
from ..errors import Failure, classify_for
from ..observe import logger
from . import compat
from .lenient_recognizer import LenientRecognizer
from .normalize import normalize
from .sessions import ClosingSessions
from .usage import UsageTag, current
from .wall_clock import WallClock

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

SAME_TIME = 0.15
"""Seconds by which two times on the wall clock may differ and be the same: a frame of LiveKit's
rooms, a chunk of a plugin's, and the delays of a busy event loop."""

UNTAKEN_REPORTED_FROM = 1.0
UNTAKEN_REPORTED_AGAIN = 0.25
"""Seconds after a connection was first sent anything at which it is reported that its plugin has
taken nothing of it, at least, and between two such reports: most plugins connect sooner."""

QUEUE_REPORTED_FROM = 10.0
"""Seconds of waiting audio that are reported, at least: less is common while a plugin connects, and
each report costs a decision."""

Inbox = Callable[[ConnectionInput], None]


class ProviderConnection:
    """A provider's stream, opened once. It decides nothing: what happens goes into the inbox."""

    def __init__(
        self,
        order: OpenConnection,
        provider: stt.STT[Any],
        *,
        inbox: Inbox,
        closing_sessions: ClosingSessions,
        wait: Callable[[], float],
        connect_timeout: float,
        start_time_offset: float,
    ) -> None:
        """Open the stream and start to read it.

        Args:
            order: the engine's command.
            provider: on which to open a stream.
            inbox: takes the provider's events, and the failure or the end.
            closing_sessions: of all streams.
            wait: draws the backoff in seconds that is reported with a failure or an end.
            connect_timeout: the plugin's `conn_options.timeout`, in seconds.
            start_time_offset: seconds of session audio before the connection's first sample.

        Raises:
            Exception: whatever the provider's `stream()` raises.
        """
        self.id = order.connection
        self._inbox = inbox
        self._closing_sessions = closing_sessions
        self._wait = wait
        self._unreported = 0.0
        """Seconds of audio that were pushed since the length of the queue was last looked at."""
        self._queue_length = 0
        """Items that waited in the stream when it was last sent one, with that one."""
        self._has_taken = False
        """Whether the plugin has taken any of them."""
        self._queue_check: asyncio.TimerHandle | None = None
        """Looks whether the plugin has taken any; begins with the first of them."""
        self.provider = order.provider
        """The provider's name."""
        self._usage = UsageTag(order.provider, order.role, reconnected=self._report_reconnected)
        # tasks that the stream starts inherit this context, and with it the usage tag
        self._stream = contextvars.copy_context().run(self._open, provider, order, connect_timeout)
        compat.recognize_utterances(self._stream, LenientRecognizer)
        self._provider = order.provider
        self._other_closing = closing_sessions.may_count(order.provider, _now())
        """Whether another connection to the provider was closing when this one was opened."""
        self._stream.start_time_offset = CLOCK_OFFSET_SENTINEL + start_time_offset
        self._first_start_time = 0.0
        self._sent = WallClock()
        """When the connection was sent its audio."""
        self._language = order.language
        self._has_events = False
        self._failure: Failure | None = None
        """What the exception of the stream's task means."""
        compat.on_exception(self._stream, self._note_exception)
        self._reader = asyncio.create_task(self._read(), name=f"resilient_stt.connection-{self.id}")
        self._watcher = asyncio.create_task(
            self._watch_reconnects(), name=f"resilient_stt.watch-connection-{self.id}"
        )

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

    @property
    def will_reconnect(self) -> bool:
        """Whether its plugin is about to reconnect inside itself."""
        return compat.will_reconnect(self._stream)

    def set_serving(self) -> None:
        """Count its usage as active from now on, whatever role it was opened for."""
        self._usage.role = Role.ACTIVE

    def push(self, frame: rtc.AudioFrame) -> None:
        """Send a frame. If the stream refuses it, the connection is reported as ended."""
        seconds = frame.samples_per_channel / frame.sample_rate
        self._sent.pushed(seconds, time.time())
        if not self._has_taken:
            self._check_taken(self._queue_length)
        try:
            self._stream.push_frame(frame)
        except Exception:
            self._refused()
            return
        if self._queue_check is None:
            self._check_queue_in(UNTAKEN_REPORTED_FROM)
        if not self._has_taken:
            self._queue_length = compat.queue_length(self._stream)
        self._unreported += seconds
        if self._unreported >= 1:
            self._report_queue()

    def _check_queue_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._queue_check = loop.call_later(seconds, self._report_untaken)

    def _report_untaken(self) -> None:
        """Report that the stream's task has taken none of what it was sent, until it takes some."""
        if self._reader.done() or self._has_taken:
            return
        self._check_taken(max(self._queue_length, 1))
        if not self._has_taken:
            self._inbox(AudioUntaken(self.id, backoff=self._wait()))
            self._check_queue_in(UNTAKEN_REPORTED_AGAIN)

    def _check_taken(self, sent: int) -> None:
        """Report it once if the stream's task has taken any of the items it was `sent`."""
        if compat.queue_length(self._stream) < sent:
            self._has_taken = True
            self._inbox(AudioTaken(self.id))

    def _report_queue(self) -> None:
        """Report how much audio the stream's task has not taken, for every second that it grows."""
        self._unreported = 0.0
        seconds = compat.queued_seconds(self._stream)
        if seconds > QUEUE_REPORTED_FROM:
            self._inbox(AudioQueued(self.id, seconds, backoff=self._wait()))

    def flush(self) -> None:
        """Ask for finals of the audio sent so far."""
        self._guarded(self._stream.flush)

    def end_input(self) -> None:
        """Tell the provider that no more audio will come.

        Never in the turn of the loop in which the stream was made: a stream whose input is closed
        before it ran once may return without connecting (Cartesia's does, 1.8.9).
        """
        asyncio.get_running_loop().call_soon(self._guarded, self._stream.end_input)

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Close the stream in a bounded time, whatever the server does.

        It counts as closing from this call on: its successor may be opened before it is awaited.
        """
        if was_open := not self._reader.done():
            self._closing_sessions.begin(self._provider)
        return self._close(was_open=was_open)

    async def _close(self, *, was_open: bool) -> None:
        if self._queue_check is not None:
            self._queue_check.cancel()
        try:
            await aio.cancel_and_wait(self._reader, self._watcher)
            await close_for_good(self._stream)
        finally:
            if was_open:
                self._closing_sessions.end(self._provider, _now())

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            self._refused()

    def _refused(self) -> None:
        """Note a dead stream: the reader is about to report why, and if it does not, we do."""
        asyncio.get_running_loop().call_later(READER_GRACE, self._report_refused)

    def _report_refused(self) -> None:
        if not self._reader.done():
            self._inbox(ConnectionEnded(self.id, backoff=self._wait()))

    async def _read(self) -> None:
        # LiveKit's adapter passes on the times of each utterance's own buffer (1.8.9), and does not
        # say where in the stream that was.
        by_utterance = isinstance(self._stream, stt.StreamAdapterWrapper)
        # LiveKit's base class has set it. A plugin that counts from another moment sets it anew.
        self._first_start_time = compat.start_time(self._stream)
        try:
            async for event in self._stream:
                self._has_events = True
                plain = normalize(event, self._to_connection_time, self._from_wall_clock)
                if by_utterance:
                    plain = replace(plain, words=(), start=None, end=None)
                self._inbox(ProviderEvent(self.id, plain))
        except Exception as error:
            failure = self._failure or self._classify(error)
            failed = connection_failed(self.id, failure, self._wait())
            now_closing = self._closing_sessions.may_count(self._provider, _now())
            self._inbox(replace(failed, other_closing=self._other_closing or now_closing))
        else:
            self._inbox(ConnectionEnded(self.id, backoff=self._wait()))

    def _note_exception(self, error: BaseException) -> None:
        self._failure = self._classify(error)

    def _classify(self, error: BaseException) -> Failure:
        """Say what an exception means; one after the first event is not about the language."""
        return classify_for(error, "" if self._has_events else self._language)

    async def _watch_reconnects(self) -> None:
        """Report that the plugin is about to reconnect, as for changed options of its own.

        What it tells us otherwise, the times of its words, comes too late: a clock that begins anew
        before the first final shows nothing (test_a_plugin_that_reconnects_before_its_first_final).
        """
        if (event := compat.reconnect_event(self._stream)) is not None:
            await event.wait()
            self._report_reconnected()

    def _report_reconnected(self) -> None:
        self._inbox(PluginReconnected(self.id, backoff=self._wait()))

    def _to_connection_time(self, at: float) -> float:
        """Convert a provider's time to seconds of the audio that this connection was sent."""
        at = float(at)  # raises for a JSON integer too large for it, which fails the connection
        return at - self._stream.start_time_offset if at >= CLOCK_OFFSET_SENTINEL / 2 else at

    def _from_wall_clock(self, at: float) -> float | None:
        """Convert a time of the wall clock to seconds of the audio that this connection was sent.

        Plugins make such times in two ways. Some add what their server counts in audio to the time
        of the first frame, which they set as `start_time` (AssemblyAI's does). That is too late by
        what was sent faster than it was spoken, and may lie in the future. Others subtract from the
        time of arrival (LiveKit's `StreamAdapter` does). That is right while audio is sent as it is
        spoken, and says nothing about a replay.

        Returns:
            The seconds; `None` if nothing is known.
        """
        now, start = time.time(), compat.start_time(self._stream)
        if start != self._first_start_time or at > now + SAME_TIME:
            return at - start
        seconds = self._sent.seconds - (now - at)
        spoken_at = self._sent.at(seconds)
        return seconds if spoken_at is not None and abs(spoken_at - at) < SAME_TIME else None


def _now() -> float:
    return asyncio.get_running_loop().time()


def connection_failed(connection: int, failure: Failure, backoff: float) -> ConnectionFailed:
    """Make the engine's input of what an exception of a connection means."""
    return ConnectionFailed(
        connection,
        failure.kind,
        failure.detail,
        failure.retry_after,
        backoff,
        closed_normally=failure.closed_normally,
        status=failure.status,
        refused_language=failure.refused_language,
    )


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
    name = type(stream).__name__
    logger.error(f"provider stream cannot be closed: {name}", stream=name)
