"""A provider's health as all streams of a `ResilientSTT` share it; others may share parts of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..events import ErrorKind
from ..messages import ACCOUNT_ERRORS
from ..policy import BreakerPolicy, ProviderTraits
from .breaker import Breaker
from .habits import ProviderHabits
from .latency import FinalLatency


@dataclass(slots=True)
class ProviderHealth:
    """One provider's breaker and latency, and its availability as last reported to users.

    The breaker, the latency and the habits may be those of several `ResilientSTT`. What was
    reported is each one's own, because each has its own subscribers.
    """

    breaker: Breaker
    latency: FinalLatency = field(default_factory=FinalLatency)
    habits: ProviderHabits = field(default_factory=ProviderHabits)
    available: bool = True
    """Its availability in the sense of LiveKit's `stt_availability_changed`, as last reported."""
    account_error_reported: bool = False
    """Whether its last reported failure was an account error."""
    reports_turns: bool | None = None
    """Whether it has sent a start or end of speech; false if it has only sent text, and `None`
    before it has sent anything."""
    finalizes_when_dropped: bool = False
    """Whether a connection was seen to pass its last interim transcript off as a FINAL, and to fail
    at once."""

    def should_report(self, kind: ErrorKind) -> bool:
        """Whether a failure of this kind is reported.

        An account error is reported once, until the provider works again or fails otherwise:
        every stream meets it, and only the owner of the account can do something about it.
        """
        return not (self.account_error_reported and kind in ACCOUNT_ERRORS)

    def record_reported(self, kind: ErrorKind) -> None:
        """Note a failure that was reported, or suppressed as `should_report` said."""
        self.account_error_reported = kind in ACCOUNT_ERRORS


class _Cause(Protocol):
    @property
    def kind(self) -> ErrorKind: ...
    @property
    def refused_language(self) -> str: ...


def advice(provider: ProviderTraits, failure: _Cause, policy: BreakerPolicy) -> str:
    """What the user can do about a failure; empty if nothing."""
    if language := failure.refused_language:
        return f"leave {provider.name} out of the route of {language}, or give it another tag"
    if failure.kind not in ACCOUNT_ERRORS:
        return ""
    key = provider.key_variable or "its API key"
    return f"check {key}; not tried again for {policy.auth_cooldown:.0f} s"
