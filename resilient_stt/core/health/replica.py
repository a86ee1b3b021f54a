"""A provider's health in a fleet: what is told to the others, and what of theirs is taken over."""

from __future__ import annotations

from dataclasses import dataclass

from .provider import ProviderHealth
from .report import HealthReport


@dataclass(frozen=True, slots=True)
class StoredReport:
    """The newest verdict of a fleet, as it was read from the store."""

    report: HealthReport
    """Its times are on our clock, and rather too early than too late."""
    origin: str
    """Whose it is."""
    stamp: int
    """When it was found, in microseconds on the store's clock."""
    read: int
    """When it was read, on the same clock."""
    uncertainty: float = 0.0
    """Seconds by which its times may be too early."""


class HealthReplica:
    """One process's part. The store keeps the newest verdict of all, by its own clock.

    Only what this process has seen itself is told: what was taken over from others is not, so that
    no verdict comes back as another one.
    """

    def __init__(self, health: ProviderHealth, origin: str) -> None:
        """`origin`: the name of this process; no other has it."""
        self.health = health
        self.origin = origin
        self._stored: StoredReport | None = None
        self._reported: HealthReport | None = None
        """The last that the store was told."""
        self._stamp = 0

    def __repr__(self) -> str:
        return f"HealthReplica({self.origin}, {self.health.breaker!r})"

    def unreported(self) -> HealthReport | None:
        """What the store is to be told."""
        own = self.health.breaker.observations.report
        if own is not None:
            return own if own is not self._reported else None
        if self._stored is None:
            return None
        return self.health.breaker.observations.rebuttal(*self._known(self._stored))

    def mark_reported(self, verdict: HealthReport, *, kept: bool) -> None:
        """The store has been told; `kept`: it knew nothing newer.

        A proof that came too late may be followed by another.
        """
        if kept or not verdict.healthy:
            self._reported = verdict

    def read(self, stored: StoredReport | None, now: float) -> None:
        """What the store says; each verdict of others is taken over once at most.

        One that seems too old is looked at again: the next answer may date it better.
        """
        self._stored = stored
        if stored is None:
            self._reported = None  # it has forgotten what it was told: it was restarted, unnoticed
        if stored is None or stored.origin == self.origin or self._is_old(stored):
            return
        if self.health.breaker.adopt(stored.report, now):
            self._stamp = stored.stamp

    def store_connected(self) -> None:
        """The store answers."""
        self.health.breaker.probe_lease.shared = True

    def leave(self) -> None:
        """Nobody here makes a probe any more."""
        self.health.breaker.probe_lease.release()

    def has_updates(self, now: float) -> bool:
        """Whether there is anything to be told, or to be given back."""
        return bool(
            self.unreported()
            or self.health.latency.unreported
            or self.health.breaker.probe_lease.surplus(now)
        )

    def store_lost(self) -> None:
        """The store cannot be reached; when it is back, it may have forgotten everything."""
        self._stored = self._reported = None
        self.health.breaker.probe_lease.store_lost()
        self.health.latency.share(())

    def _is_old(self, stored: StoredReport) -> bool:
        """A stamp that is still to come was made before the store's clock was set back."""
        return stored.stamp <= self._stamp <= stored.read

    def _known(self, stored: StoredReport) -> tuple[HealthReport, float]:
        """Of our own we know exactly when it was found."""
        if self._reported is not None and stored.origin == self.origin:
            return self._reported, 0.0
        return stored.report, stored.uncertainty
