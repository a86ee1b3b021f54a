"""A provider's health in a fleet: what is told to the others, and what of theirs is taken over."""

from __future__ import annotations

from dataclasses import dataclass

from .health import Health
from .verdict import Verdict


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest verdict of a fleet, as it was read from the store."""

    verdict: Verdict
    """Its times are on our clock, and rather too early than too late."""
    origin: str
    """Whose it is."""
    stamp: int
    """When it was found, in microseconds on the store's clock."""
    read: int
    """When it was read, on the same clock."""
    within: float = 0.0
    """Seconds by which its times may be too early."""


class Member:
    """One process's part. The store keeps the newest verdict of all, by its own clock.

    Only what this process has seen itself is told: what was taken over from others is not, so that
    no verdict comes back as another one.
    """

    def __init__(self, health: Health, origin: str) -> None:
        """`origin`: the name of this process; no other has it."""
        self.health = health
        self.origin = origin
        self._stored: Stored | None = None
        self._told: Verdict | None = None
        """The last that the store was told."""
        self._stamp = 0

    def __repr__(self) -> str:
        return f"Member({self.origin}, {self.health.breaker!r})"

    def news(self) -> Verdict | None:
        """What the store is to be told."""
        own = self.health.breaker.seen.verdict
        if own is not None:
            return own if own is not self._told else None
        if self._stored is None:
            return None
        return self.health.breaker.seen.answer(*self._known(self._stored))

    def told(self, verdict: Verdict, *, kept: bool) -> None:
        """The store has been told; `kept`: it knew nothing newer.

        A proof that came too late may be followed by another.
        """
        if kept or not verdict.well:
            self._told = verdict

    def read(self, stored: Stored | None, now: float) -> None:
        """What the store says; each verdict of others is taken over once at most.

        One that seems too old is looked at again: the next answer may date it better.
        """
        self._stored = stored
        if stored is None:
            self._told = None  # it has forgotten what it was told: it was restarted, unnoticed
        if stored is None or stored.origin == self.origin or self._is_old(stored):
            return
        if self.health.breaker.adopt(stored.verdict, now):
            self._stamp = stored.stamp

    def together(self) -> None:
        """The store answers."""
        self.health.breaker.probes.shared = True

    def leave(self) -> None:
        """Nobody here makes a probe any more."""
        self.health.breaker.probes.release()

    def owes(self, now: float) -> bool:
        """Whether there is anything to be told, or to be given back."""
        return bool(
            self.news() or self.health.latency.news or self.health.breaker.probes.surplus(now)
        )

    def alone(self) -> None:
        """The store cannot be reached; when it is back, it may have forgotten everything."""
        self._stored = self._told = None
        self.health.breaker.probes.alone()
        self.health.latency.share(())

    def _is_old(self, stored: Stored) -> bool:
        """A stamp that is still to come was made before the store's clock was set back."""
        return stored.stamp <= self._stamp <= stored.read

    def _known(self, stored: Stored) -> tuple[Verdict, float]:
        """Of our own we know exactly when it was found."""
        if self._told is not None and stored.origin == self.origin:
            return self._told, 0.0
        return stored.verdict, stored.within
