"""Coming back: the probe of a provider that recovers, and the moment to move."""

from __future__ import annotations

import math

from ..events import Recovered
from .commands import FlushLeg, Role
from .inputs import ErrorKind, LegFailed, Said, SaidKind
from .leg import Leg
from .legs import Legs
from .policy import Provider

LATEST_START = 1.0
"""Seconds into an utterance at which a probe may still begin."""


class Failback:
    """Decides when a stream moves from a healthy leg to another provider: never in mid-turn."""

    def __init__(self, legs: Legs) -> None:
        self._legs = legs
        self._policy = legs.policies.failback
        self._since = 0.0
        self._returned = -math.inf
        self._draining: float | None = None

    def __repr__(self) -> str:
        return f"Failback(since={self._since}, draining={self._draining})"

    def served(self, now: float) -> None:
        """Another leg serves from now on."""
        self._since = now
        self._draining = None

    def returned(self, now: float) -> None:
        """The stream has come back to a preferred provider."""
        self._returned = now

    def step(self, active: Leg, now: float) -> tuple[Provider, str] | None:
        """Where to move now and why: between two words off a slow provider, for what it still owes
        is replayed; back to a better one once the old leg is flushed and drained."""
        if active.slow and (target := self._faster(active, now)):
            return target, "slow"
        target = self._better(active, now) if self._at_boundary(active) else None
        if target is None:
            self._draining = None
            return None
        if self._draining is None:
            self._draining = now
            if active.provider.flushes:
                self._legs.out.append(FlushLeg(active.id))
        return (target, "failback") if now >= self._draining + self._policy.drain else None

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return [] if self._draining is None else [self._draining + self._policy.drain]

    def _faster(self, active: Leg, now: float) -> Provider | None:
        if not self._silent(active, 0.0):
            return None
        return self._legs.choice.second(active.provider, (), now, healthy=True)

    def _better(self, active: Leg, now: float) -> Provider | None:
        policy = self._policy
        dwelt = now - self._since >= policy.dwell and now - self._returned >= policy.interval
        if not (policy.enabled and dwelt):
            return None
        return self._legs.choice.preferred(active.provider, now)

    def _at_boundary(self, active: Leg) -> bool:
        return self._silent(active, self._policy.silence) and not self._legs.ledger.owes()

    def _silent(self, active: Leg, seconds: float) -> bool:
        """Whether nobody speaks, for so long."""
        ledger = self._legs.ledger
        if not ledger.hears or ledger.speaking or ledger.silent_for < seconds:
            return False
        return active.caught_up and not self._legs.input_ended


class Probe:
    """A shadow leg on a recovering provider, for the length of one utterance.

    An open socket proves nothing: only a final with words does, where the active leg heard some.
    """

    def __init__(self, legs: Legs) -> None:
        self._legs = legs
        self._leg: Leg | None = None
        self._due: float | None = None
        self._spoken = False
        """The active leg has told words since the probe began."""

    def __repr__(self) -> str:
        return f"Probe(leg={self._leg and self._leg.id}, due={self._due})"

    def step(self, active: Leg, now: float) -> None:
        """Begin a probe where somebody speaks, or end the one that had its time."""
        leg = self._leg
        if leg is None:
            self._begin(active, now)
        elif leg.provider.name == active.provider.name or now >= self._over_at(leg):
            self._conclude(leg, now)

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return [self._over_at(self._leg)] if self._leg else []

    def rival_told(self) -> None:
        """The active leg told words in a FINAL: there was something to hear."""
        self._spoken = True

    def speech_ended(self, now: float) -> None:
        """The utterance is over: its final is due."""
        leg = self._leg
        if leg is None or self._due is not None:
            return
        if leg.provider.flushes:
            self._legs.out.append(FlushLeg(leg.id))
        limit = max(leg.provider.final_after, leg.provider.turn_after)
        self._due = max(now, leg.heard_by) + limit

    def said(self, leg: Leg, said: Said, now: float) -> None:
        """A final with words passes."""
        if said.kind is not SaidKind.FINAL or not said.text.strip():
            return
        name = leg.provider.name
        breaker = self._legs.health[name].breaker
        breaker.passed(now)
        if breaker.sound(now):
            self._legs.report(Recovered(at=self._legs.at, provider=name))
            self._legs.out += self._legs.choice.recovered(name)
        self._close(leg)

    def failed(self, leg: Leg, failure: LegFailed, now: float) -> None:
        """The probe's stream broke."""
        self._leg = None
        self._legs.fail(leg, failure, now)

    def cancel(self, now: float) -> None:
        """End without a verdict."""
        if self._leg:
            self._legs.health[self._leg.provider.name].breaker.release(now)
            self._close(self._leg)

    def _begin(self, active: Leg, now: float) -> None:
        legs, ledger = self._legs, self._legs.ledger
        start = ledger.segment_start(ledger.end) if ledger.speaking else None
        if start is None or ledger.end - start > ledger.samples(LATEST_START):
            return  # with a replay before it, nobody could say whether its final comes in time
        if legs.input_ended or not (active.caught_up and legs.policies.failback.enabled):
            return
        provider = legs.choice.recovering(active.provider, now)
        if provider is not None:
            self._leg = legs.open(provider, Role.PROBE, now, max(start, ledger.start))
            self._due, self._spoken = None, False

    def _over_at(self, leg: Leg) -> float:
        return leg.opened_at + self._legs.policies.breaker.lease if self._due is None else self._due

    def _conclude(self, leg: Leg, now: float) -> None:
        if self._due is not None and self._spoken and now >= self._due:
            self.failed(leg, LegFailed(leg.id, ErrorKind.STALLED, "heard nothing"), now)
        else:
            self.cancel(now)

    def _close(self, leg: Leg) -> None:
        self._leg = None
        self._legs.close(leg)
