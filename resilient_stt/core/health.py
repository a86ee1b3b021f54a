"""What is known of a provider's health, shared by all streams of a `ResilientSTT`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .breaker import Breaker
from .inputs import CREDENTIALS, ErrorKind
from .latency import Latency
from .policy import BreakerPolicy, Provider


@dataclass(slots=True)
class Health:
    """One provider's breaker, its latency, and what was last told about its availability."""

    breaker: Breaker
    latency: Latency = field(default_factory=Latency)
    available: bool = True
    refused: bool = False
    """Its credentials were refused, and that was told."""

    def is_news(self, kind: ErrorKind) -> bool:
        """Whether a failure is to be told: refused credentials are, once until it works again."""
        known, self.refused = self.refused, kind in CREDENTIALS
        return not (known and self.refused)


def advice(provider: Provider, kind: ErrorKind, policy: BreakerPolicy) -> str:
    """What the owner of the account can do about a failure; empty if nothing."""
    if kind not in CREDENTIALS:
        return ""
    key = provider.key_variable or "its API key"
    return f"check {key}; not tried again for {policy.locked_for:.0f} s"
