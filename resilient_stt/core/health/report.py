"""What a process has seen of a provider's health, and how that weighs against what others say."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """A provider's health as a process found it. Times are seconds on the clock of who has it."""

    at: float
    """When it was found."""
    healthy: bool
    until: float = -math.inf
    """How long it is left alone, if it is not well."""
    locked: bool = False
    """Its credentials were refused."""
    trips: int = 0
    passes: int = 0
    """Probes that have passed since."""
    slow: bool = False
    """It is not well because its finals come late; or it is, and they come in time."""


@dataclass(slots=True)
class LocalObservations:
    """What this process itself has seen of a provider, and when."""

    text_at: float = -math.inf
    """What proved its health."""
    timely_final_at: float = -math.inf
    """A final in time."""
    failure_at: float = -math.inf
    report: HealthReport | None = None
    """What it found that is not well, if nobody has found otherwise since."""

    def proved_healthy(self, now: float) -> None:
        """It is well."""
        self.text_at = now
        self.report = None

    def contradicts(self, verdict: HealthReport) -> bool:
        """Whether what another process found is refuted by what was seen here since."""
        if verdict.healthy:
            return self.failure_at >= verdict.at
        own = self.report.at if self.report else -math.inf
        return max(own, self._last_proof(verdict)) >= verdict.at

    def rebuttal(self, verdict: HealthReport, within: float) -> HealthReport | None:
        """The proof that a provider is well after all, if there was one here since.

        `within`: seconds by which the verdict may be younger than it seems.
        """
        known = verdict.at + within
        good = self._last_proof(verdict)
        if verdict.healthy or good <= known:
            return None
        return HealthReport(at=good, healthy=True, slow=self.timely_final_at > known)

    def _last_proof(self, verdict: HealthReport) -> float:
        """The last that speaks against it: late finals are text, so that while it is left alone
        for them, text says nothing."""
        if not verdict.slow or self.text_at >= verdict.until:
            return self.text_at
        return self.timely_final_at
