"""What processes report to each other about a provider's health, and how reports are weighed.

Two rules keep a report from doing harm:

- Clocks of two machines are never compared. A report is stamped with the store's clock, and each
  process relates that clock to its own with every round trip (`ClockSample`). A round trip leaves
  an uncertainty; a report is dated too early rather than too late, so that it undoes nothing that
  came after it.
- What a process has observed itself is never undone by an older report (`LocalObservations`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

_MICROSECOND = 1e-6
MAX_UNREPORTED = 64
"""Failures that are kept for a store that cannot be reached. A memory bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """A provider's health as one process found it.

    Times are seconds on the clock of the process that holds the report.
    """

    at: float
    """When it was found."""
    healthy: bool
    until: float = -math.inf
    """When the break ends, if the provider is not healthy."""
    locked: bool = False
    """Whether the provider refused the account."""
    trips: int = 0
    """How many times the next break is doubled."""
    passes: int = 0
    """Probes that have passed since the last failure."""
    slow: bool = False
    """If not healthy: because its finals come late. If healthy: its finals come in time."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """The newest report of a fleet, as it was read from the store."""

    report: HealthReport
    """Its times are on this process's clock, and rather too early than too late."""
    origin: str
    """The `HealthReplica` that found it."""
    stamp: int
    """When it was found, in microseconds on the store's clock."""
    read_at: int
    """When it was read, in microseconds on the store's clock."""
    uncertainty: float = 0.0
    """Seconds by which its times may be too early."""


@dataclass(frozen=True, slots=True)
class OperatorLock:
    """A lock that a person set in the store, such as for the time of a maintenance."""

    until: float
    """When it ends, in seconds on this process's clock."""
    stamp: int
    """The same in microseconds on the store's clock, by which a lock is known again."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClockSample:
    """One reading of the store's clock, made between `sent` and `received` on this process's."""

    stamp: int
    """The reading, in microseconds."""
    sent: float
    received: float

    @property
    def uncertainty(self) -> float:
        """Seconds by which a converted time may be too early: the length of the round trip."""
        return self.received - self.sent

    def to_store(self, at: float) -> int:
        """Convert a time of this process to the store's clock."""
        return self.stamp + math.floor((at - self.received) / _MICROSECOND)

    def to_deadline(self, stamp: int) -> float:
        """Convert a time of the store that may be in the future, rather too early than too late."""
        return self.sent + (stamp - self.stamp) * _MICROSECOND

    def to_local(self, stamp: int) -> float:
        """Convert a time of the store to this process's clock; a future time becomes now."""
        return self.sent - max(0, self.stamp - stamp) * _MICROSECOND


@dataclass(slots=True)
class LocalObservations:
    """What this process itself has seen of a provider, and when; -inf if never."""

    health_proved_at: float = -math.inf
    timely_final_at: float = -math.inf
    failure_at: float = -math.inf
    report: HealthReport | None = None
    """The last trip that this process saw, unless health was proved since."""
    failures: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MAX_UNREPORTED))
    """(number, when) of the failures that the store was not given yet, oldest first."""
    _failures_seen: int = 0

    def record_outcome(self, now: float) -> None:
        """Note a failure that counts, to be told to the fleet."""
        self._failures_seen += 1
        self.failures.append((self._failures_seen, now))

    def record_health(self, now: float) -> None:
        """Note that health was proved here."""
        self.health_proved_at = now
        self.report = None

    def contradicts(self, report: HealthReport) -> bool:
        """Whether this process has seen something since that refutes another one's report."""
        if report.healthy:
            return self.failure_at >= report.at
        # A failure that opened nothing does not refute a trip: in an outage all processes fail at
        # once. A report of our own does: ours is the newer one.
        own = self.report.at if self.report else -math.inf
        return max(own, self._last_proof_against(report)) >= report.at

    def rebuttal(self, report: HealthReport, uncertainty: float) -> HealthReport | None:
        """A report of health that refutes `report`, if this process has seen a proof since.

        `uncertainty` is the seconds by which `report` may be younger than it seems.
        """
        latest = report.at + uncertainty
        proved_at = self._last_proof_against(report)
        if report.healthy or proved_at <= latest:
            return None
        return HealthReport(at=proved_at, healthy=True, slow=self.timely_final_at > latest)

    def _last_proof_against(self, report: HealthReport) -> float:
        """When the last thing was seen that speaks against a report of failures or slowness.

        During a break for slowness text proves nothing, because late finals are text, too.
        """
        if not report.slow or self.health_proved_at >= report.until:
            return self.health_proved_at
        return self.timely_final_at
