"""What the log says of an event: its level, its message and its fields."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Hashable, Mapping
from enum import StrEnum
from typing import assert_never

from .core.events import (
    AudioLost,
    BreakerChanged,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ConnectionPromoted,
    Decision,
    Detail,
    Event,
    FinalEmitted,
    HedgeFinished,
    LanguageRouted,
    OfConnection,
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
from .core.messages import ACCOUNT_ERRORS

_LEVELS: dict[type[Event], int] = {
    OutageStarted: logging.ERROR,
    AudioLost: logging.ERROR,
    # what leads to a decision, which has a line of its own
    ConnectionOpened: logging.DEBUG,
    ConnectionEstablished: logging.DEBUG,
    ConnectionPromoted: logging.DEBUG,
    ConnectionClosed: logging.DEBUG,
    StallSuspected: logging.DEBUG,
    StallCleared: logging.DEBUG,
    FinalEmitted: logging.DEBUG,
}


def level(event: Event) -> int:
    """Return the level at which an event is logged.

    ERROR is for what needs a human, or what the caller notices; DEBUG for what a decision was made
    of.
    """
    match event:
        case ProviderFailed(reason=reason):
            # only the owner of the account can fix it
            return logging.ERROR if reason in ACCOUNT_ERRORS else logging.WARNING
        case _:
            return _LEVELS.get(type(event), logging.INFO)


def message(event: Event) -> str:
    """Return the message about an event.

    What matters of its fields is in it, too: most formatters other than LiveKit's leave them out.
    """
    text = _decision(event) if isinstance(event, Decision) else _detail(event)
    return f"{event.name.replace('_', ' ')}: {text}"


def fields(event: Event) -> dict[str, object]:
    """Return the fields of an event for a log record: plain values, times to the millisecond."""
    return {name: _plain(value) for name, value in dataclasses.asdict(event).items()}


def gist(event: Event) -> Hashable:
    """Return what an event says, without numbers and times: two of the same gist repeat."""
    texts = (value for name, value in _fields(event) if name not in ("stream_id", "detail"))
    return event.name, *(value for value in texts if isinstance(value, str))


def _fields(event: Event) -> list[tuple[str, object]]:
    return [(field.name, getattr(event, field.name)) for field in dataclasses.fields(event)]


def _decision(event: Decision) -> str:
    match event:
        case ProviderFailed():
            return _failure(event)
        case Switched(from_provider=old, to_provider=new, reason=reason):
            return f"{old} -> {new} ({reason})"
        case Replayed(provider=provider, seconds=seconds):
            return f"{provider}, {seconds:.1f} s"
        case AudioLost(seconds=seconds, reason=loss):
            return f"{seconds:.1f} s ({loss})"
        case OutageStarted():
            return "no provider works"
        case OutageEnded(provider=provider, duration=seconds):
            return f"{provider} works again after {seconds:.1f} s"
        case HedgeFinished(provider=provider, hedge_provider=hedge, outcome=outcome):
            return f"{provider} checked by {hedge} ({outcome})"
        case ProviderRecovered(provider=provider):
            return provider
        case LanguageRouted(language=language, route=route, reason=why):
            return f"{language or 'unknown'}, route {route} ({why})"
    assert_never(event)


def _failure(event: ProviderFailed) -> str:
    if event.advice:
        return f"{event.provider} ({event.reason}): {event.advice}"
    why = event.trigger or event.detail
    return f"{event.provider} ({event.reason}{', ' * bool(why)}{why})"


def _detail(event: Detail) -> str:
    match event:
        case BreakerChanged(provider=provider, from_state=old, state=new):
            return f"{provider}, {old} -> {new}{' by an operator' * event.by_operator}"
        case FinalEmitted(provider=provider, words=words):
            return f"{provider}, {words} words"
        case StreamEnded():
            return (
                f"{event.reason}; {event.pushed:.1f} s pushed = {event.final:.1f} final"
                f" + {event.silence:.1f} silence + {event.lost:.1f} lost"
                f" + {event.buffered:.1f} buffered"
            )
        case _:
            what = _of_connection(event)
            return f"{event.provider} #{event.connection} ({event.role}{', ' * bool(what)}{what})"


def _of_connection(event: OfConnection) -> str:
    match event:
        case ConnectionEstablished(duration=seconds) | ProbePassed(duration=seconds):
            return f"after {seconds:.1f} s"
        case ConnectionPromoted(from_role=role):
            return f"before: {role}"
        case ConnectionClosed(reason=reason, duration=seconds):
            return f"{reason} after {seconds:.1f} s"
        case ProbeFailed(reason=reason, detail=detail):
            return detail or reason
        case StallSuspected(trigger=trigger):
            return trigger
        case StallCleared(trigger=trigger, duration=seconds):
            return f"{trigger}, for {seconds:.1f} s"
        case _:
            return ""


def _plain(value: object) -> object:
    match value:
        case float():
            return round(value, 3)
        case StrEnum():
            return value.value
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return type(value)(_plain(inner) for inner in value)
        case _:
            return value
