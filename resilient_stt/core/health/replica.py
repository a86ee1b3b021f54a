"""One process's copy of a provider's health in a fleet: what it reports, and what it takes over.

The store keeps the newest report of all processes, by its own clock. A process reports only what it
has seen itself, or found in the outcomes of all. What it took over from others is not reported
again, so that no report comes back as a new one.

It also keeps the outcomes that may become a report: failures as soon as they happen, and text only
while there are failures that it speaks against. So a healthy fleet writes no outcomes at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .outcomes import FleetOutcomes
from .provider import ProviderHealth
from .report import HealthReport, OperatorLock, StoredReport


class HealthReplica:
    """Keeps one `ProviderHealth` in step with the store. The sync calls it; it does no I/O."""

    def __init__(self, health: ProviderHealth, origin: str) -> None:
        """`origin`: the name of this replica; no other process may use it."""
        self.health = health
        self.origin = origin
        self._stored: StoredReport | None = None
        self._reported: HealthReport | None = None
        """The last report of our own that was sent to the store."""
        self._adopted_stamp = 0
        """The stamp of the last report that was taken over."""
        self._fleet_fails = False
        """Whether the store had failures at the last round trip."""
        self._texts_reported_to = -math.inf
        """The last text that the store was given."""

    def __repr__(self) -> str:
        return f"HealthReplica({self.origin}, {self.health.breaker!r})"

    # -- what the store has to be sent

    def unreported(self) -> HealthReport | None:
        """The report that the store should be sent, if there is one."""
        observations = self.health.breaker.observations
        if observations.report is not None:
            return observations.report if observations.report is not self._reported else None
        if self._stored is None:
            return None
        return observations.rebuttal(*self._dated(self._stored))

    def mark_reported(self, report: HealthReport, *, kept: bool) -> None:
        """Note that the store was sent a report; `kept` says that it had no newer one."""
        # A report of health that came too late is not remembered: there may be a newer proof.
        if kept or not report.healthy:
            self._reported = report

    def unreported_failures(self, now: float) -> list[tuple[str, float]]:
        """(name in the store, when) of the failures that the store should be sent."""
        horizon = now - self.health.breaker.window
        return [
            (f"{self.origin}.{number}", at)
            for number, at in self.health.breaker.observations.failures
            if at > horizon
        ]

    def mark_failures_reported(self, last: str) -> None:
        """Note that the store has the failures up to the one that is called `last` there."""
        failures = self.health.breaker.observations.failures
        number = int(last.rpartition(".")[2])
        while failures and failures[0][0] <= number:
            failures.popleft()

    def unreported_texts(self, now: float) -> list[float]:
        """When there was text that speaks against failures in the store, oldest first."""
        if not (self._fleet_fails or self.unreported_failures(now)):
            return []
        horizon = now - self.health.breaker.window
        return self.health.breaker.texts_after(max(horizon, self._texts_reported_to))

    def mark_texts_reported(self, last: float) -> None:
        """Note that the store has the texts up to the one at `last`."""
        self._texts_reported_to = last

    def has_updates(self, now: float) -> bool:
        """Whether the store should be sent a report or outcomes, or get a lease back."""
        return bool(
            self.unreported()
            or self.unreported_failures(now)
            or self.unreported_texts(now)
            or self.health.latency.unreported
            or self.health.breaker.probe_lease.must_return(now)
        )

    # -- what the store said

    def apply_stored(self, stored: StoredReport | None, now: float) -> None:
        """Take over the store's newest report (`None`: it has none), each at most once."""
        self._stored = stored
        if stored is None:
            self._reported = None  # the store was restarted, and has forgotten what it was sent
        if stored is None or stored.origin == self.origin or self._was_adopted(stored):
            return
        # A report that seems too old is looked at again: the next round trip may date it better.
        if self.health.breaker.adopt(stored.report, now):
            self._adopted_stamp = stored.stamp

    def apply_lock(self, lock: OperatorLock | None) -> bool:
        """Take over an operator's lock (`None`: there is none); return whether that is news.

        It stays in force while the store is away: it has an end.
        """
        breaker = self.health.breaker
        known = breaker.operator_lock
        if known == lock or (known and lock and known.stamp == lock.stamp):
            return False
        breaker.operator_lock = lock
        return True

    def apply_outcomes(
        self, failures: Sequence[tuple[str, float]], texts: Sequence[float], now: float
    ) -> None:
        """Count the outcomes in the store; those of this process are known here already.

        Args:
            failures: (name, when) of each.
            texts: when text came.
            now: seconds on the caller's clock.
        """
        self._fleet_fails = bool(failures)
        others = [at for name, at in failures if not name.startswith(f"{self.origin}.")]
        self.health.breaker.share_outcomes(FleetOutcomes(tuple(others), tuple(texts)), now)

    def store_connected(self) -> None:
        """Note that the store answers: from now on it grants the probe's lease."""
        self.health.breaker.probe_lease.shared = True

    def store_lost(self) -> None:
        """Go on alone. When the store is back, it may have forgotten everything."""
        self._stored = self._reported = None
        self._fleet_fails, self._texts_reported_to = False, -math.inf
        self.health.breaker.forget_others()
        self.health.breaker.probe_lease.store_lost()
        self.health.latency.share(())

    def leave(self) -> None:
        """Release the probe's lease, because this process makes no probe any more."""
        self.health.breaker.probe_lease.release()

    # -- inside

    def _was_adopted(self, stored: StoredReport) -> bool:
        """Whether a report is not newer than the one that was taken over last.

        If the last one's stamp is in the store's future, the store's clock was set back, and stamps
        from before cannot be compared.
        """
        return stored.stamp <= self._adopted_stamp <= stored.read_at

    def _dated(self, stored: StoredReport) -> tuple[HealthReport, float]:
        """A report and the uncertainty of its times; those of our own are exact."""
        if self._reported is not None and stored.origin == self.origin:
            return self._reported, 0.0
        return stored.report, stored.uncertainty
