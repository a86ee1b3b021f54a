"""Logging of the public events, and the logger of the package."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import assert_never

import structlog
from structlog.typing import EventDict

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


def _at_caller(logger: object, method: str, event: EventDict) -> EventDict:
    """Have the record name our line of code, not the one in structlog that hands it to `logging`.

    `logging` counts `stacklevel` from its caller, here structlog's innermost function.
    """
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("structlog."):
        frame, depth = frame.f_back, depth + 1
    event.setdefault("stacklevel", depth)
    return event


logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("livekit.resilient_stt"),
    # fields become `extra` of a standard record, which LiveKit's handlers print, or write as JSON
    processors=[
        structlog.stdlib.filter_by_level,
        _at_caller,
        structlog.stdlib.render_to_log_kwargs,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
"""A child of LiveKit's logger, so that an agent's log settings apply to it."""

_LEVELS: dict[type[Event], int] = {
    ProviderFailed: logging.WARNING,
    OutageStarted: logging.ERROR,
    AudioLost: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Write one event to the log; events never contain API keys or transcripts.

    Its fields are those of the record. What matters of them is in the message, too: most formatters
    other than LiveKit's leave the fields out.
    """
    fields = {name: _plain(value) for name, value in asdict(event).items()}
    level = _LEVELS.get(type(event), logging.INFO)
    if isinstance(event, ProviderFailed) and event.reason in ACCOUNT_ERRORS:
        level = logging.ERROR  # only the owner of the account can fix it
    message = f"{event.name.replace('_', ' ')}: {_summary(event)}"
    logger.log(level, message, **fields)


def _failure(event: ProviderFailed) -> str:
    if event.advice:
        return f"{event.provider} ({event.reason}): {event.advice}"
    why = event.trigger or event.detail
    return f"{event.provider} ({event.reason}{', ' * bool(why)}{why})"


def _summary(event: Event) -> str:
    return _decision(event) if isinstance(event, Decision) else _detail(event)


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


def _detail(event: Detail) -> str:
    match event:
        case ConnectionOpened(provider=provider, role=role, connection=number):
            return f"{provider} ({role}, {number})"
        case ConnectionEstablished(provider=provider, duration=seconds):
            return f"{provider} after {seconds:.2f} s"
        case ConnectionPromoted(provider=provider, from_role=role):
            return f"{provider} ({role} -> active)"
        case ConnectionClosed(provider=provider, role=role, reason=reason):
            return f"{provider} ({role}): {reason}"
        case StallSuspected(provider=provider, trigger=trigger):
            return f"{provider} ({trigger})"
        case StallCleared(provider=provider, trigger=trigger, duration=seconds):
            return f"{provider} ({trigger}) after {seconds:.1f} s"
        case ProbePassed(provider=provider):
            return provider
        case ProbeFailed(provider=provider, reason=reason):
            return f"{provider} ({reason})"
        case BreakerChanged(provider=provider, from_state=old, state=new):
            return f"{provider}: {old} -> {new}"
        case FinalEmitted(provider=provider, words=words):
            return f"{provider}, {words} words"
        case StreamEnded():
            return (
                f"{event.reason}; {event.pushed:.1f} s = {event.final:.1f} final"
                f" + {event.silence:.1f} silence + {event.lost:.1f} lost"
                f" + {event.buffered:.1f} buffered"
            )
    assert_never(event)


def _plain(value: object) -> object:
    """Return what a log record should hold: milliseconds, and strings where there are enums."""
    if isinstance(value, float):
        return round(value, 3)
    return value.value if isinstance(value, StrEnum) else value
