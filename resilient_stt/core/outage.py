"""No provider works: all that are not locked are tried, several at once."""

from __future__ import annotations

from .commands import Role
from .inputs import ErrorKind, LegFailed
from .leg import Leg
from .legs import Legs
from .policy import Provider

LEAST_WAIT = 0.1
"""Seconds between two attempts on a provider, at least, whatever the caller draws."""


class Outage:
    """From the moment nobody was left to try until one gives text or proves to be connected."""

    def __init__(self, legs: Legs, since: float, now: float, wait: float) -> None:
        """`since`: when it began; `wait`: seconds before the first attempts."""
        self._legs = legs
        self._retry = legs.policies.retry
        self._connected_after = self._retry.connect_timeout + legs.policies.watchdog.settled_after
        self.since = since
        self._next: dict[str, float] = {}
        self._told: set[tuple[str, ErrorKind, str]] = set()
        for provider in legs.choice.attempts(now):
            self._later(provider.name, now, wait)

    def __repr__(self) -> str:
        return f"Outage(since={self.since}, next={self._next})"

    @property
    def limit_at(self) -> float:
        """When the stream gives up."""
        return self.since + self._retry.outage_limit

    def failed(self, leg: Leg, failure: LegFailed, now: float) -> None:
        """An attempt failed; of many that fail alike only the first is told."""
        what = leg.provider.name, failure.kind, failure.detail
        self._legs.fail(leg, failure, now, known=what in self._told)
        self._told.add(what)
        self._later(leg.provider.name, now, failure.wait)

    def step(self, now: float, wait: float) -> Leg | None:
        """Open the attempts that are due; returns a leg that works although nobody speaks."""
        for provider in self._legs.choice.attempts(now):
            if now >= self._next.setdefault(provider.name, now) and self._may_try(provider, now):
                self._legs.open(provider, Role.ATTEMPT, now)
                self._next[provider.name] = now + max(wait, self._retry.wait_max, LEAST_WAIT)
        return next((leg for leg in self._in_order() if self._works(leg, now)), None)

    def rerouted(self) -> None:
        """Others serve from now on, and are tried at once."""
        for leg in self.attempts:
            self._legs.close(leg)
        self._next.clear()

    def deadlines(self, now: float) -> list[float]:
        """When `step` may have something to do without any input."""
        due = [self.limit_at]
        due += [self._next[p.name] for p in self._legs.choice.attempts(now) if p.name in self._next]
        for leg in self.attempts:
            due.append(leg.opened_at + self._connected_after)
            if alarm := leg.watch.alarm(self._legs.ledger, leg.cursor):
                due.append(alarm.due)
        return due

    @property
    def attempts(self) -> list[Leg]:
        """The attempts that are under way."""
        return [leg for leg in self._legs if leg.role is Role.ATTEMPT]

    def _later(self, name: str, now: float, wait: float) -> None:
        if self._legs.choice.locked(name, now):  # all are: asking often helps nobody
            wait = max(wait, self._legs.policies.breaker.open_for)
        self._next[name] = now + max(wait, LEAST_WAIT)

    def _in_order(self) -> list[Leg]:
        names = self._legs.choice.names
        return sorted(self.attempts, key=lambda leg: names.index(leg.provider.name))

    def _may_try(self, provider: Provider, now: float) -> bool:
        """One that hangs must not keep the next from being tried; one that is connected does."""
        pending = [leg for leg in self.attempts if leg.provider.name == provider.name]
        connected = any(self._connected(leg, now) for leg in pending)
        return not connected and len(pending) < self._retry.attempts

    def _connected(self, leg: Leg, now: float) -> bool:
        return now >= leg.opened_at + self._connected_after

    def _works(self, leg: Leg, now: float) -> bool:
        """Connected, and owing nothing; or owing what it had time enough to tell: noise, or the
        best there is."""
        if not self._connected(leg, now):
            return False
        if not self._legs.owes_words():
            return True
        alarm = leg.watch.alarm(self._legs.ledger, leg.cursor)
        return alarm is not None and now >= alarm.due
