"""When a stream moves from a connection that works to another provider.

Three reasons, two moments:

* Off a provider whose finals come too late: between two words. Its pending speech is replayed.
* Back to a preferred provider that has recovered: at a turn boundary, where nothing is pending. The
  old connection is flushed first, and gets `drain_timeout` for words that local voice activity has
  missed.
* Off a provider that an operator has locked: at a turn boundary, too, if another one is healthy.

A last resort is not for use where others work: a stream goes there for no other reason than that
all others have failed, and does not stay there for any time.
"""

from __future__ import annotations

import math

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import SwitchReason
from ..messages import FlushConnection
from ..outbox import Outbox
from ..policy import FailbackPolicy, ProviderTraits
from ..routing.selector import ProviderSelector


class Failback:
    """Finds the moment to leave a connection that works."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        selector: ProviderSelector,
        policy: FailbackPolicy,
        outbox: Outbox,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._selector = selector
        self._policy = policy
        self._outbox = outbox
        self._serving_since = 0.0
        self._returned_at = -math.inf
        self._draining_since: float | None = None

    def __repr__(self) -> str:
        return f"Failback(since={self._serving_since}, draining={self._draining_since})"

    def serving_changed(self, now: float) -> None:
        """Note that another connection serves from now on."""
        self._serving_since = now
        self._draining_since = None

    def failed_back(self, left: ProviderTraits, now: float) -> None:
        """Note that the stream has returned to a preferred provider from the one that it left."""
        if not left.last_resort:
            self._returned_at = now

    def step(self, active: Connection, now: float) -> tuple[ProviderTraits, SwitchReason] | None:
        """Return the provider to move to now, and why. Begins to drain the active connection."""
        if active.too_slow and self._is_silent(active, 0.0):
            faster = self._selector.hedge_candidate(active.traits, (), now, healthy=True)
            if faster is not None and not faster.last_resort:
                return faster, SwitchReason.SLOW
        target = self._target(active, now)
        if target is None:
            self._draining_since = None
            return None
        if self._draining_since is None:
            self._draining_since = now
            if active.traits.manual_flush:
                self._outbox.add(FlushConnection(active.id))
        if now < self._draining_since + self._policy.drain_timeout:
            return None
        return target

    def deadlines(self, active: Connection) -> list[float]:
        """Return when `step` may have something to do without any input."""
        policy = self._policy
        if self._draining_since is not None:
            return [self._draining_since + policy.drain_timeout]
        if not self._selector.has_preferred(active.traits):
            return []
        return [self._serving_since + policy.min_dwell, self._returned_at + policy.min_interval]

    def positions(self, active: Connection, now: float) -> list[int]:
        """Return the session samples at which audio alone may give `step` something to do."""
        ledger, traits = self._ledger, active.traits
        if ledger.speaking or not ledger.vad_enabled:
            return []
        is_leaving = active.too_slow or self._draining_since is not None
        if is_leaving or self._selector.operator_lock(traits.name) is not None:
            return [ledger.end]
        if not self._selector.has_preferred(traits):
            return []
        if self._is_silent(active, self._policy.turn_silence):
            return [ledger.end] if self.is_due(active, now) else []
        return [ledger.last_speech_end(ledger.end) + ledger.samples(self._policy.turn_silence)]

    def is_due(self, active: Connection, now: float) -> bool:
        """Return whether `step` has a provider to move to; other streams may have proven it."""
        return self._target(active, now) is not None

    def _target(self, active: Connection, now: float) -> tuple[ProviderTraits, SwitchReason] | None:
        """Return the provider to move to at this moment, and why."""
        return self._better_provider(active, now) if self._at_turn_boundary(active) else None

    def _better_provider(
        self, active: Connection, now: float
    ) -> tuple[ProviderTraits, SwitchReason] | None:
        if self._selector.is_locked_by_operator(active.traits.name, now):
            other = self._selector.hedge_candidate(active.traits, (), now, healthy=True)
            return (other, SwitchReason.LOCKED) if other else None
        recovered = self._recovered_provider(active, now)
        return (recovered, SwitchReason.FAILBACK) if recovered else None

    def _recovered_provider(self, active: Connection, now: float) -> ProviderTraits | None:
        policy = self._policy
        if not policy.enabled:
            return None
        dwelt = now - self._serving_since >= policy.min_dwell
        # A provider that comes and goes must not take the stream with it.
        if not active.traits.last_resort and not (
            dwelt and now - self._returned_at >= policy.min_interval
        ):
            return None
        return self._selector.failback_candidate(active.traits, now)

    def _at_turn_boundary(self, active: Connection) -> bool:
        if not self._is_silent(active, self._policy.turn_silence):
            return False
        return not self._ledger.has_pending_speech()

    def _is_silent(self, active: Connection, seconds: float) -> bool:
        """Return whether there was silence for so many seconds, as far as is known.

        Without local voice activity it cannot, and after the end of the input it is too late.
        """
        ledger = self._ledger
        if not ledger.vad_enabled or ledger.speaking or ledger.silence_duration < seconds:
            return False
        return active.caught_up and not self._pool.input_ended
