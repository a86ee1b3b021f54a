"""Migrate from LiveKit's `FallbackAdapter`: before, and after.

The arguments have the same names, and LiveKit's `stt_availability_changed` is emitted as before.
`docs/adopt.md` says what else changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from livekit.agents import stt
from livekit.agents.stt import AvailabilityChangedEvent

from resilient_stt import ResilientSTT

logger = logging.getLogger("agent")

Providers = Sequence[stt.STT[Any]]


def before(providers: Providers) -> stt.STT[Any]:
    """As it was."""
    transcriber = stt.FallbackAdapter(list(providers), attempt_timeout=5.0)
    transcriber.on("stt_availability_changed", report)
    return transcriber


def after(providers: Providers) -> stt.STT[Any]:
    """As it is; without `attempt_timeout`, a provider has 1.5 s to connect."""
    transcriber = ResilientSTT(providers, attempt_timeout=5.0)
    transcriber.on("stt_availability_changed", report)
    return transcriber


def report(event: AvailabilityChangedEvent) -> None:
    """Log which provider works, and which does not."""
    logger.info("%s %s", event.stt.label, "works" if event.available else "does not work")
