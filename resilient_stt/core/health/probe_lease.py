"""The lease to probe a provider: one probe at a time, of all streams, or of all processes."""

from __future__ import annotations

import math

GRANT_TIMEOUT = 0.5
"""Seconds in which a grant is taken, or given back: who asked does so again with the next frame."""
REFUSAL_COOLDOWN = 1.0
"""Seconds after a refusal in which the store is not asked again: others probe."""


class ProbeLease:
    """Alone a process grants it to itself at once; beside others a store grants it first.

    The store's answer takes a while: so the first to ask is refused, and it is wanted from then on.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long a probe may take."""
        self.seconds = seconds
        self.shared = False
        """Whether a store has to grant it first."""
        self.wanted = False
        self.until = -math.inf
        """When it may be asked for again."""
        self._granted = -math.inf
        """Until when it can be taken."""
        self._claimed = False
        """The store may hold it in our name."""

    def __repr__(self) -> str:
        return f"ProbeLease(until={self.until}, shared={self.shared}, wanted={self.wanted})"

    def take(self, now: float) -> bool:
        """Take it, if it is to be had."""
        if self.shared and now >= self._granted:
            self.wanted = True
            return False
        self.wanted = False
        self._granted = -math.inf
        self.until = now + self.seconds
        return True

    def release(self) -> None:
        """It is not needed any more."""
        self.until = -math.inf

    # --- for who deals with the store ---

    def claimed(self) -> None:
        """The store is asked; should its answer get lost, it may hold it for us."""
        self._claimed = True

    def granted(self, now: float) -> None:
        """The store holds it for us."""
        self.wanted = False
        self._granted = now + GRANT_TIMEOUT

    def refused(self, now: float) -> None:
        """The store holds it for somebody else."""
        self.wanted = self._claimed = False
        self.until = now + REFUSAL_COOLDOWN

    def surplus(self, now: float) -> bool:
        """Whether the store may hold it for us in vain."""
        return self._claimed and now >= max(self.until, self._granted)

    def returned(self) -> None:
        """The store does not hold it for us any more."""
        self._claimed = False

    def store_lost(self) -> None:
        """There is no store to ask."""
        self.shared = self.wanted = False
