"""Logging, fed by the public events alone."""

from __future__ import annotations

import logging
from dataclasses import asdict

import structlog

from .events import AudioLost, Degraded, Event, ProviderFailed

logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("livekit.resilient_stt"),
    # `extra` of a standard record: LiveKit's own handlers print it, as JSON in production
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)
"""Below LiveKit's logger, so that an agent's log settings hold for it too."""

_LEVELS: dict[type[Event], int] = {
    ProviderFailed: logging.WARNING,
    Degraded: logging.ERROR,
    AudioLost: logging.ERROR,
}


def log_event(event: Event) -> None:
    """Write one event; events hold no key and no transcript."""
    fields = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(event).items()}
    logger.log(_LEVELS.get(type(event), logging.INFO), event.name.replace("_", " "), **fields)
