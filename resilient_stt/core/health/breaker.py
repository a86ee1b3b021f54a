"""A provider's health as a transition table.

Belongs to `ResilientSTT`, not to a stream: LiveKit opens a new stream for every cleared turn, so
health that lived in a stream would be forgotten. What may go into the table: states and signals
only. Counting, times and thresholds are the methods' business.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from ..events import ErrorKind
from ..policy import BreakerPolicy
from .outcome_window import OutcomeWindow
from .probe_lease import ProbeLease
from .report import HealthReport, LocalObservations


class BreakerState(StrEnum):
    """Whether a provider is given traffic (closed), probes (half-open), or nothing."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    LOCKED = "locked"


class BreakerSignal(StrEnum):
    """What changes a breaker's state."""

    SUCCESS = "success"
    TRIP = "trip"
    LOCK = "lock"
    COOLED = "cooled"


TRANSITIONS: dict[tuple[BreakerState, BreakerSignal], BreakerState] = {
    (BreakerState.CLOSED, BreakerSignal.SUCCESS): BreakerState.CLOSED,
    (BreakerState.CLOSED, BreakerSignal.TRIP): BreakerState.OPEN,
    (BreakerState.CLOSED, BreakerSignal.LOCK): BreakerState.LOCKED,
    (BreakerState.CLOSED, BreakerSignal.COOLED): BreakerState.CLOSED,
    (BreakerState.OPEN, BreakerSignal.SUCCESS): BreakerState.CLOSED,
    (BreakerState.OPEN, BreakerSignal.TRIP): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerSignal.LOCK): BreakerState.LOCKED,
    (BreakerState.OPEN, BreakerSignal.COOLED): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerSignal.SUCCESS): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerSignal.TRIP): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerSignal.LOCK): BreakerState.LOCKED,
    (BreakerState.HALF_OPEN, BreakerSignal.COOLED): BreakerState.HALF_OPEN,
    (BreakerState.LOCKED, BreakerSignal.SUCCESS): BreakerState.CLOSED,
    (BreakerState.LOCKED, BreakerSignal.TRIP): BreakerState.LOCKED,
    (BreakerState.LOCKED, BreakerSignal.LOCK): BreakerState.LOCKED,
    (BreakerState.LOCKED, BreakerSignal.COOLED): BreakerState.HALF_OPEN,
}

PREFERENCE = {
    BreakerState.CLOSED: 0,
    BreakerState.HALF_OPEN: 1,
    BreakerState.OPEN: 2,
    BreakerState.LOCKED: 3,
}
"""The order in which providers are preferred; within it, the route's."""

MIN_RETRY_AFTER = 1.0
"""`Retry-After` is in whole seconds; who answers a thousandth would be probed without a pause."""

_ACCOUNT_ERRORS = (ErrorKind.AUTH, ErrorKind.QUOTA)


class Breaker:
    """One provider's health. `now` is seconds on one clock of the caller's, and never goes back."""

    def __init__(self, policy: BreakerPolicy, jitter: float = 0.0) -> None:
        """`jitter`: -1 to 1, drawn once: the processes of a fleet do not come back in step."""
        if not -1 <= jitter <= 1:
            raise AssertionError(f"jitter is a number from -1 to 1, got {jitter!r}")
        self._policy = policy
        self._jitter = policy.jitter * jitter
        self._state = BreakerState.CLOSED
        self._until = -math.inf
        self._trips = 0
        self._outcomes = OutcomeWindow(policy)
        self._slow = 0
        """Slow finals in a row, while closed."""
        self._for_slowness = False
        """Why it is open."""
        self._failed_at: float | None = None
        """The last failure since health was proved."""
        self._healthy_since: float | None = None
        self._passes = 0
        """Probes that passed since the last failure."""
        self.observations = LocalObservations()
        self.probe_lease = ProbeLease(policy.probe_timeout)
        self.notify: Callable[[], None] = lambda: None
        """Called when there is something that other processes are to know, or to grant, at once."""

    def __repr__(self) -> str:
        return f"Breaker({self._state.value}, trips={self._trips}, until={self._until})"

    # --- what is asked ---

    def state(self, now: float) -> BreakerState:
        """The state at `now`; an open or locked breaker cools into a half-open one."""
        if self._state in (BreakerState.OPEN, BreakerState.LOCKED) and now >= self._until:
            self._apply(BreakerSignal.COOLED)
        return self._state

    def admits(self, now: float) -> bool:
        """Whether the provider may be given traffic."""
        return self.state(now) is BreakerState.CLOSED

    def is_proven(self, now: float) -> bool:
        """Whether nothing failed since health was proved; what is sound is closed."""
        return self._failed_at is None

    def probe_at(self, now: float) -> float | None:
        """When a probe may be made, `now` at the earliest; `None` if there is nothing to prove."""
        if self._failed_at is None:
            return None
        due = self._until  # of a half-open one: gone by
        if self._state is BreakerState.CLOSED:
            due = self._failed_at + self._jittered(self._policy.break_duration)
        return max(now, due, self.probe_lease.until)

    # --- what traffic showed ---

    def record_text(self, now: float) -> None:
        """The provider gave text.

        That closes a breaker at once, but for one that is open for slowness: slow finals are text.
        """
        if self.state(now) is not BreakerState.OPEN or not self._for_slowness:
            self._prove_healthy(now)

    def record_failure(self, kind: ErrorKind, now: float, retry_after: float | None = None) -> None:
        """A leg failed, or a probe. A bad request says nothing about the provider's health.

        Nor is a probe's lease given back for one: the next probe would get the same answer at once.
        What fails while it is open does not keep it open for longer: all streams of a process lose
        their legs at the same time, and where all providers are bad they are tried all the same.
        """
        if kind is ErrorKind.BAD_REQUEST:
            return
        state = self.state(now)
        self._mark_unproven(now)
        if kind in _ACCOUNT_ERRORS:
            # never earlier: that is what the owner was told
            self._open(
                BreakerSignal.LOCK, now + self._policy.auth_cooldown * (1 + abs(self._jitter))
            )
            self._publish(now)
        elif kind is ErrorKind.RATE_LIMITED:
            self._open(BreakerSignal.TRIP, now + self._rate_limit(retry_after))
            self._publish(now)
        elif state is BreakerState.HALF_OPEN or (
            state is BreakerState.CLOSED and self._outcomes.failure(now)
        ):
            self._trip(now)

    def record_slow_final(self, now: float) -> None:
        """A final came late."""
        if not self.admits(now):
            return
        self._slow += 1
        if self._slow >= self._policy.slow_call_threshold:
            self._mark_unproven(now)
            self._trip(now, slow=True)

    def record_timely_final(self, now: float) -> None:
        """A final came in time, which closes a breaker that is open for slowness."""
        self._slow = 0
        self.observations.timely_final_at = now
        if self._for_slowness:
            self._for_slowness = False
            self._prove_healthy(now)

    # --- probes: one at a time ---

    def acquire_probe(self, now: float) -> bool:
        """Take the lease to make a probe, if one may be made.

        Where other processes have a say, the first to ask is told no: ask again.
        """
        at = self.probe_at(now)
        if at is None or at > now:
            return False
        known = self.probe_lease.wanted
        taken = self.probe_lease.take(now)
        if self.probe_lease.wanted and not known:
            self.notify()
        return taken

    def release_probe(self, now: float) -> None:
        """A probe ended without a verdict."""
        self.probe_lease.release()
        if self.probe_lease.surplus(now):
            self.notify()

    def probe_passed(self, now: float) -> None:
        """A probe heard words in time; enough of them are as good as text from traffic."""
        self.release_probe(now)
        self.observations.timely_final_at = now
        self._passes += 1
        if self._passes >= self._policy.success_threshold:
            self._prove_healthy(now)
        elif self._state is not BreakerState.CLOSED:
            self._publish(now)

    # --- what other processes found ---

    def adopt(self, verdict: HealthReport, now: float) -> bool:
        """Take over what another process found.

        Returns whether it is newer than what this one has seen otherwise; else nothing changes.
        """
        if self.observations.contradicts(verdict):
            return False
        if verdict.healthy:
            # as of text from here: text alone does not close one that is open for slowness
            if verdict.slow or self.state(now) is not BreakerState.OPEN or not self._for_slowness:
                self.observations.report = None
                self._close(now)
            return True
        self.observations.report = None
        self._failed_at = verdict.at
        self._healthy_since = None
        self._trips = max(self._trips, verdict.trips)
        self._open(BreakerSignal.LOCK if verdict.locked else BreakerSignal.TRIP, verdict.until)
        self._passes = verdict.passes
        self._for_slowness = verdict.slow
        return True

    # --- what follows ---

    def _prove_healthy(self, now: float) -> None:
        """Health is proved."""
        was = self._state
        self._close(now)
        self.observations.proved_healthy(now)
        if was is not BreakerState.CLOSED:
            self.notify()

    def _close(self, now: float) -> None:
        self._apply(BreakerSignal.SUCCESS)
        self._outcomes.success(now)
        self._failed_at = None
        self._reset_backoff(now)

    def _publish(self, now: float) -> None:
        """What this process has found is for others, too."""
        self.observations.report = HealthReport(
            at=now,
            healthy=False,
            until=self._until,
            locked=self._state is BreakerState.LOCKED,
            trips=self._trips,
            passes=self._passes,
            slow=self._for_slowness,
        )
        self.notify()

    def _mark_unproven(self, now: float) -> None:
        """Health must be proved again."""
        self._failed_at = self.observations.failure_at = now
        self._healthy_since = None
        self._passes = 0
        self.release_probe(now)

    def _trip(self, now: float, *, slow: bool = False) -> None:
        open_for = math.ldexp(self._policy.break_duration, self._trips)
        if open_for < self._policy.max_break_duration:
            self._trips += 1
        self._open(
            BreakerSignal.TRIP, now + self._jittered(min(open_for, self._policy.max_break_duration))
        )
        self._for_slowness = slow
        self._publish(now)

    def _open(self, signal: BreakerSignal, until: float) -> None:
        """Open or lock, never for shorter than it already is; what led here counts no more."""
        if self._state in (BreakerState.OPEN, BreakerState.LOCKED):
            until = max(until, self._until)
        self._apply(signal)
        self._until = until
        self._outcomes = OutcomeWindow(self._policy)
        self._slow = 0
        self._for_slowness = False

    def _reset_backoff(self, now: float) -> None:
        if self._healthy_since is None:
            self._healthy_since = now
        while self._trips and now - self._healthy_since >= self._policy.backoff_reset_after:
            self._trips -= 1
            self._healthy_since += self._policy.backoff_reset_after

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self._jitter)

    def _rate_limit(self, retry_after: float | None) -> float:
        """What a server says may be anything. What is sensible is obeyed: jitter only adds."""
        if retry_after is None or not 0 < retry_after < math.inf:
            return self._jittered(self._policy.break_duration)
        wait = max(MIN_RETRY_AFTER, min(retry_after, self._policy.max_retry_after))
        return wait * (1 + abs(self._jitter))

    def _apply(self, signal: BreakerSignal) -> None:
        self._state = TRANSITIONS[self._state, signal]
