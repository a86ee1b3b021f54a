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
    HedgeFinished,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
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
