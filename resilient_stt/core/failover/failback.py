"""Coming back: the probe of a provider that recovers, and the moment to move."""

from __future__ import annotations

import math

from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import ErrorKind, ProviderRecovered, SwitchReason
from ..messages import ConnectionFailed, EventKind, FlushConnection, Role, TranscriptEvent
from ..policy import ProviderTraits

MAX_START_DELAY = 1.0
"""Seconds into an utterance at which a probe may still begin."""


class Failback:
    """Decides when a stream moves from a healthy leg to another provider: never in mid-turn."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._policy = pool.policies.failback
        self._serving_since = 0.0
        self._returned_at = -math.inf
        self._draining_since: float | None = None

    def __repr__(self) -> str:
        return f"Failback(since={self._serving_since}, draining={self._draining_since})"

    def serving_changed(self, now: float) -> None:
        """Another leg serves from now on."""
        self._serving_since = now
        self._draining_since = None

    def failed_back(self, now: float) -> None:
        """The stream has come back to a preferred provider."""
        self._returned_at = now

    def step(self, active: Connection, now: float) -> tuple[ProviderTraits, SwitchReason] | None:
        """Where to move now and why: between two words off a slow provider, for what it still owes
        is replayed; back to a better one once the old leg is flushed and drained."""
        if active.too_slow and (target := self._faster_provider(active, now)):
            return target, SwitchReason.SLOW
        target = self._recovered_provider(active, now) if self._at_boundary(active) else None
        if target is None:
            self._draining_since = None
            return None
        if self._draining_since is None:
            self._draining_since = now
            if active.traits.manual_flush:
                self._pool.outbox.add(FlushConnection(active.id))
        return (
            (target, SwitchReason.FAILBACK)
            if now >= self._draining_since + self._policy.drain_timeout
            else None
        )

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return (
            []
            if self._draining_since is None
            else [self._draining_since + self._policy.drain_timeout]
        )

    def _faster_provider(self, active: Connection, now: float) -> ProviderTraits | None:
        if not self._is_silent(active, 0.0):
            return None
        return self._pool.selector.hedge_candidate(active.traits, (), now, healthy=True)

    def _recovered_provider(self, active: Connection, now: float) -> ProviderTraits | None:
        policy = self._policy
        dwelt = (
            now - self._serving_since >= policy.min_dwell
            and now - self._returned_at >= policy.min_interval
        )
        if not (policy.enabled and dwelt):
            return None
        return self._pool.selector.failback_candidate(active.traits, now)

    def _at_boundary(self, active: Connection) -> bool:
        return (
            self._is_silent(active, self._policy.turn_silence)
            and not self._pool.ledger.has_pending_speech()
        )

    def _is_silent(self, active: Connection, seconds: float) -> bool:
        """Whether nobody speaks, for so long."""
        ledger = self._pool.ledger
        if not ledger.vad_enabled or ledger.speaking or ledger.silence_duration < seconds:
            return False
        return active.caught_up and not self._pool.input_ended


class Probe:
    """A shadow leg on a recovering provider, for the length of one utterance.

    An open socket proves nothing: only a final with words does, where the active leg heard some.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: Connection | None = None
        self._verdict_at: float | None = None
        self._words_spoken = False
        """The active leg has told words since the probe began."""

    def __repr__(self) -> str:
        return f"Probe(leg={self._connection and self._connection.id}, due={self._verdict_at})"

    def step(self, active: Connection, now: float) -> None:
        """Begin a probe where somebody speaks, or end the one that had its time."""
        connection = self._connection
        if connection is None:
            self._begin(active, now)
        elif connection.traits.name == active.traits.name or now >= self._ends_at(connection):
            self._conclude(connection, now)

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return [self._ends_at(self._connection)] if self._connection else []

    def active_told_words(self) -> None:
        """The active leg told words in a FINAL: there was something to hear."""
        self._words_spoken = True

    def speech_ended(self, now: float) -> None:
        """The utterance is over: its final is due."""
        connection = self._connection
        if connection is None or self._verdict_at is not None:
            return
        if connection.traits.manual_flush:
            self._pool.outbox.add(FlushConnection(connection.id))
        limit = max(connection.traits.final_timeout, connection.traits.end_of_turn_timeout)
        self._verdict_at = max(now, connection.processed_by) + limit

    def on_event(self, connection: Connection, event: TranscriptEvent, now: float) -> None:
        """A final with words passes."""
        if event.kind is not EventKind.FINAL or not event.text.strip():
            return
        name = connection.traits.name
        breaker = self._pool.health[name].breaker
        breaker.probe_passed(now)
        if breaker.is_proven(now):
            self._pool.outbox.report(ProviderRecovered(at=self._pool.at, provider=name))
            self._pool.outbox.add(*self._pool.selector.mark_recovered(name))
        self._close(connection)

    def failed(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        """The probe's stream broke."""
        self._connection = None
        self._pool.fail(connection, failure, now)

    def cancel(self, now: float) -> None:
        """End without a verdict."""
        if self._connection:
            self._pool.health[self._connection.traits.name].breaker.release_probe(now)
            self._close(self._connection)

    def _begin(self, active: Connection, now: float) -> None:
        pool, ledger = self._pool, self._pool.ledger
        start = ledger.segment_start(ledger.end) if ledger.speaking else None
        if start is None or ledger.end - start > ledger.samples(MAX_START_DELAY):
            return  # with a replay before it, nobody could say whether its final comes in time
        if pool.input_ended or not (active.caught_up and pool.policies.failback.enabled):
            return
        provider = pool.selector.lease_probe_candidate(active.traits, now)
        if provider is not None:
            self._connection = pool.open(provider, Role.PROBE, now, max(start, ledger.start))
            self._verdict_at, self._words_spoken = None, False

    def _ends_at(self, connection: Connection) -> float:
        return (
            connection.opened_at + self._pool.policies.breaker.probe_timeout
            if self._verdict_at is None
            else self._verdict_at
        )

    def _conclude(self, connection: Connection, now: float) -> None:
        if self._verdict_at is not None and self._words_spoken and now >= self._verdict_at:
            self.failed(
                connection, ConnectionFailed(connection.id, ErrorKind.STALLED, "heard nothing"), now
            )
        else:
            self.cancel(now)

    def _close(self, connection: Connection) -> None:
        self._connection = None
        self._pool.close(connection)
