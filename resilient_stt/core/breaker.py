"""A provider's health as a transition table.

Belongs to `ResilientSTT`, not to a stream: LiveKit opens a new stream for every cleared turn, so
health that lived in a stream would be forgotten. What may go into the table: states and signals
only. Counting, times and thresholds are the methods' business.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from .inputs import ErrorKind
from .lease import Lease
from .outcomes import Outcomes
from .policy import BreakerPolicy
from .verdict import Seen, Verdict


class State(StrEnum):
    """Whether a provider is given traffic (closed), probes (half-open), or nothing."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    LOCKED = "locked"


class Signal(StrEnum):
    """What changes a breaker's state."""

    SUCCESS = "success"
    TRIP = "trip"
    LOCK = "lock"
    COOLED = "cooled"


TRANSITIONS: dict[tuple[State, Signal], State] = {
    (State.CLOSED, Signal.SUCCESS): State.CLOSED,
    (State.CLOSED, Signal.TRIP): State.OPEN,
    (State.CLOSED, Signal.LOCK): State.LOCKED,
    (State.CLOSED, Signal.COOLED): State.CLOSED,
    (State.OPEN, Signal.SUCCESS): State.CLOSED,
    (State.OPEN, Signal.TRIP): State.OPEN,
    (State.OPEN, Signal.LOCK): State.LOCKED,
    (State.OPEN, Signal.COOLED): State.HALF_OPEN,
    (State.HALF_OPEN, Signal.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Signal.TRIP): State.OPEN,
    (State.HALF_OPEN, Signal.LOCK): State.LOCKED,
    (State.HALF_OPEN, Signal.COOLED): State.HALF_OPEN,
    (State.LOCKED, Signal.SUCCESS): State.CLOSED,
    (State.LOCKED, Signal.TRIP): State.LOCKED,
    (State.LOCKED, Signal.LOCK): State.LOCKED,
    (State.LOCKED, Signal.COOLED): State.HALF_OPEN,
}

BADNESS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2, State.LOCKED: 3}
"""The order in which providers are preferred; within it, the route's."""

LEAST_WAIT = 1.0
"""`Retry-After` is in whole seconds; who answers a thousandth would be probed without a pause."""

_CREDENTIALS = (ErrorKind.AUTH, ErrorKind.QUOTA)


class Breaker:
    """One provider's health. `now` is seconds on one clock of the caller's, and never goes back."""

    def __init__(self, policy: BreakerPolicy, jitter: float = 0.0) -> None:
        """`jitter`: -1 to 1, drawn once: the processes of a fleet do not come back in step."""
        if not -1 <= jitter <= 1:
            raise AssertionError(f"jitter is a number from -1 to 1, got {jitter!r}")
        self._policy = policy
        self._jitter = policy.jitter * jitter
        self._state = State.CLOSED
        self._until = -math.inf
        self._trips = 0
        self._outcomes = Outcomes(policy)
        self._slow = 0
        """Slow finals in a row, while closed."""
        self._for_slowness = False
        """Why it is open."""
        self._failed_at: float | None = None
        """The last failure since health was proved."""
        self._healthy_since: float | None = None
        self._passes = 0
        """Probes that passed since the last failure."""
        self.seen = Seen()
        self.probes = Lease(policy.lease)
        self.tell: Callable[[], None] = lambda: None
        """Called when there is something that other processes are to know, or to grant, at once."""

    def __repr__(self) -> str:
        return f"Breaker({self._state.value}, trips={self._trips}, until={self._until})"

    # --- what is asked ---

    def state(self, now: float) -> State:
        """The state at `now`; an open or locked breaker cools into a half-open one."""
        if self._state in (State.OPEN, State.LOCKED) and now >= self._until:
            self._go(Signal.COOLED)
        return self._state

    def admits(self, now: float) -> bool:
        """Whether the provider may be given traffic."""
        return self.state(now) is State.CLOSED

    def sound(self, now: float) -> bool:
        """Whether nothing failed since health was proved; what is sound is closed."""
        return self._failed_at is None

    def probe_at(self, now: float) -> float | None:
        """When a probe may be made, `now` at the earliest; `None` if there is nothing to prove."""
        if self._failed_at is None:
            return None
        due = self._until  # of a half-open one: gone by
        if self._state is State.CLOSED:
            due = self._failed_at + self._jittered(self._policy.open_for)
        return max(now, due, self.probes.until)

    # --- what traffic showed ---

    def succeeded(self, now: float) -> None:
        """The provider gave text.

        That closes a breaker at once, but for one that is open for slowness: slow finals are text.
        """
        if self.state(now) is not State.OPEN or not self._for_slowness:
            self._prove(now)

    def failed(self, kind: ErrorKind, now: float, retry_after: float | None = None) -> None:
        """A leg failed, or a probe. A bad request says nothing about the provider's health.

        Nor is a probe's lease given back for one: the next probe would get the same answer at once.
        What fails while it is open does not keep it open for longer: all streams of a process lose
        their legs at the same time, and where all providers are bad they are tried all the same.
        """
        if kind is ErrorKind.BAD_REQUEST:
            return
        state = self.state(now)
        self._doubt(now)
        if kind in _CREDENTIALS:
            # never earlier: that is what the owner was told
            self._open(Signal.LOCK, now + self._policy.locked_for * (1 + abs(self._jitter)))
            self._declare(now)
        elif kind is ErrorKind.RATE_LIMITED:
            self._open(Signal.TRIP, now + self._rate_limit(retry_after))
            self._declare(now)
        elif state is State.HALF_OPEN or (state is State.CLOSED and self._outcomes.failure(now)):
            self._trip(now)

    def slow(self, now: float) -> None:
        """A final came late."""
        if not self.admits(now):
            return
        self._slow += 1
        if self._slow >= self._policy.slow_finals:
            self._doubt(now)
            self._trip(now, slow=True)

    def in_time(self, now: float) -> None:
        """A final came in time, which closes a breaker that is open for slowness."""
        self._slow = 0
        self.seen.in_time = now
        if self._for_slowness:
            self._for_slowness = False
            self._prove(now)

    # --- probes: one at a time ---

    def lease(self, now: float) -> bool:
        """Take the lease to make a probe, if one may be made.

        Where other processes have a say, the first to ask is told no: ask again.
        """
        at = self.probe_at(now)
        if at is None or at > now:
            return False
        known = self.probes.wanted
        taken = self.probes.take(now)
        if self.probes.wanted and not known:
            self.tell()
        return taken

    def release(self, now: float) -> None:
        """A probe ended without a verdict."""
        self.probes.release()
        if self.probes.surplus(now):
            self.tell()

    def passed(self, now: float) -> None:
        """A probe heard words in time; enough of them are as good as text from traffic."""
        self.release(now)
        self.seen.in_time = now
        self._passes += 1
        if self._passes >= self._policy.passes:
            self._prove(now)
        elif self._state is not State.CLOSED:
            self._declare(now)

    # --- what other processes found ---

    def adopt(self, verdict: Verdict, now: float) -> bool:
        """Take over what another process found.

        Returns whether it is newer than what this one has seen otherwise; else nothing changes.
        """
        if self.seen.denies(verdict):
            return False
        if verdict.well:
            # as of text from here: text alone does not close one that is open for slowness
            if verdict.slow or self.state(now) is not State.OPEN or not self._for_slowness:
                self.seen.verdict = None
                self._close(now)
            return True
        self.seen.verdict = None
        self._failed_at = verdict.at
        self._healthy_since = None
        self._trips = max(self._trips, verdict.trips)
        self._open(Signal.LOCK if verdict.locked else Signal.TRIP, verdict.until)
        self._passes = verdict.passes
        self._for_slowness = verdict.slow
        return True

    # --- what follows ---

    def _prove(self, now: float) -> None:
        """Health is proved."""
        was = self._state
        self._close(now)
        self.seen.proved(now)
        if was is not State.CLOSED:
            self.tell()

    def _close(self, now: float) -> None:
        self._go(Signal.SUCCESS)
        self._outcomes.success(now)
        self._failed_at = None
        self._forgive(now)

    def _declare(self, now: float) -> None:
        """What this process has found is for others, too."""
        self.seen.verdict = Verdict(
            at=now,
            well=False,
            until=self._until,
            locked=self._state is State.LOCKED,
            trips=self._trips,
            passes=self._passes,
            slow=self._for_slowness,
        )
        self.tell()

    def _doubt(self, now: float) -> None:
        """Health must be proved again."""
        self._failed_at = self.seen.failure = now
        self._healthy_since = None
        self._passes = 0
        self.release(now)

    def _trip(self, now: float, *, slow: bool = False) -> None:
        open_for = math.ldexp(self._policy.open_for, self._trips)
        if open_for < self._policy.open_max:
            self._trips += 1
        self._open(Signal.TRIP, now + self._jittered(min(open_for, self._policy.open_max)))
        self._for_slowness = slow
        self._declare(now)

    def _open(self, signal: Signal, until: float) -> None:
        """Open or lock, never for shorter than it already is; what led here counts no more."""
        if self._state in (State.OPEN, State.LOCKED):
            until = max(until, self._until)
        self._go(signal)
        self._until = until
        self._outcomes = Outcomes(self._policy)
        self._slow = 0
        self._for_slowness = False

    def _forgive(self, now: float) -> None:
        if self._healthy_since is None:
            self._healthy_since = now
        while self._trips and now - self._healthy_since >= self._policy.forgive_after:
            self._trips -= 1
            self._healthy_since += self._policy.forgive_after

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self._jitter)

    def _rate_limit(self, retry_after: float | None) -> float:
        """What a server says may be anything. What is sensible is obeyed: jitter only adds."""
        if retry_after is None or not 0 < retry_after < math.inf:
            return self._jittered(self._policy.open_for)
        wait = max(LEAST_WAIT, min(retry_after, self._policy.retry_after_max))
        return wait * (1 + abs(self._jitter))

    def _go(self, signal: Signal) -> None:
        self._state = TRANSITIONS[self._state, signal]
