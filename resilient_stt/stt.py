"""`ResilientSTT`: the LiveKit STT that users create, and what LiveKit's callers ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from weakref import WeakSet

from livekit.agents import APIConnectOptions, stt
from livekit.agents.stt import STT
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer, is_given
from livekit.agents.vad import VAD

from .arguments import (
    validate_language,
    validate_policies,
    validate_providers,
    validate_store,
    with_overrides,
)
from .batch import Batch
from .core.policy import Policies
from .errors import ConfigurationError, StreamClosedError
from .fleet import HealthStore
from .livekit import compat
from .livekit.options import fan_out
from .livekit.usage import with_role
from .livekit.vad import SpeechDetectorFactory
from .observe import logger
from .providers.defaults import from_environment
from .recording.recording_options import RecordingOptions, recording_options
from .runtime import EventName, Runtime
from .setup import Setup
from .stream import ResilientStream

if TYPE_CHECKING:
    from livekit.agents.llm.chat_context import MetricsMetadata
    from livekit.agents.voice.events import ConversationItemAddedEvent

    from .subscriptions import Subscribe


class ResilientSTT(STT[EventName]):
    """Speech-to-text that keeps transcribing while its providers fail.

    It takes what `livekit.agents.stt.FallbackAdapter` takes: to migrate, swap the class name.
    """

    if TYPE_CHECKING:  # the inherited methods, with the type of each event

        @property
        def on(self) -> Subscribe:  # type: ignore[override]
            """Subscribe to an event by its name; see `resilient_stt.core.events`."""

        @property
        def once(self) -> Subscribe:  # type: ignore[override]
            """Subscribe to the next event of a name."""

    def __init__(
        self,
        stt: Sequence[STT[Any] | str] | Setup | None = None,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None] = NOT_GIVEN,
        policies: Policies | None = None,
        health: HealthStore | None = None,
        record: str | Path | RecordingOptions | None = None,
        traits: Mapping[str, Mapping[str, Any]] | None = None,
        attempt_timeout: float | None = None,
        max_retry_per_stt: int | None = None,
        retry_interval: float | None = None,
    ) -> None:
        """Wrap providers, in order of preference.

        Args:
            stt: any LiveKit STTs, and model strings such as `deepgram/nova-3:en` for those of
                LiveKit Inference. Without it: Cartesia ink-whisper, then Deepgram nova-3, with API
                keys from `CARTESIA_API_KEY` and `DEEPGRAM_API_KEY`. A `Setup` is what
                `from_config` makes of a configuration.
            language: the BCP 47 tag of streams that are not given one. Without it, each provider
                uses the language that it was made with.
            vad: a LiveKit `VAD` cuts audio into utterances for providers that cannot stream. A
                callable that makes a `SpeechDetector` replaces the bundled voice activity model; a
                detector that fails is switched off for its stream with one `error` event. `None`
                turns local voice activity off, and with it every decision based on silence.
            policies: the constants that steer the decisions.
            health: where the providers' health is kept; `RedisHealth("redis://...")` shares it with
                a fleet. Without it, all `ResilientSTT` of this process share that of the same
                provider: plugin, class, model, address, credential and language.
            record: a folder. For each stream, a page that shows what happened is written there, and
                the same as JSON; `RecordingOptions` says whether words are in it, and how many are
                kept.
            traits: what is known better of providers than our table says, by their names
                (`cartesia`; `deepgram-2` for a second one; the model's of LiveKit Inference), such
                as `{"soniox": {"interim_results": False}}`. The traits are the fields of
                `ProviderTraits`.
            attempt_timeout: as in `FallbackAdapter`: seconds a provider may take to connect, and in
                `recognize()` to answer; overrides `RetryPolicy.connect_timeout`.
            max_retry_per_stt: as in `FallbackAdapter`; overrides `RetryPolicy.reconnect_budget`.
            retry_interval: as in `FallbackAdapter`, seconds; overrides `RetryPolicy.wait_max`.

        Raises:
            ConfigurationError: there is no provider, or one is not a LiveKit STT, or is given
                twice, or cannot stream and there is no `VAD`; or the environment has no API key; or
                `vad`, `policies`, `health` or `language` is of a wrong type, or a number is
                impossible.
        """
        setup = _setup(stt, policies, health, traits)
        policies = with_overrides(
            setup.policies, attempt_timeout, max_retry_per_stt, retry_interval
        )
        self._runtime = Runtime(
            replace(setup, policies=policies),
            vad,
            emit=self.emit,
            emit_error=lambda error: compat.emit_error(self, error, recoverable=True),
            record=recording_options(record) or setup.recording,
        )
        super().__init__(capabilities=_capabilities(list(self._runtime.providers.values())))
        self._language = validate_language(language)
        self._attempt_timeout = attempt_timeout
        self._batch = Batch(self._runtime)
        self._keyterms: list[str] = []
        self._closed = False
        self._streams: WeakSet[ResilientStream] = WeakSet()
        compat.forward_usage_only(self)
        for provider in self._runtime.providers.values():
            provider.on("metrics_collected", self._forward_metrics)

    @classmethod
    def from_config(
        cls,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        vad: NotGivenOr[VAD | SpeechDetectorFactory | None] = NOT_GIVEN,
        policies: Policies | None = None,
        health: HealthStore | None = None,
    ) -> Self:
        """Create it from a configuration.

        Calls the constructor with a `Setup`, so a subclass's `__init__` must accept the first
        argument, `language` and `vad`.

        Args:
            source: the path of a YAML or TOML file, or a dict. Without it, the path in the
                environment variable `RESILIENT_STT_CONFIG`.
            language: the BCP 47 tag of streams that are not given one; it chooses their route.
            vad: as for `ResilientSTT`.
            policies: replace all of the configuration's policies.
            health: replaces the configuration's health store.

        Raises:
            ConfigurationError: names everything that is wrong.
        """
        from .config import load  # importing a YAML reader takes 0.1 s, and most have no file

        given, store = validate_policies(policies), validate_store(health)
        setup = _with_given(Setup.from_config(load(source)), given, store)
        return cls(setup, language=language, vad=vad)

    async def __aenter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"ResilientSTT({list(self._runtime.providers)}, serving={self._serving!r})"

    # -- what LiveKit's callers ask

    @property
    def providers(self) -> tuple[STT[Any], ...]:
        """The providers as they were given, in order of preference."""
        return tuple(self._runtime.setup.providers.values())

    @property
    def policies(self) -> Policies:
        """The constants that steer the decisions."""
        return self._runtime.policies

    @property
    def model(self) -> str:
        """The model that serves the current stream.

        That is the open stream that was active last: opened, or gave a transcript. With one stream
        at a time, as in an `AgentSession`, there is no other. Without an open stream, it is the
        provider that served last; before any has, the preferred one. `ResilientStream` has the same
        properties for itself.
        """
        return self._runtime.providers[self._serving].model

    @property
    def provider(self) -> str:
        """The provider that serves the current stream; see `model`."""
        return self._runtime.providers[self._serving].provider

    @property
    def metrics_metadata(self) -> MetricsMetadata:
        """Labels of the provider that serves the current stream; see `model`.

        LiveKit (1.8.9) reads them here at the end of a turn, just after the turn's last final, so
        of several sessions with one STT each finds those of its own stream.
        """
        return compat.labels(self._runtime.providers[self._serving])

    @property
    def capabilities(self) -> stt.STTCapabilities:
        """What the providers can do together; computed on each read, as a provider's may change."""
        return compat.keep(self, _capabilities(list(self._runtime.providers.values())))

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> ResilientStream:
        """Open a stream.

        Args:
            language: a BCP 47 tag, which chooses the route.
            conn_options: ignored; connecting and retrying follow `RetryPolicy`.

        Raises:
            ConfigurationError: `language` is not a string.
            StreamClosedError: `aclose()` was called.
        """
        self._check_open()
        stream = ResilientStream(
            stt=self,
            runtime=self._runtime,
            language=self._language_of(language),
            conn_options=conn_options,
        )
        self._streams.add(stream)
        return stream

    async def recognize(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        """Recognize a whole buffer with the first provider that answers.

        Args:
            buffer: a frame or a list of frames of one format, of any length.
            language: a BCP 47 tag, which chooses the route.
            conn_options: only `timeout` is used, and only if there is no `attempt_timeout`: the
                seconds that a provider may take in addition to the length of the buffer.

        Raises:
            APIConnectionError: all providers failed, however often they were tried; see
                `RetryPolicy`.
            AudioFormatError: `buffer` is not audio, or of several formats.
            ConfigurationError: `language` is not a string.
            StreamClosedError: `aclose()` was called.
        """
        self._check_open()
        # LiveKit's own retry must not compete with ours
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
        async with self._runtime.sharing_health():
            await self._runtime.first_health_read()
            return await self._batch.recognize(buffer, self._language_of(language), timeout)

    def update_options(
        self, *, language: NotGivenOr[str] = NOT_GIVEN, provider: str = "", **options: Any
    ) -> None:
        """Change options of open and future streams.

        Args:
            language: the BCP 47 tag of what is spoken from now on, which chooses the route; empty
                if it is not known. In mid-speech the change takes effect at once, and what is not
                transcribed yet is transcribed in the new language; otherwise it takes effect after
                the last final.
            provider: the name of the only provider that `options` are for.
            options: for every provider whose own `update_options` takes them.

        Raises:
            ConfigurationError: no provider takes an option, or none has that name, or `language` is
                not a string, and nothing was changed; or a provider refuses its options.
        """
        spoken = validate_language(language)
        if options:
            for name in fan_out(self._runtime.setup.providers, provider, options):
                self._options_changed(name)
        if is_given(language):
            self._language = spoken
            for stream in self._streams:
                stream.language_changed(spoken)

    def prewarm(self) -> None:
        """Pre-warm the preferred provider and those of last resort, which load their models in the
        background; and ask the health store which ones are healthy."""
        self._runtime.refresh_health()
        for name, provider in self._runtime.providers.items():
            if name == self._preferred or self._runtime.setup.traits[name].last_resort:
                provider.prewarm()

    async def aclose(self) -> None:
        """Let go of the providers, which stay the caller's to close, as with `FallbackAdapter`.

        Streams that are open go on; no other can be opened.
        """
        self._closed = True
        await self._batch.aclose()
        for provider in self._runtime.providers.values():
            provider.off("metrics_collected", self._forward_metrics)
        await self._runtime.aclose()

    def emit(self, event: Literal["metrics_collected", "error"] | EventName, *args: Any) -> None:
        """Emit an event; an exception of a subscriber is logged and must not stop the transcript.

        LiveKit's emitter lets a subscriber's `TypeError` through to its caller.
        """
        try:
            super().emit(event, *args)
        except Exception:
            logger.exception(f"a subscriber of {event!r} failed", subscribed_to=event)

    # -- what an `AgentSession` tells its STT

    def _update_session_keyterms(self, keyterms: list[str]) -> None:
        if not compat.takes_keyterms(self):
            compat.refuse_keyterms(self, keyterms)
        if keyterms == self._keyterms:
            return  # a provider would reconnect for nothing
        self._keyterms = list(keyterms)
        for name, provider in self._runtime.providers.items():
            if compat.takes_keyterms(provider):
                compat.set_keyterms(provider, keyterms)
                for stream in self._streams:
                    stream.keyterms_changed(name)

    def _push_conversation_item(self, ev: ConversationItemAddedEvent) -> None:
        if not compat.takes_chat_context(self):
            compat.refuse_conversation_item(self, ev)
        for provider in self._runtime.providers.values():
            if compat.takes_chat_context(provider):
                compat.push_conversation_item(provider, ev)

    # -- inside

    def _check_open(self) -> None:
        if self._closed:
            raise StreamClosedError("this ResilientSTT was closed by aclose(); make another one")

    @property
    def _serving(self) -> str:
        """The name of the provider that `model` is about."""
        open_streams = [stream for stream in self._streams if stream.is_open]
        if open_streams:
            return max(open_streams, key=lambda stream: stream.last_activity).serving
        return self._runtime.last_served or self._preferred

    @property
    def _preferred(self) -> str:
        """The provider that streams in our own language begin with."""
        return self._runtime.router.lookup(self._language).providers[0].name

    def _language_of(self, language: NotGivenOr[str]) -> str:
        """The language that a caller gave, else our own; empty if none is known."""
        return validate_language(language) if is_given(language) else self._language

    def _options_changed(self, name: str) -> None:
        for stream in self._streams:
            stream.options_changed(name)

    def _forward_metrics(self, *args: Any) -> None:
        self.emit("metrics_collected", *map(with_role, args))


def _setup(
    providers: Sequence[STT[Any] | str] | Setup | None,
    policies: Policies | None,
    health: HealthStore | None,
    traits: Mapping[str, Mapping[str, Any]] | None,
) -> Setup:
    policies, store = validate_policies(policies), validate_store(health)
    if not isinstance(providers, Setup):
        stts = from_environment() if providers is None else validate_providers(providers)
        return Setup.from_objects(stts, policies, store, traits)
    if traits:
        raise ConfigurationError("traits of configured providers belong into the configuration")
    return _with_given(providers, policies, store)


def _with_given(setup: Setup, policies: Policies | None, store: HealthStore | None) -> Setup:
    return replace(
        setup,
        policies=policies if policies is not None else setup.policies,
        health_store=store if store is not None else setup.health_store,
    )


def _capabilities(providers: Sequence[STT[Any]]) -> stt.STTCapabilities:
    """What holds for every provider; hints, which one may ignore, are offered if any takes them."""
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
