"""Logging, fed by the public events alone."""

from __future__ import annotations

import logging
from dataclasses import asdict

import structlog

from .core.events import AudioLost, Event, OutageStarted, ProviderFailed
from .core.messages import ACCOUNT_ERRORS

logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("livekit.resilient_stt"),
    # `extra` of a standard record: LiveKit's own handlers print it, as JSON in production
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)
"""Below LiveKit's logger, so that an agent's log settings hold for it too."""

_LEVELS: dict[type[Event], int] = {
    ProviderFailed: logging.WARNING,
    OutageStarted: logging.ERROR,
    AudioLost: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Write one event; events hold no key and no transcript."""
    fields = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(event).items()}
    level, message = _LEVELS.get(type(event), logging.INFO), event.name.replace("_", " ")
    if isinstance(event, ProviderFailed):
        if event.reason in ACCOUNT_ERRORS:
            level = logging.ERROR  # only a human can mend it
        if event.advice:
            # in the message as well: formatters other than LiveKit's leave the fields out
            message = f"{message}: {event.provider} ({event.reason}): {event.advice}"
    logger.log(level, message, **fields)
