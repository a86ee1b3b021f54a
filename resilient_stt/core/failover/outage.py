"""No provider works: all that are not locked are tried, several at once."""

from __future__ import annotations

from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import ErrorKind
from ..messages import ConnectionFailed, Role
from ..policy import ProviderTraits

MIN_ATTEMPT_INTERVAL = 0.1
"""Seconds between two attempts on a provider, at least, whatever the caller draws."""


class Outage:
    """From the moment nobody was left to try until one gives text or proves to be connected."""

    def __init__(self, pool: ConnectionPool, since: float, now: float, wait: float) -> None:
        """`since`: when it began; `backoff`: seconds before the first attempts."""
        self._pool = pool
        self._retry = pool.policies.retry
        self._connected_after = self._retry.connect_timeout + pool.policies.watchdog.connect_grace
        self.since = since
        self._next_attempt_at: dict[str, float] = {}
        self._reported: set[tuple[str, ErrorKind, str]] = set()
        for provider in pool.selector.outage_candidates(now):
            self._schedule(provider.name, now, wait)

    def __repr__(self) -> str:
        return f"Outage(since={self.since}, next={self._next_attempt_at})"

    @property
    def limit_at(self) -> float:
        """When the stream gives up."""
        return self.since + self._retry.outage_limit

    def failed(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        """An attempt failed; of many that fail alike only the first is told."""
        what = connection.traits.name, failure.kind, failure.detail
        self._pool.fail(connection, failure, now, known=what in self._reported)
        self._reported.add(what)
        self._schedule(connection.traits.name, now, failure.backoff)

    def step(self, now: float, wait: float) -> Connection | None:
        """Open the attempts that are due; returns a leg that works although nobody speaks."""
        for provider in self._pool.selector.outage_candidates(now):
            if now >= self._next_attempt_at.setdefault(provider.name, now) and self._may_attempt(
                provider, now
            ):
                self._pool.open(provider, Role.RECONNECT, now)
                self._next_attempt_at[provider.name] = now + max(
                    wait, self._retry.wait_max, MIN_ATTEMPT_INTERVAL
                )
        return next(
            (connection for connection in self._by_preference() if self._works(connection, now)),
            None,
        )

    def route_changed(self) -> None:
        """Others serve from now on, and are tried at once."""
        for connection in self.reconnects:
            self._pool.close(connection)
        self._next_attempt_at.clear()

    def deadlines(self, now: float) -> list[float]:
        """When `step` may have something to do without any input."""
        due = [self.limit_at]
        due += [
            self._next_attempt_at[p.name]
            for p in self._pool.selector.outage_candidates(now)
            if p.name in self._next_attempt_at
        ]
        for connection in self.reconnects:
            due.append(connection.opened_at + self._connected_after)
            if stall := connection.stall_detector.next_stall(self._pool.ledger, connection.cursor):
                due.append(stall.due)
        return due

    @property
    def reconnects(self) -> list[Connection]:
        """The attempts that are under way."""
        return [connection for connection in self._pool if connection.role is Role.RECONNECT]

    def _schedule(self, name: str, now: float, wait: float) -> None:
        if self._pool.selector.is_locked(name, now):  # all are: asking often helps nobody
            wait = max(wait, self._pool.policies.breaker.break_duration)
        self._next_attempt_at[name] = now + max(wait, MIN_ATTEMPT_INTERVAL)

    def _by_preference(self) -> list[Connection]:
        names = self._pool.selector.names
        return sorted(self.reconnects, key=lambda connection: names.index(connection.traits.name))

    def _may_attempt(self, provider: ProviderTraits, now: float) -> bool:
        """One that hangs must not keep the next from being tried; one that is connected does."""
        pending = [
            connection for connection in self.reconnects if connection.traits.name == provider.name
        ]
        connected = any(self._connected(connection, now) for connection in pending)
        return not connected and len(pending) < self._retry.max_concurrent_attempts

    def _connected(self, connection: Connection, now: float) -> bool:
        return now >= connection.opened_at + self._connected_after

    def _works(self, connection: Connection, now: float) -> bool:
        """Connected, and owing nothing; or owing what it had time enough to tell: noise, or the
        best there is."""
        if not self._connected(connection, now):
            return False
        if not self._pool.has_pending_words():
            return True
        stall = connection.stall_detector.next_stall(self._pool.ledger, connection.cursor)
        return stall is not None and now >= stall.due
