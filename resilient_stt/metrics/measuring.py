"""Turns events into measurements: which instrument gets which value, with which labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..core.events import (
    AudioLossReason,
    AudioLost,
    BreakerChanged,
    BreakerState,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ConnectionPromoted,
    ErrorKind,
    Event,
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
    Role,
    StallCleared,
    StallSuspected,
    StreamEnded,
    StreamEndReason,
    Switched,
)
from . import instruments
from .instruments import Instrument


class Measurement(NamedTuple):
    """A value of an instrument."""

    instrument: Instrument
    value: float
    labels: tuple[str, ...] = ()
    """In the order of `Instrument.labels`."""


class Measuring:
    """Measures the events of all streams of a process."""

    def __init__(self) -> None:
        self._failed_over: dict[str, ErrorKind] = {}
        """Why streams failed over that have emitted no final since, by their id."""
        self._breakers: dict[str, BreakerState] = {}
        """By provider."""

    def __repr__(self) -> str:
        return f"Measuring(failed_over={len(self._failed_over)})"

    def of(self, event: Event) -> Iterator[Measurement]:
        """Yield the measurements of one event; events must come in the order of their stream."""
        match event:
            case Switched():
                yield from self._of_switch(event)
            case FinalEmitted():
                yield from self._of_final(event)
            case BreakerChanged(provider=provider, state=state):
                yield from self._breaker_is(provider, state, by_operator=event.by_operator)
            case StreamEnded():
                self._failed_over.pop(event.stream_id, None)
                yield from _of_accounts(event)
            case ConnectionOpened():
                yield from self._zeros(event.provider)
                yield from _of_connection(event)
            case (
                ConnectionPromoted()
                | ConnectionClosed()
                | ConnectionEstablished()
                | StallSuspected()
                | StallCleared()
                | ProbePassed()
                | ProbeFailed()
            ):
                yield from _of_connection(event)
            case _:
                yield from _of_provider(event)

    def _zeros(self, provider: str) -> Iterator[Measurement]:
        """What alerts ask for begins at 0, when a provider is first used.

        Prometheus sees no increase in a series whose first value is 1.
        """
        if not self._breakers:
            for loss in AudioLossReason:
                yield Measurement(instruments.AUDIO_LOST, 0, (loss.value,))
            for end in StreamEndReason:
                yield Measurement(instruments.STREAMS, 0, (end.value,))
        if provider not in self._breakers:
            yield from self._breaker_is(provider, BreakerState.CLOSED)
            for kind in ErrorKind:
                yield Measurement(instruments.FAILURES, 0, (provider, kind.value))

    def _of_switch(self, event: Switched) -> Iterator[Measurement]:
        old, new, why = event.from_provider, event.to_provider, event.reason
        yield Measurement(instruments.SWITCHES, 1, (old, new, why.value))
        if old == new:
            yield Measurement(instruments.RECONNECTS, 1, (new,))
        if isinstance(why, ErrorKind):
            self._failed_over[event.stream_id] = why

    def _of_final(self, event: FinalEmitted) -> Iterator[Measurement]:
        yield Measurement(instruments.WORDS, event.words, (event.provider,))
        why = self._failed_over.pop(event.stream_id, None)
        if event.lateness is not None:
            yield Measurement(instruments.FINAL_LATENESS, event.lateness, (event.provider,))
            if why is not None:
                yield Measurement(instruments.DELAY_ADDED, event.lateness, (why.value,))

    def _breaker_is(
        self, provider: str, state: BreakerState, *, by_operator: bool = False
    ) -> Iterator[Measurement]:
        self._breakers[provider] = state
        yield Measurement(instruments.OPERATOR_LOCK, float(by_operator), (provider,))
        for each in BreakerState:
            is_state = float(each is state)
            yield Measurement(instruments.BREAKER_STATE, is_state, (provider, each.value))


def _of_provider(
    event: (
        ProviderFailed
        | ProviderRecovered
        | HedgeFinished
        | OutageStarted
        | OutageEnded
        | AudioLost
        | LanguageRouted
        | Replayed
    ),
) -> Iterator[Measurement]:
    match event:
        case ProviderFailed(provider=provider, reason=reason):
            yield Measurement(instruments.FAILURES, 1, (provider, reason.value))
        case ProviderRecovered(provider=provider):
            yield Measurement(instruments.RECOVERIES, 1, (provider,))
        case HedgeFinished(provider=provider, hedge_provider=hedge, outcome=outcome):
            yield Measurement(instruments.HEDGES, 1, (provider, hedge, outcome.value))
        case OutageStarted():
            yield Measurement(instruments.OUTAGES, 1)
        case OutageEnded(duration=seconds):
            yield Measurement(instruments.OUTAGE_DURATION, seconds)
        case AudioLost(seconds=seconds, reason=why):
            yield Measurement(instruments.AUDIO_LOST, seconds, (why.value,))
        case LanguageRouted(route=route, reason=changed_by):
            # the tag itself comes from a provider, which may write anything
            yield Measurement(instruments.LANGUAGES, 1, (route, changed_by.value))
        case Replayed():
            pass  # `StreamEnded` says how much was replayed in all


def _of_connection(
    event: (
        ConnectionOpened
        | ConnectionPromoted
        | ConnectionClosed
        | ConnectionEstablished
        | StallSuspected
        | StallCleared
        | ProbePassed
        | ProbeFailed
    ),
) -> Iterator[Measurement]:
    provider, role = event.provider, event.role.value
    match event:
        case ConnectionOpened():
            yield Measurement(instruments.OPEN_CONNECTIONS, 1, (provider, role))
            if event.role is Role.RECONNECT:
                yield Measurement(instruments.RECONNECTS, 1, (provider,))
        case ConnectionPromoted(from_role=from_role):
            yield Measurement(instruments.OPEN_CONNECTIONS, -1, (provider, from_role.value))
            yield Measurement(instruments.OPEN_CONNECTIONS, 1, (provider, role))
        case ConnectionClosed():
            yield Measurement(instruments.OPEN_CONNECTIONS, -1, (provider, role))
        case ConnectionEstablished(duration=seconds):
            yield Measurement(instruments.CONNECT_DURATION, seconds, (provider,))
        case StallSuspected(trigger=trigger):
            yield Measurement(instruments.STALLS, 1, (provider, trigger.value))
        case ProbePassed():
            yield Measurement(instruments.PROBES, 1, (provider, "passed"))
        case ProbeFailed():
            yield Measurement(instruments.PROBES, 1, (provider, "failed"))
        case StallCleared():
            pass  # the hedge's outcome says so


def _of_accounts(event: StreamEnded) -> Iterator[Measurement]:
    yield Measurement(instruments.STREAMS, 1, (event.reason.value,))
    yield Measurement(instruments.AUDIO_PUSHED, event.pushed - event.taken_over)
    yield Measurement(instruments.AUDIO_REPLAYED, event.replayed)
    yield Measurement(instruments.AUDIO_HEDGED, event.hedged)
    for sent in event.sent:
        yield Measurement(instruments.AUDIO_SENT, sent.seconds, (sent.provider, sent.role.value))
