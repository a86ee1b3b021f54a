"""The types of `ResilientSTT.on` and `once`: which event a handler of each name is called with.

Only type checkers read this. At run time both are LiveKit's own methods, which also call handlers
that take no argument, and return a decorator if no handler is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeVar, overload

from livekit.agents.metrics import STTMetrics
from livekit.agents.stt import AvailabilityChangedEvent, STTError

from .core.events import (
    AudioLost,
    BreakerChanged,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ConnectionPromoted,
    FinalEmitted,
    HedgeFinished,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProbeFailed,
    ProbePassed,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    StallCleared,
    StallSuspected,
    StreamEnded,
    Switched,
)
from .runtime import EventName

_E = TypeVar("_E")
_R = TypeVar("_R")
_AnyName = EventName | Literal["metrics_collected", "error"]

Handler = Callable[[_E], _R]
"""Called with the event; what it returns is ignored."""


class Decorator(Protocol[_E]):
    """Subscribes the function below it and returns it."""

    @overload
    def __call__(self, handler: Handler[_E, _R], /) -> Handler[_E, _R]: ...
    @overload
    def __call__(self, handler: Callable[[], _R], /) -> Callable[[], _R]: ...


class Subscribe(Protocol):
    """`on(name, handler)`, or `@on(name)` above a handler."""

    @overload
    def __call__(
        self, event: Literal["switched"], callback: Handler[Switched, _R]
    ) -> Handler[Switched, _R]: ...
    @overload
    def __call__(self, event: Literal["switched"]) -> Decorator[Switched]: ...
    @overload
    def __call__(
        self, event: Literal["replayed"], callback: Handler[Replayed, _R]
    ) -> Handler[Replayed, _R]: ...
    @overload
    def __call__(self, event: Literal["replayed"]) -> Decorator[Replayed]: ...
    @overload
    def __call__(
        self, event: Literal["audio_lost"], callback: Handler[AudioLost, _R]
    ) -> Handler[AudioLost, _R]: ...
    @overload
    def __call__(self, event: Literal["audio_lost"]) -> Decorator[AudioLost]: ...
    @overload
    def __call__(
        self, event: Literal["provider_failed"], callback: Handler[ProviderFailed, _R]
    ) -> Handler[ProviderFailed, _R]: ...
    @overload
    def __call__(self, event: Literal["provider_failed"]) -> Decorator[ProviderFailed]: ...
    @overload
    def __call__(
        self, event: Literal["provider_recovered"], callback: Handler[ProviderRecovered, _R]
    ) -> Handler[ProviderRecovered, _R]: ...
    @overload
    def __call__(self, event: Literal["provider_recovered"]) -> Decorator[ProviderRecovered]: ...
    @overload
    def __call__(
        self, event: Literal["outage_started"], callback: Handler[OutageStarted, _R]
    ) -> Handler[OutageStarted, _R]: ...
    @overload
    def __call__(self, event: Literal["outage_started"]) -> Decorator[OutageStarted]: ...
    @overload
    def __call__(
        self, event: Literal["outage_ended"], callback: Handler[OutageEnded, _R]
    ) -> Handler[OutageEnded, _R]: ...
    @overload
    def __call__(self, event: Literal["outage_ended"]) -> Decorator[OutageEnded]: ...
    @overload
    def __call__(
        self, event: Literal["hedge_finished"], callback: Handler[HedgeFinished, _R]
    ) -> Handler[HedgeFinished, _R]: ...
    @overload
    def __call__(self, event: Literal["hedge_finished"]) -> Decorator[HedgeFinished]: ...
    @overload
    def __call__(
        self, event: Literal["language_routed"], callback: Handler[LanguageRouted, _R]
    ) -> Handler[LanguageRouted, _R]: ...
    @overload
    def __call__(self, event: Literal["language_routed"]) -> Decorator[LanguageRouted]: ...
    @overload
    def __call__(
        self, event: Literal["connection_opened"], callback: Handler[ConnectionOpened, _R]
    ) -> Handler[ConnectionOpened, _R]: ...
    @overload
    def __call__(self, event: Literal["connection_opened"]) -> Decorator[ConnectionOpened]: ...
    @overload
    def __call__(
        self, event: Literal["connection_established"], callback: Handler[ConnectionEstablished, _R]
    ) -> Handler[ConnectionEstablished, _R]: ...
    @overload
    def __call__(
        self, event: Literal["connection_established"]
    ) -> Decorator[ConnectionEstablished]: ...
    @overload
    def __call__(
        self, event: Literal["connection_promoted"], callback: Handler[ConnectionPromoted, _R]
    ) -> Handler[ConnectionPromoted, _R]: ...
    @overload
    def __call__(self, event: Literal["connection_promoted"]) -> Decorator[ConnectionPromoted]: ...
    @overload
    def __call__(
        self, event: Literal["connection_closed"], callback: Handler[ConnectionClosed, _R]
    ) -> Handler[ConnectionClosed, _R]: ...
    @overload
    def __call__(self, event: Literal["connection_closed"]) -> Decorator[ConnectionClosed]: ...
    @overload
    def __call__(
        self, event: Literal["stall_suspected"], callback: Handler[StallSuspected, _R]
    ) -> Handler[StallSuspected, _R]: ...
    @overload
    def __call__(self, event: Literal["stall_suspected"]) -> Decorator[StallSuspected]: ...
    @overload
    def __call__(
        self, event: Literal["stall_cleared"], callback: Handler[StallCleared, _R]
    ) -> Handler[StallCleared, _R]: ...
    @overload
    def __call__(self, event: Literal["stall_cleared"]) -> Decorator[StallCleared]: ...
    @overload
    def __call__(
        self, event: Literal["probe_passed"], callback: Handler[ProbePassed, _R]
    ) -> Handler[ProbePassed, _R]: ...
    @overload
    def __call__(self, event: Literal["probe_passed"]) -> Decorator[ProbePassed]: ...
    @overload
    def __call__(
        self, event: Literal["probe_failed"], callback: Handler[ProbeFailed, _R]
    ) -> Handler[ProbeFailed, _R]: ...
    @overload
    def __call__(self, event: Literal["probe_failed"]) -> Decorator[ProbeFailed]: ...
    @overload
    def __call__(
        self, event: Literal["breaker_changed"], callback: Handler[BreakerChanged, _R]
    ) -> Handler[BreakerChanged, _R]: ...
    @overload
    def __call__(self, event: Literal["breaker_changed"]) -> Decorator[BreakerChanged]: ...
    @overload
    def __call__(
        self, event: Literal["final_emitted"], callback: Handler[FinalEmitted, _R]
    ) -> Handler[FinalEmitted, _R]: ...
    @overload
    def __call__(self, event: Literal["final_emitted"]) -> Decorator[FinalEmitted]: ...
    @overload
    def __call__(
        self, event: Literal["stream_ended"], callback: Handler[StreamEnded, _R]
    ) -> Handler[StreamEnded, _R]: ...
    @overload
    def __call__(self, event: Literal["stream_ended"]) -> Decorator[StreamEnded]: ...
    @overload
    def __call__(
        self,
        event: Literal["stt_availability_changed"],
        callback: Handler[AvailabilityChangedEvent, _R],
    ) -> Handler[AvailabilityChangedEvent, _R]: ...
    @overload
    def __call__(
        self, event: Literal["stt_availability_changed"]
    ) -> Decorator[AvailabilityChangedEvent]: ...
    @overload
    def __call__(
        self, event: Literal["metrics_collected"], callback: Handler[STTMetrics, _R]
    ) -> Handler[STTMetrics, _R]: ...
    @overload
    def __call__(self, event: Literal["metrics_collected"]) -> Decorator[STTMetrics]: ...
    @overload
    def __call__(
        self, event: Literal["error"], callback: Handler[STTError, _R]
    ) -> Handler[STTError, _R]: ...
    @overload
    def __call__(self, event: Literal["error"]) -> Decorator[STTError]: ...
    @overload
    def __call__(self, event: _AnyName, callback: Callable[[], _R]) -> Callable[[], _R]: ...
