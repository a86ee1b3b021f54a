"""Logging of the public events, and the logger of the package."""

from __future__ import annotations

import logging
from dataclasses import asdict
from enum import StrEnum

import structlog

from .core.events import AudioLost, Event, OutageStarted, ProviderFailed
from .core.messages import ACCOUNT_ERRORS

logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("livekit.resilient_stt"),
    # fields become `extra` of a standard record, which LiveKit's handlers print, or write as JSON
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)
"""A child of LiveKit's logger, so that an agent's log settings apply to it."""

_LEVELS: dict[type[Event], int] = {
    ProviderFailed: logging.WARNING,
    OutageStarted: logging.ERROR,
    AudioLost: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Write one event to the log; events never contain API keys or transcripts."""
    fields = {name: _plain(value) for name, value in asdict(event).items()}
    level, message = _LEVELS.get(type(event), logging.INFO), event.name.replace("_", " ")
    if isinstance(event, ProviderFailed):
        if event.reason in ACCOUNT_ERRORS:
            level = logging.ERROR  # only the owner of the account can fix it
        if event.advice:
            # also in the message: most formatters other than LiveKit's leave the fields out
            message = f"{message}: {event.provider} ({event.reason}): {event.advice}"
    logger.log(level, message, **fields)


def _plain(value: object) -> object:
    """Return what a log record should hold: milliseconds, and strings where there are enums."""
    if isinstance(value, float):
        return round(value, 3)
    return value.value if isinstance(value, StrEnum) else value
