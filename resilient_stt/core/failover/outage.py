"""An outage: no provider works.

Theory of operation
===================

An outage begins when the active connection failed and no provider is left to try, and lasts until a
reconnect works. Audio is buffered meanwhile. All providers that are not locked are tried at the
same time, each again after a wait that the shell draws (jittered, exponential). Several attempts
may run on one provider, so that one that hangs does not keep the next from being tried.

A reconnect works as soon as it has words; `FailoverEngine` ends the outage then. In silence there
are no words: a reconnect also works when it must be connected by now (it has outlived the connect
timeout, and its plugin takes audio), and either no words are pending or it had time enough to
transcribe them. In that case the pending speech is noise, or no better connection can be had.

One that should have repeated committed words, and gives none in its time, is deaf and is left. But
words without times may not be in its audio at all, and a slow provider may still be busy with it.
So the next ones get twice the time, and so on (schedule a-slow-provider-after-an-outage).

After `RetryPolicy.outage_limit` the stream gives up; after `RetryPolicy.end_input_limit` if the
input has ended.
"""

from __future__ import annotations

import math

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import CloseReason, ErrorKind, Role, SwitchReason
from ..messages import ConnectionFailed
from ..policy import Policies, ProviderTraits
from ..routing.selector import ProviderSelector
from ..stalls.detector import StallDeadline
from ..stalls.noise_multiplier import NoiseMultiplier


class Outage:
    """Tries all providers until one works."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        selector: ProviderSelector,
        policies: Policies,
        since: float,
        now: float,
        backoff: float,
    ) -> None:
        """`since`: when it began; `backoff`: seconds before the first attempts."""
        self._pool = pool
        self._ledger = ledger
        self._selector = selector
        self._retry = policies.retry
        self._break_duration = policies.breaker.break_duration
        self._connected_after = policies.connected_after
        self._multiplier = NoiseMultiplier(policies.watchdog.max_deadline_multiplier)
        """Stretches the time in which an attempt has to give words."""
        self._stretched_at = -math.inf
        self.since = since
        self._next_attempt_at: dict[str, float] = {}
        self._reported: set[tuple[str, ErrorKind, str]] = set()
        for provider in selector.outage_candidates(now):
            self._schedule(provider.name, now, now, backoff)

    def __repr__(self) -> str:
        return f"Outage(since={self.since}, next={self._next_attempt_at})"

    @property
    def limit_at(self) -> float:
        """When the stream gives up."""
        limit_at, ended_at = self.since + self._retry.outage_limit, self._pool.input_ended_at
        if ended_at is None:
            return limit_at
        return min(limit_at, max(self.since, ended_at) + self._retry.end_input_limit)

    @property
    def reconnects(self) -> list[Connection]:
        """The attempts that are under way."""
        return [connection for connection in self._pool if connection.role is Role.RECONNECT]

    def failed(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        """Close an attempt that failed, and plan the next; report it if it fails in a new way."""
        what = connection.traits.name, failure.kind, failure.detail
        self._pool.fail(connection, failure, now, known=what in self._reported)
        self._reported.add(what)
        self._schedule(connection.traits.name, connection.opened_at, now, failure.backoff)

    def closed(
        self, connection: Connection, reason: CloseReason, now: float, backoff: float
    ) -> None:
        """Close an attempt that ended without a failure; plan the next."""
        self._pool.close(connection, reason, now)
        self._schedule(connection.traits.name, connection.opened_at, now, backoff)

    def renew(self, connection: Connection, now: float) -> None:
        """Open an attempt anew, on another clock; that is no failure."""
        self._pool.close(connection, CloseReason.RENEWED, now)
        self._pool.open(connection.traits, Role.RECONNECT, now)

    def open_due_attempts(self, now: float, backoff: float) -> None:
        """Leave attempts that are deaf, and open those that are due."""
        for connection in self.reconnects:
            if self._is_silent(connection, now) and connection.trimmer.expects_repeats:
                deaf = ConnectionFailed(connection.id, ErrorKind.STALLED, backoff=backoff)
                self.failed(connection, deaf, now)
                if connection.opened_at >= self._stretched_at:
                    self._multiplier.double()
                    self._stretched_at = now
        for provider in self._selector.outage_candidates(now):
            due_at = self._next_attempt_at.setdefault(provider.name, now)
            if now >= due_at and self._may_attempt(provider, now):
                self._pool.open(provider, Role.RECONNECT, now)
                # The attempt plans the next one itself when it fails; this is for one that hangs.
                interval = max(backoff, self._retry.wait_max, self._retry.min_attempt_interval)
                self._next_attempt_at[provider.name] = now + interval

    def working_reconnect(self, now: float) -> Connection | None:
        """Return the most preferred reconnect that works although it has no words."""
        names = self._selector.names
        attempts = sorted(self.reconnects, key=lambda c: names.index(c.traits.name))
        return next((c for c in attempts if self._works(c, now)), None)

    def route_changed(self, now: float) -> None:
        """Drop the attempts: other providers serve from now on, and are tried at once."""
        for connection in self.reconnects:
            self._pool.close(connection, SwitchReason.LANGUAGE, now)
        self._next_attempt_at.clear()

    def deadlines(self, now: float) -> list[float]:
        """Return when there may be something to do without any input."""
        due = [self.limit_at]
        planned = self._next_attempt_at
        candidates = self._selector.outage_candidates(now)
        due += [planned[provider.name] for provider in candidates if provider.name in planned]
        for connection in self.reconnects:
            due.append(connection.opened_at + self._connected_after)
            if stall := self._next_stall(connection):
                due.append(stall.due)
        return due

    def _schedule(self, name: str, since: float, now: float, backoff: float) -> None:
        """Plan the next attempt, `backoff` seconds after `since`, when the last one began."""
        # Locked providers are tried only if all are locked. Only the user can mend their
        # credentials, so frequent attempts do not help.
        if self._selector.is_locked(name, now):
            backoff = max(backoff, self._break_duration)
        # An attempt that hung has lasted longer than the wait already: a wait on top of that would
        # notice a recovery late (test_recovery_is_noticed_within_a_second).
        earliest = since + max(backoff, self._retry.min_attempt_interval)
        self._next_attempt_at[name] = max(earliest, now, self._selector.retry_at(name))

    def _may_attempt(self, provider: ProviderTraits, now: float) -> bool:
        """Return whether another attempt makes sense: not beside one that is connected."""
        attempts = [c for c in self.reconnects if c.traits.name == provider.name]
        if any(self._is_connected(c, now) for c in attempts):
            return False
        return len(attempts) < self._retry.max_concurrent_attempts

    def _is_connected(self, connection: Connection, now: float) -> bool:
        if connection.connecting:
            return False
        return now >= connection.opened_at + self._connected_after

    def _works(self, connection: Connection, now: float) -> bool:
        if not self._is_connected(connection, now):
            return False
        return not self._pool.has_pending_words() or self._is_silent(connection, now)

    def _is_silent(self, connection: Connection, now: float) -> bool:
        """Return whether an attempt had its time, and has no words for the pending speech."""
        stall = self._next_stall(connection)
        return self._is_connected(connection, now) and stall is not None and now >= stall.due

    def _next_stall(self, connection: Connection) -> StallDeadline | None:
        return connection.stall_detector.next_stall(
            self._ledger, connection.cursor, self._multiplier.value
        )
