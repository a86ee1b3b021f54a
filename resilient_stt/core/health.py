"""What is known of a provider's health, shared by all streams of a `ResilientSTT`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .breaker import Breaker
from .latency import Latency


@dataclass(slots=True)
class Health:
    """One provider's breaker, its latency, and what was last told about its availability."""

    breaker: Breaker
    latency: Latency = field(default_factory=Latency)
    available: bool = True
    refused: bool = False
    """Its credentials were refused, and that was told."""
