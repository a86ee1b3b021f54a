"""The lease for a probe: one probe of a provider at a time, among all streams and processes.

A process that is alone grants the lease to itself. With a shared store, the store grants it, and
its answer takes a round trip. `acquire` cannot wait, so it is called with every frame of audio:

1. `acquire` returns `False` and sets `wanted`.
2. The sync sees `wanted`, calls `mark_requested`, and asks the store.
3. It passes the answer to `record_grant` or `record_refusal`.
4. After a grant the next `acquire` returns `True`. A grant that is not taken within
   `BreakerPolicy.probe_grant_timeout` has to be returned.
5. Once `must_return` is true, the sync gives the lease back and calls `mark_returned`.
"""

from __future__ import annotations

import math

from ..policy import BreakerPolicy


class ProbeLease:
    """A provider's lease as one process has it. Times (`now`) are seconds on the caller's clock."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self.shared = False
        """Whether a store has to grant the lease."""
        self.wanted = False
        """Whether the store should be asked for it."""
        self.until = -math.inf
        """When it may be asked for again."""
        self._granted_until = -math.inf
        """Until when a grant can be taken."""
        self._may_be_stored = False
        """Whether the store may hold the lease in this process's name."""

    def __repr__(self) -> str:
        return f"ProbeLease(until={self.until}, shared={self.shared}, wanted={self.wanted})"

    @property
    def longest(self) -> float:
        """Seconds for which the store has to hold a lease: the wait for a taker, and the probe."""
        return self._policy.probe_timeout + self._policy.probe_grant_timeout

    def acquire(self, now: float) -> bool:
        """Take the lease for `BreakerPolicy.probe_timeout` seconds, if it is available."""
        if self.shared and now >= self._granted_until:
            self.wanted = True
            return False
        self.wanted = False
        self._granted_until = -math.inf
        self.until = now + self._policy.probe_timeout
        return True

    def release(self) -> None:
        """End the probe's use of the lease."""
        self.until = -math.inf

    # -- for the sync with a store

    def mark_requested(self) -> None:
        """Note that the store is asked. If its answer is lost, it may hold the lease for us."""
        self._may_be_stored = True

    def record_grant(self, now: float) -> None:
        """Note that the store holds the lease for this process."""
        self.wanted = False
        self._granted_until = now + self._policy.probe_grant_timeout

    def record_refusal(self, now: float) -> None:
        """Note that the store holds the lease for another process, which probes meanwhile."""
        self.wanted = self._may_be_stored = False
        self.until = now + self._policy.probe_refusal_cooldown

    def must_return(self, now: float) -> bool:
        """Whether the store may hold the lease for this process although no stream here uses it."""
        return self._may_be_stored and now >= max(self.until, self._granted_until)

    def mark_returned(self) -> None:
        """Note that the store does not hold the lease for this process any more."""
        self._may_be_stored = False

    def store_lost(self) -> None:
        """Grant the lease locally from now on, because the store cannot be reached."""
        self.shared = self.wanted = False
