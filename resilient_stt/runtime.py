"""What all streams and all `recognize()` calls of one `ResilientSTT` share.

Imports go one way: `stt` imports `stream` and `batch`, and all three import this module. Nothing
here knows the object that owns it: events leave through the two callables given to `Runtime`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Any, Literal

from livekit.agents import APIConnectionError
from livekit.agents.stt import STT, AvailabilityChangedEvent, StreamAdapter
from livekit.agents.types import NotGivenOr
from livekit.agents.vad import VAD

from . import metrics
from .arguments import detector_factory
from .core.events import Event, ProviderFailed
from .core.health.provider import advice
from .core.hedging.budget import HedgeBudget
from .errors import ConfigurationError, Failure, SpeechDetectorError
from .livekit import compat
from .livekit.sessions import ClosingSessions
from .livekit.vad import CheckedDetector, SpeechDetectorFactory
from .observe import EventLog, logger
from .recording.document import RecordedProvider
from .recording.flight_recorder import FlightRecorder, StreamHead
from .recording.recording_options import RecordingOptions
from .recording.stream_recorder import StreamRecorder
from .setup import Setup
from .succession import Succession

EventName = Literal[
    "stt_availability_changed",
    "switched",
    "replayed",
    "audio_lost",
    "provider_failed",
    "outage_started",
    "outage_ended",
    "hedge_finished",
    "provider_recovered",
    "language_routed",
    "connection_opened",
    "connection_established",
    "connection_promoted",
    "connection_closed",
    "stall_suspected",
    "stall_cleared",
    "probe_passed",
    "probe_failed",
    "breaker_changed",
    "final_emitted",
    "stream_ended",
]
"""Events beside LiveKit's `metrics_collected` and `error`; see `resilient_stt.core.events`."""

_MAX_WAIT_FOR_PAGES = 5.0
"""Seconds that closing waits for the recordings of ended streams; a page takes less than one."""

EventSink = Callable[[EventName, object], None]
"""Hands an event to those who subscribed to its name."""


class Runtime:
    """Providers, their health, and the way events take out of a `ResilientSTT`."""

    def __init__(
        self,
        setup: Setup,
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None],
        *,
        emit: EventSink,
        emit_error: Callable[[Exception], None],
        record: RecordingOptions | None = None,
    ) -> None:
        """Wrap the providers that cannot stream, and start with every provider healthy.

        Args:
            setup: the providers, what is known of them, their routes and the policies.
            vad: as for `ResilientSTT`.
            emit: called with each event's name and the event.
            emit_error: emits LiveKit's `error` event, marked recoverable: LiveKit closes a session
                after four errors that are not.
            record: where and how streams are recorded; `None` if they are not.

        Raises:
            ConfigurationError: a provider cannot stream and `vad` is not a LiveKit `VAD`, or `vad`
                is none of the things that it may be.
        """
        self.setup = setup
        self.recorder = None if record is None else FlightRecorder(record)
        self.policies = setup.policies
        self.router = setup.router
        self._log = EventLog()
        self._emit = emit
        self._emit_error = emit_error
        self._make_detector = detector_factory(vad)
        self._adapters = {
            name: _adapter(provider, vad)
            for name, provider in setup.providers.items()
            if not provider.capabilities.streaming
        }
        self.providers: Mapping[str, STT[Any]] = {**setup.providers, **self._adapters}
        """By name; those that cannot stream by themselves are wrapped in a `StreamAdapter`."""
        identities = setup.identities()
        self.health = {
            name: setup.health_store.health(identities[name], setup.policies)
            for name in self.providers
        }
        self.health_lock = setup.health_store.lock
        """Held while a decision reads and writes health, which other threads may share."""
        self._health_sync = setup.health_store.sync(
            [(identities[name].key, health) for name, health in self.health.items()],
            setup.policies.breaker.max_store_wait,
        )
        watchdog = setup.policies.watchdog
        self.hedge_budget = HedgeBudget(
            watchdog.hedge_audio_share,
            watchdog.hedge_audio_allowance,
            watchdog.hedge_audio_window,
        )
        self.closing_sessions = ClosingSessions()
        self.last_served = ""
        """The provider that served most recently, in a stream or a buffer; empty before any has."""
        self._activity = count(1)
        self.succession = Succession(self.report)
        """What streams that gave up leave to the next ones."""

    async def aclose(self) -> None:
        """Stop sharing health, close the adapters, and wait for the pages of streams that ended.

        The providers stay the caller's to close.
        """
        self.succession.close()
        await self._health_sync.aclose()
        for adapter in self._adapters.values():
            await adapter.aclose()
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.wait, _MAX_WAIT_FOR_PAGES)

    def stream_timeout(self, name: str) -> float:
        """Return the seconds that a plugin may take to connect, or for one utterance."""
        is_batch = isinstance(self.providers[name], StreamAdapter)
        retry = self.policies.retry
        return retry.utterance_timeout if is_batch else retry.connect_timeout

    # -- health, waits, voice activity

    def sharing_health(self) -> AbstractAsyncContextManager[None]:
        """Run the health sync while at least one caller is inside."""
        return self._health_sync.running()

    async def first_health_read(self) -> None:
        """Wait, for a bounded time, until what other processes know of the providers was read."""
        await self._health_sync.first_read()

    def refresh_health(self) -> None:
        """Start asking the health store once, without a stream that keeps the sync running."""
        self._health_sync.refresh()

    def backoff(self, failures: int) -> float:
        """Draw the seconds to wait after `failures` failures in a row: exponential, full jitter.

        Plain arithmetic, because tenacity's wait strategies take the state of a retry loop of its
        own, and a stream has none: its core asks for waits long before it knows which it needs.
        """
        retry = self.policies.retry
        shortest = min(retry.wait_floor, retry.wait_max / 2)
        # 2 ** 64 is beyond every wait; more would overflow after enough failures
        longest = min(retry.wait_max, retry.wait_min * 2.0 ** min(max(failures - 1, 0), 64))
        return random.uniform(shortest, max(shortest, longest))

    def record(
        self, stream_id: str, language: str, read: Callable[[int, int], bytes]
    ) -> StreamRecorder | None:
        """Begin to record a stream, if streams are recorded; `read` returns samples it holds."""
        if self.recorder is None:
            return None
        head = StreamHead(
            stream_id=stream_id,
            language=language,
            providers=tuple(
                RecordedProvider(name=provider.name, model=self.providers[provider.name].model)
                for provider in self.router.lookup(language).providers
            ),
            replay_window=self.policies.replay.window,
            late_after=self.policies.watchdog.slow_final_threshold,
        )
        return self.recorder.open(head, read)

    def new_detector(self) -> CheckedDetector | None:
        """Make a detector of local voice activity; `None` if that is turned off.

        A factory that raises turns it off for this stream: the error is reported, not raised.
        """
        if self._make_detector is None:
            return None
        try:
            return CheckedDetector(self._make_detector())
        except Exception as error:
            failure = SpeechDetectorError("the callable given as vad= raised an exception")
            failure.__cause__ = error
            self.report_detector_failure(failure)
            return None

    def next_activity(self) -> int:
        """Return a number above all before it: streams note with it when they were last active."""
        return next(self._activity)

    # -- reports

    def report(self, event: Event) -> None:
        """Log an event and hand it to those who subscribed to its name."""
        self._log.write(event)
        metrics.record(event)
        self._emit(event.name, event)
        if isinstance(event, ProviderFailed):
            # recoverable: another provider takes over
            why = f"{event.reason} ({event.trigger or event.detail})"
            reported = f"{why}: {event.advice}" if event.advice else why
            self._emit_error(APIConnectionError(f"{event.provider}: {reported}"))

    def report_failure(self, name: str, failure: Failure) -> None:
        """Report that a provider failed at a whole buffer."""
        self.report(
            ProviderFailed(
                at=0.0,
                provider=name,
                reason=failure.kind,
                detail=failure.detail,
                advice=advice(self.setup.traits[name], failure, self.policies.breaker),
            )
        )

    def report_availability(self, name: str, available: bool) -> None:
        """Emit the event that LiveKit's `FallbackAdapter` emits, with the provider as given."""
        event = AvailabilityChangedEvent(stt=self.setup.providers[name], available=available)
        self._emit("stt_availability_changed", event)

    def report_detector_failure(self, error: SpeechDetectorError) -> None:
        """Report once that local voice activity was switched off for a stream or a buffer."""
        logger.error("local voice activity is switched off: its detector failed", exc_info=error)
        self._emit_error(error)


def _adapter(
    provider: STT[Any], vad: NotGivenOr[VAD | SpeechDetectorFactory | None]
) -> StreamAdapter:
    if not isinstance(vad, VAD):
        raise ConfigurationError(
            f"{provider.label} cannot stream: give a LiveKit VAD to cut its audio into "
            f"utterances, such as ResilientSTT([...], vad={compat.A_VAD})"
        )
    return StreamAdapter(stt=provider, vad=vad)
