"""ResilientSTT: LiveKit's STT over several providers; owns them and their breakers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from weakref import WeakSet

import tenacity
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.stt import STT, StreamAdapter
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer, is_given
from livekit.agents.vad import VAD

from .arguments import (
    detector_factory,
    validate_language,
    validate_providers,
    validate_store,
    with_overrides,
)
from .batch import Batch
from .core.engine import FailoverEngine
from .core.events import Event, ProviderFailed
from .core.health.breaker import Breaker
from .core.health.provider import ProviderHealth, advice
from .core.hedging.budget import HedgeBudget
from .core.policy import Policies
from .core.routing.language import LanguageTracker
from .errors import ConfigurationError, Failure
from .fleet import HealthStore
from .livekit import compat
from .livekit.options import fan_out
from .livekit.usage import with_role
from .livekit.vad import SpeechDetector, SpeechDetectorFactory
from .observe import log_event, logger
from .providers.defaults import from_environment
from .setup import Setup
from .stream import ResilientStream

if TYPE_CHECKING:
    from livekit.agents.llm.chat_context import MetricsMetadata
    from livekit.agents.voice.events import ConversationItemAddedEvent

LEAST_WAIT = 0.25
"""Seconds between two attempts on a provider in a long outage, at least; the first come sooner."""

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
]
"""Events beside LiveKit's `metrics_collected` and `error`; see `resilient_stt.core.events`."""


class ResilientSTT(STT[EventName]):
    """Speech-to-text that keeps transcribing while its providers fail.

    Takes what `livekit.agents.stt.FallbackAdapter` takes: swapping the class name is the migration.
    """

    def __init__(
        self,
        stt: Sequence[STT[Any]] | None = None,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None] = NOT_GIVEN,
        policies: Policies | None = None,
        health: HealthStore | None = None,
        attempt_timeout: float | None = None,
        max_retry_per_stt: int | None = None,
        retry_interval: float | None = None,
    ) -> None:
        """Wrap providers, in order of preference.

        Args:
            stt: any LiveKit STTs. Without: Cartesia ink-whisper, then Deepgram nova-3, with
                keys from `CARTESIA_API_KEY` and `DEEPGRAM_API_KEY`.
            language: a BCP 47 tag, for streams that are not given one. Without, each provider
                hears in the language it was made with.
            vad: a LiveKit `VAD` wraps providers that cannot stream. A callable that makes a
                `SpeechDetector` replaces the bundled voice activity model; `None` turns local voice
                activity off, and with it what is decided from silence.
            policies: the constants that steer the decisions.
            health: where it is kept who is healthy; `RedisHealth("redis://...")` shares it with a
                fleet. Without, in this object alone.
            attempt_timeout: as in `FallbackAdapter`: seconds a provider may take to connect, and in
                `recognize()` to answer; overrides `RetryPolicy.connect_timeout`.
            max_retry_per_stt: as in `FallbackAdapter`; overrides `RetryPolicy.reconnect_budget`.
            retry_interval: as in `FallbackAdapter`; overrides `RetryPolicy.wait_max`.

        Raises:
            ConfigurationError: no provider, one that is no LiveKit STT, one given twice, one that
                cannot stream without a `vad`, no key in the environment, a `health` that is no
                store, or an impossible number.
        """
        providers = from_environment() if stt is None else validate_providers(stt)
        plan = Setup.from_objects(providers, policies, validate_store(health))
        retry = with_overrides(plan.policies, attempt_timeout, max_retry_per_stt, retry_interval)
        self._begin(replace(plan, policies=retry), language, vad, attempt_timeout)

    @classmethod
    def from_config(
        cls,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None] = NOT_GIVEN,
    ) -> Self:
        """Make what a configuration says.

        Args:
            source: the path of a YAML or TOML file, or a dict; without, the path in the environment
                variable `RESILIENT_STT_CONFIG`.
            language: a BCP 47 tag, for streams that are not given one; chooses their route.
            vad: as for `ResilientSTT`.

        Raises:
            ConfigurationError: names everything that is wrong.
        """
        from .config import load  # a YAML reader takes 0.1 s to import, and most have no file

        return cls._planned(Setup.from_config(load(source)), language=language, vad=vad)

    @classmethod
    def _planned(
        cls,
        plan: Setup,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None] = NOT_GIVEN,
    ) -> Self:
        made = cls.__new__(cls)
        made._begin(plan, language, vad, None)
        return made

    def _begin(
        self,
        plan: Setup,
        language: NotGivenOr[str],
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None],
        attempt_timeout: float | None,
    ) -> None:
        self.policies = plan.policies
        self._setup = plan
        self._router = plan.router
        self._language = validate_language(language)
        self._originals = plan.providers
        self._attempt_timeout = attempt_timeout
        self._wrapped: list[StreamAdapter] = []
        self._providers = {
            name: self._streaming(provider, vad) for name, provider in self._originals.items()
        }
        super().__init__(capabilities=_capabilities(list(self._providers.values())))
        self._detector = detector_factory(vad)
        self._health = {
            name: ProviderHealth(Breaker(self.policies.breaker, jitter=random.uniform(-1, 1)))
            for name in self._providers
        }
        self._health_sync = plan.health_store.sync(
            [(plan.key(n), one) for n, one in self._health.items()]
        )
        watchdog = self.policies.watchdog
        self._budget = HedgeBudget(watchdog.hedge_audio_share, watchdog.hedge_audio_allowance)
        self._serving = self._preferred
        self._keyterms: list[str] = []
        self._streams: WeakSet[ResilientStream] = WeakSet()
        retry = self.policies.retry
        self._wait = tenacity.wait_random_exponential(
            multiplier=retry.wait_min, max=retry.wait_max, min=min(LEAST_WAIT, retry.wait_max / 2)
        )
        self._batch = Batch(self, self._providers, self._health, self._router, self._budget)
        compat.forward_usage_only(self)
        for provider in self._providers.values():
            provider.on("metrics_collected", self._forward_metrics)

    def __repr__(self) -> str:
        return f"ResilientSTT({list(self._providers)}, serving={self._serving!r})"

    # -- what LiveKit's callers ask

    @property
    def providers(self) -> tuple[STT[Any], ...]:
        """The providers as they were given, in order of preference."""
        return tuple(self._originals.values())

    @property
    def model(self) -> str:
        """The model that serves now."""
        return self._providers[self._serving].model

    @property
    def provider(self) -> str:
        """The provider that serves now."""
        return self._providers[self._serving].provider

    @property
    def metrics_metadata(self) -> MetricsMetadata:
        """Labels of the provider that serves now."""
        return compat.labels(self._providers[self._serving])

    @property
    def capabilities(self) -> stt.STTCapabilities:
        """What the providers can do together; read afresh, for a provider's may change."""
        return compat.keep(self, _capabilities(list(self._providers.values())))

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> ResilientStream:
        """Open a stream. Connecting and retrying follow our policies, not `conn_options`.

        `language`: a BCP 47 tag, which chooses the route.

        Raises:
            ConfigurationError: `language` is no text.
        """
        detector = self.detector()
        routing = LanguageTracker(
            self._router,
            self.policies.routing,
            self._spoken(language),
            retranscribe=self._setup.retranscribe,
        )
        session = FailoverEngine(
            routing, self._health, self.policies, self._budget, vad_enabled=detector is not None
        )
        stream = ResilientStream(
            stt=self,
            session=session,
            detector=detector,
            conn_options=conn_options,
        )
        self._streams.add(stream)
        return stream

    def update_options(
        self, *, language: NotGivenOr[str] = NOT_GIVEN, provider: str = "", **options: Any
    ) -> None:
        """Change options of open streams and of those to come.

        Args:
            language: the BCP 47 tag of what is spoken from now on, which chooses the route; empty
                if nobody knows. In mid-speech the change takes effect at once, and what is not
                transcribed yet is heard again in the new language; else after the last final.
            provider: the name of the only provider that `options` are for.
            options: for every provider whose own `update_options` takes them.

        Raises:
            ConfigurationError: no provider takes an option, or none has that name, or `language`
                is no text, and nothing was changed; or a provider refuses what it is given.
        """
        spoken = validate_language(language)
        if options:
            for name in fan_out(self._originals, provider, options):
                self._options_changed(name)
        if is_given(language):
            self._language = spoken
            for stream in self._streams:
                stream.language_changed(spoken)

    def prewarm(self) -> None:
        """Pre-warm the preferred provider, and ask who else knows which are well."""
        self._health_sync.refresh()
        self._providers[self._preferred].prewarm()

    async def aclose(self) -> None:
        """Let go of the providers. They stay the caller's to close, as with `FallbackAdapter`."""
        await self._batch.aclose()
        await self._health_sync.aclose()
        for provider in self._providers.values():
            provider.off("metrics_collected", self._forward_metrics)
        for adapter in self._wrapped:
            await adapter.aclose()

    def _update_session_keyterms(self, keyterms: list[str]) -> None:
        if not compat.takes_keyterms(self):
            compat.refuse_keyterms(self, keyterms)
        if keyterms == self._keyterms:
            return
        self._keyterms = list(keyterms)
        for name, provider in self._providers.items():
            if compat.takes_keyterms(provider):
                compat.set_keyterms(provider, keyterms)
                self._options_changed(name)

    @property
    def _preferred(self) -> str:
        """Who serves first in our own language."""
        return self._router.lookup(self._language).providers[0].name

    def _spoken(self, language: NotGivenOr[str]) -> str:
        """The language that a caller gave, else our own; empty if none is known."""
        return validate_language(language) if is_given(language) else self._language

    def _options_changed(self, name: str) -> None:
        for stream in self._streams:
            stream.options_changed(name)

    def _push_conversation_item(self, ev: ConversationItemAddedEvent) -> None:
        if not compat.takes_chat_context(self):
            compat.refuse_conversation_item(self, ev)
        for provider in self._providers.values():
            if compat.takes_chat_context(provider):
                compat.push_conversation_item(provider, ev)

    # -- what streams ask and tell

    @property
    def names(self) -> frozenset[str]:
        """The names of all providers."""
        return frozenset(self._providers)

    def sharing(self) -> AbstractAsyncContextManager[None]:
        """While a stream is inside, health is shared with whom the health store knows."""
        return self._health_sync.running()

    def provider_named(self, name: str) -> STT[Any]:
        """The provider behind a name of the route."""
        return self._providers[name]

    def draw_wait(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: jittered, exponential, bounded."""
        state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        state.attempt_number = max(1, failures)
        return self._wait(state)

    def detector(self) -> SpeechDetector | None:
        """A new one of local voice activity; none if that is turned off."""
        return self._detector() if self._detector else None

    def serve(self, name: str) -> None:
        """A stream is served by this provider from now on."""
        self._serving = name

    def report(self, event: Event) -> None:
        """Log an event and hand it to who subscribed to its name."""
        log_event(event)
        self.emit(event.name, event)
        if isinstance(event, ProviderFailed):
            # a leg's failure is ours to heal: LiveKit closes a session after four that are not
            why = f"{event.reason} ({event.trigger or event.detail})"
            told = f"{why}: {event.advice}" if event.advice else why
            error = APIConnectionError(f"{event.provider}: {told}")
            compat.emit_error(self, error, recoverable=True)

    def report_failure(self, name: str, failure: Failure) -> None:
        """A provider failed at a whole buffer."""
        provider = self._setup.traits[name]
        self.report(
            ProviderFailed(
                at=0.0,
                provider=name,
                reason=failure.kind,
                detail=failure.detail,
                advice=advice(provider, failure.kind, self.policies.breaker),
            )
        )

    def report_availability(self, name: str, available: bool) -> None:
        """Tell what LiveKit's `FallbackAdapter` tells, with its own event."""
        event = stt.AvailabilityChangedEvent(stt=self._originals[name], available=available)
        self.emit("stt_availability_changed", event)

    def emit(self, event: Literal["metrics_collected", "error"] | EventName, *args: Any) -> None:
        """Emit an event; a subscriber's mistake must not stop the transcript.

        LiveKit's emitter lets a `TypeError` of a subscriber through, to whoever emits.
        """
        try:
            super().emit(event, *args)
        except Exception:
            logger.exception("a subscriber failed", subscribed_to=event)

    def _streaming(
        self, provider: STT[Any], vad: NotGivenOr[VAD | SpeechDetectorFactory | None]
    ) -> STT[Any]:
        if provider.capabilities.streaming:
            return provider
        if not isinstance(vad, VAD):
            raise ConfigurationError(
                f"{provider.label} cannot stream: give a LiveKit VAD to cut its audio into "
                f"utterances, such as ResilientSTT([...], vad={compat.A_VAD})"
            )
        adapter = StreamAdapter(stt=provider, vad=vad)
        self._wrapped.append(adapter)
        return adapter

    async def recognize(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        """Recognise a whole buffer with the first provider that answers.

        Args:
            buffer: a frame or a list of frames of one format, of any length.
            language: a BCP 47 tag, which chooses the route.
            conn_options: of it `timeout` alone, seconds that a provider has to answer beyond the
                length of the buffer, and only without an `attempt_timeout` of ours.

        Raises:
            APIConnectionError: none did, however often it was tried; see `RetryPolicy`.
            AudioFormatError: `buffer` is no audio, or of several formats.
            ConfigurationError: `language` is no text.
        """
        # LiveKit's own retry must not act beside ours
        options = replace(conn_options, max_retry=0)
        return await super().recognize(buffer, language=language, conn_options=options)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        timeout = self._attempt_timeout or conn_options.timeout
        async with self.sharing():
            return await self._batch.recognize(buffer, self._spoken(language), timeout)

    def _forward_metrics(self, *args: Any) -> None:
        self.emit("metrics_collected", *map(with_role, args))


def _capabilities(providers: Sequence[STT[Any]]) -> stt.STTCapabilities:
    """What holds whoever serves; hints that a provider may ignore are offered if any takes them."""
    of = [p.capabilities for p in providers]
    aligned = all(c.aligned_transcript for c in of)
    return compat.capabilities(
        streaming=True,
        interim_results=all(c.interim_results for c in of),
        diarization=all(c.diarization for c in of),
        aligned_transcript=of[0].aligned_transcript if aligned else False,
        offline_recognize=True,
        keyterms=any(compat.takes_keyterms(p) for p in providers),
        chat_context=any(compat.takes_chat_context(p) for p in providers),
        manual_flush=all(compat.manual_flush(p) for p in providers),
    )
