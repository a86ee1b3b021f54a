"""What a process has seen of a provider's health, and how that weighs against what others say."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A provider's health as a process found it. Times are seconds on the clock of who has it."""

    at: float
    """When it was found."""
    well: bool
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
class Seen:
    """What this process itself has seen of a provider, and when."""

    text: float = -math.inf
    """What proved its health."""
    in_time: float = -math.inf
    """A final in time."""
    failure: float = -math.inf
    verdict: Verdict | None = None
    """What it found that is not well, if nobody has found otherwise since."""

    def proved(self, now: float) -> None:
        """It is well."""
        self.text = now
        self.verdict = None

    def denies(self, verdict: Verdict) -> bool:
        """Whether what another process found is refuted by what was seen here since."""
        if verdict.well:
            return self.failure >= verdict.at
        own = self.verdict.at if self.verdict else -math.inf
        return max(own, self._good(verdict)) >= verdict.at

    def answer(self, verdict: Verdict, within: float) -> Verdict | None:
        """The proof that a provider is well after all, if there was one here since.

        `within`: seconds by which the verdict may be younger than it seems.
        """
        known = verdict.at + within
        good = self._good(verdict)
        if verdict.well or good <= known:
            return None
        return Verdict(at=good, well=True, slow=self.in_time > known)

    def _good(self, verdict: Verdict) -> float:
        """The last that speaks against it: late finals are text, so that while it is left alone
        for them, text says nothing."""
        if not verdict.slow or self.text >= verdict.until:
            return self.text
        return self.in_time
