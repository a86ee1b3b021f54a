"""What is known of a provider's health, shared by all streams of a `ResilientSTT`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..events import ErrorKind
from ..messages import ACCOUNT_ERRORS
from ..policy import BreakerPolicy, ProviderTraits
from .breaker import Breaker
from .latency import FinalLatency


@dataclass(slots=True)
class ProviderHealth:
    """One provider's breaker, its latency, and what was last told about its availability."""

    breaker: Breaker
    latency: FinalLatency = field(default_factory=FinalLatency)
    available: bool = True
    credentials_reported: bool = False
    """Its credentials were refused, and that was told."""

    def note_failure(self, kind: ErrorKind) -> bool:
        """Whether a failure is to be told: refused credentials are, once until it works again."""
        known, self.credentials_reported = self.credentials_reported, kind in ACCOUNT_ERRORS
        return not (known and self.credentials_reported)


def advice(provider: ProviderTraits, kind: ErrorKind, policy: BreakerPolicy) -> str:
    """What the owner of the account can do about a failure; empty if nothing."""
    if kind not in ACCOUNT_ERRORS:
        return ""
    key = provider.key_variable or "its API key"
    return f"check {key}; not tried again for {policy.auth_cooldown:.0f} s"
