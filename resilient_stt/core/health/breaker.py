"""A provider's circuit breaker: what opens it, what closes it, and when a probe may be made.

Theory of operation
-------------------

A breaker belongs to no stream: LiveKit opens a new stream for every cleared turn, so health that
lived in a stream would be forgotten. All streams of a process that use the same provider share it,
and with `RedisHealth` the processes of a fleet tell each other what their breakers saw.

States:

- closed: the provider gets traffic.
- open: the provider gets no traffic until its break is over.
- half-open: the break is over, and the provider gets probes, one at a time.
- locked: like open, because the account was refused (`ACCOUNT_ERRORS`); only its owner can help.
  Or because an operator locked the provider (`OperatorLock`): nothing that is observed ends that,
  and what is observed meanwhile counts once it has ended.

What opens a breaker:

- `BreakerPolicy.consecutive_failures` in a row within `window`.
- `failure_rate_threshold` of at least `minimum_calls` outcomes within `window`.
- `slow_call_threshold` slow finals in a row.
- `rate_limited`, at once: for as long as the server asks, else for `break_duration`.
- `auth` or `quota`, at once: it locks for `auth_cooldown`.
- Any failure while it is half-open.

The failures and texts of other processes count like those of this one (`share_outcomes`), because
where each call is a process, no process sees three failures.

A break that failures or slowness cause lasts `break_duration`, and twice as long after every
further trip, up to `max_break_duration`. Each `backoff_reset_after` of health takes one doubling
back.

What closes it:

- Text from traffic, because all providers are tried if all breakers are open. One that is open for
  slowness needs a timely final instead: slow finals are text, too.
- `success_threshold` probes that pass in a row.
- A newer report of health from another process.

If all breakers are open, the least bad provider is tried anyway, so a sole provider is never cut
off. A closed breaker with a failure since health was last proved is not proven: it gets traffic,
but no stream fails back to it before a probe has passed.

`TRANSITIONS` holds states and signals only. Counts, times and thresholds belong into the methods.
`now` is seconds on one clock of the caller that never goes back. Queries never change a breaker;
`record_*`, `probe_passed` and `adopt` first let an elapsed break cool down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from ..events import BreakerState, ErrorKind
from ..messages import ACCOUNT_ERRORS
from ..policy import BreakerPolicy
from .outcomes import NO_OUTCOMES, FleetOutcomes, OutcomeWindow
from .probe_lease import ProbeLease
from .report import HealthReport, LocalObservations, OperatorLock


class BreakerSignal(StrEnum):
    """What changes a breaker's state."""

    SUCCESS = "success"
    """Health is proved."""
    TRIP = "trip"
    """It failed too often, too slowly, or asked for a break."""
    LOCK = "lock"
    """It refused the account."""
    COOLED = "cooled"
    """Its break is over."""


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
"""Rank by which providers are preferred, best first; the route's order decides among equals."""


class Breaker:
    """One provider's health; see the module for what opens and closes it."""

    def __init__(self, policy: BreakerPolicy, jitter: float = 0.0) -> None:
        """Start closed and healthy.

        Args:
            policy: thresholds and times.
            jitter: -1 to 1, drawn once, so that the processes of a fleet do not return to a
                provider in step. Scaled by `BreakerPolicy.jitter`.

        Raises:
            AssertionError: `jitter` is out of range.
        """
        if not -1 <= jitter <= 1:
            raise AssertionError(f"jitter is a number from -1 to 1, got {jitter!r}")
        self._policy = policy
        self._jitter = policy.jitter * jitter
        self._state = BreakerState.CLOSED
        """The state as of the last command; `state` lets it cool down."""
        self._open_until = -math.inf
        self._refused_until = -math.inf
        """How long the provider itself, or another process, wants it to be left alone."""
        self._trips = 0
        """How many times the next break is doubled."""
        self._outcomes = OutcomeWindow(policy)
        self._slow_finals = 0
        """Slow finals in a row, while closed."""
        self._opened_for_slowness = False
        self._failed_at: float | None = None
        """The last failure since health was proved; `None` if there is none."""
        self._healthy_since: float | None = None
        """Since when health counts towards taking a doubling back."""
        self._passes = 0
        """Probes that passed since the last failure."""
        self.observations = LocalObservations()
        self.operator_lock: OperatorLock | None = None
        """A lock that an operator set; it may be over."""
        self.probe_lease = ProbeLease(policy)
        self.notify: Callable[[], None] = lambda: None
        """Called when other processes should learn something at once, or a lease is wanted."""

    def __repr__(self) -> str:
        return f"Breaker({self._state.value}, trips={self._trips}, open_until={self._open_until})"

    # -- queries

    def state(self, now: float) -> BreakerState:
        """The state at `now`. An open or locked breaker is half-open once its break is over."""
        if self.is_locked_by_operator(now):
            return BreakerState.LOCKED
        return self._observed_state(now)

    def is_locked_by_operator(self, now: float) -> bool:
        """Whether an operator keeps traffic away from the provider."""
        return self.operator_lock is not None and now < self.operator_lock.until

    def _observed_state(self, now: float) -> BreakerState:
        """The state without what an operator did."""
        if self._state in (BreakerState.OPEN, BreakerState.LOCKED) and now >= self._open_until:
            return TRANSITIONS[self._state, BreakerSignal.COOLED]
        return self._state

    def admits(self, now: float) -> bool:
        """Whether the provider may get traffic."""
        return self.state(now) is BreakerState.CLOSED

    def is_proven(self) -> bool:
        """Whether nothing failed since health was proved. A proven breaker is closed."""
        return self._failed_at is None

    def probe_at(self, now: float, *, urgent: bool = False) -> float | None:
        """When the next probe may be made, `now` at the earliest; `None` if none is needed.

        `urgent`: nothing as good as this provider works. Then breaks that grow are not waited for,
        only those that were asked for.
        """
        if self._failed_at is None:
            return None
        due = self._open_until  # in the past while half-open
        if urgent or self._state is BreakerState.CLOSED:
            # A failure that did not open it still needs a proof of health before a failback.
            due = self._failed_at + self._jittered(self._policy.break_duration)
            due = max(due, self._refused_until)
        locked_until = self.operator_lock.until if self.operator_lock else -math.inf
        return max(now, due, self.probe_lease.until, locked_until)

    # -- what traffic showed

    def record_text(self, now: float) -> None:
        """Note that the provider gave text, which proves its health.

        Text does not close a breaker that is open for slowness: slow finals are text, too.
        """
        self._cool_down(now)
        if self._state is not BreakerState.OPEN or not self._opened_for_slowness:
            self._prove_healthy(now)

    def record_failure(self, kind: ErrorKind, now: float, retry_after: float | None = None) -> None:
        """Note that a connection or a probe failed.

        `retry_after` is the wait in seconds that the server asked for, if it did.
        """
        if kind is ErrorKind.BAD_REQUEST:
            # The request is wrong, not the provider. A probe keeps its lease, too: the next probe
            # would get the same answer at once.
            return
        self._cool_down(now)
        self._mark_unproven(now)
        if kind in ACCOUNT_ERRORS:
            # Jitter only adds: the event's advice promises no retry before `auth_cooldown`.
            cooldown = self._policy.auth_cooldown * (1 + abs(self._jitter))
            self._open(BreakerSignal.LOCK, now + cooldown, now)
            self._refused_until = self._open_until
            self._publish(now)
        elif kind is ErrorKind.RATE_LIMITED:
            # The server says how long, so no doubling is counted.
            self._open(BreakerSignal.TRIP, now + self._rate_limit_wait(retry_after), now)
            self._refused_until = now + self._rate_limit_wait(retry_after)
            self._publish(now)
        elif self._state is BreakerState.HALF_OPEN:
            self._trip(now)
        elif self._state is BreakerState.CLOSED:
            self._outcomes.record_failure(now)
            self.observations.record_outcome(now)
            if self._outcomes.too_many_failures_at is not None:
                self._trip(now)
            self.notify()  # the next process must know of it, even if this one ends now
        # A failure while open changes nothing: all streams of a process lose their connections at
        # the same time, and if all providers are open they are tried all the same. Neither may
        # prolong the break.

    def record_slow_final(self, now: float) -> None:
        """Note that a final came late."""
        self._cool_down(now)
        if self._state is not BreakerState.CLOSED:
            return
        self._slow_finals += 1
        if self._slow_finals >= self._policy.slow_call_threshold:
            self._mark_unproven(now)
            self._trip(now, for_slowness=True)

    def record_timely_final(self, now: float) -> None:
        """Note that a final came in time, which closes a breaker that is open for slowness."""
        self._cool_down(now)
        self._slow_finals = 0
        self.observations.timely_final_at = now
        if self._opened_for_slowness:
            self._opened_for_slowness = False
            self._prove_healthy(now)

    # -- probes

    def acquire_probe(self, now: float, *, urgent: bool = False) -> bool:
        """Take the lease for a probe; whether it was taken. `urgent`: as for `probe_at`.

        Where a store has to grant the lease, the first call asks for it and returns `False`. Call
        again with the next audio. After `True` you must call `probe_passed`, `record_failure` or
        `release_probe`; without, the lease ends after `BreakerPolicy.probe_timeout`.
        """
        at = self.probe_at(now, urgent=urgent)
        if at is None or at > now:
            return False
        was_wanted = self.probe_lease.wanted
        acquired = self.probe_lease.acquire(now)
        if self.probe_lease.wanted and not was_wanted:
            self.notify()
        return acquired

    def release_probe(self, now: float) -> None:
        """Give the lease back: the probe ended, or ended without showing anything."""
        self.probe_lease.release()
        if self.probe_lease.must_return(now):
            self.notify()

    def probe_passed(self, now: float, *, urgent: bool = False) -> None:
        """Note that a probe gave a final with words in time.

        `BreakerPolicy.success_threshold` of them in a row prove health as text from traffic does;
        one does if it is `urgent`, as for `probe_at`.
        """
        self._cool_down(now)
        self.release_probe(now)
        self.observations.timely_final_at = now
        self._passes += 1
        if urgent or self._passes >= self._policy.success_threshold:
            self._prove_healthy(now)
        elif self._state is not BreakerState.CLOSED:
            self._publish(now)  # the next probe may be another process's

    # -- what other processes found

    def adopt(self, report: HealthReport, now: float) -> bool:
        """Take over what another process found.

        Returns:
            Whether the report is newer than what this process has seen that contradicts it. If it
            is not, nothing changes.
        """
        if self.observations.contradicts(report):
            return False
        self._cool_down(now)
        if report.healthy:
            # The same rule as for text of our own: it does not close what is open for slowness,
            # unless the report says that finals are in time.
            is_slow = self._state is BreakerState.OPEN and self._opened_for_slowness
            if report.slow or not is_slow:
                self.observations.report = None
                self._outcomes = OutcomeWindow(self._policy, since=now)  # as the store does
                self._close(now)
            return True
        self.observations.report = None
        self._failed_at = report.at
        self._healthy_since = None
        self._trips = max(self._trips, report.trips)
        signal = BreakerSignal.LOCK if report.locked else BreakerSignal.TRIP
        self._open(signal, report.until, now)
        self._refused_until = report.until  # it does not say what for
        self._passes = report.passes
        self._opened_for_slowness = report.slow
        return True

    def share_outcomes(self, others: FleetOutcomes, now: float) -> None:
        """Count what other processes saw lately, which replaces what they had seen before.

        It opens the breaker as if all had happened here, from the last failure on.
        """
        self._outcomes.share(others)
        self._cool_down(now)
        at = self._outcomes.too_many_failures_at
        if at is None or self._state is not BreakerState.CLOSED:
            return
        self._failed_at = at
        self._healthy_since = None
        self._passes = 0
        self._trip(now, since=at)

    def forget_others(self) -> None:
        """Count only what happens here, because other processes cannot be heard any more."""
        self._outcomes.share(NO_OUTCOMES)

    def texts_after(self, at: float) -> list[float]:
        """When text came here after `at`, as far as it counts for other processes."""
        return self._outcomes.texts_after(at)

    @property
    def window(self) -> float:
        """Seconds that an outcome counts."""
        return self._policy.window

    # -- inside

    def _cool_down(self, now: float) -> None:
        self._state = self._observed_state(now)

    def _prove_healthy(self, now: float) -> None:
        before = self._state
        if before is not BreakerState.CLOSED:
            # Processes that had not learned of the break yet have failed meanwhile, too.
            self._outcomes = OutcomeWindow(self._policy, since=now)
        self._outcomes.record_success(now)
        self._close(now)
        self.observations.record_health(now)
        if before is not BreakerState.CLOSED:
            self.notify()

    def _close(self, now: float) -> None:
        self._apply(BreakerSignal.SUCCESS)
        self._failed_at = None
        self._reset_backoff(now)

    def _publish(self, at: float) -> None:
        """Publish the failure to other processes."""
        self.observations.report = HealthReport(
            at=at,
            healthy=False,
            until=self._open_until,
            locked=self._state is BreakerState.LOCKED,
            trips=self._trips,
            passes=self._passes,
            slow=self._opened_for_slowness,
        )
        self.notify()

    def _mark_unproven(self, now: float) -> None:
        """Note a failure: health must be proved again, from the first probe on."""
        self._failed_at = self.observations.failure_at = now
        self._healthy_since = None
        self._passes = 0
        self.release_probe(now)

    def _trip(self, now: float, *, for_slowness: bool = False, since: float | None = None) -> None:
        """Open for the next break, and double the one after it.

        `since`: when the break began; by default now.
        """
        since = now if since is None else since
        duration = math.ldexp(self._policy.break_duration, self._trips)
        if duration < self._policy.max_break_duration:
            self._trips += 1
        duration = min(duration, self._policy.max_break_duration)
        self._open(BreakerSignal.TRIP, since + self._jittered(duration), now)
        self._opened_for_slowness = for_slowness
        self._publish(since)

    def _open(self, signal: BreakerSignal, until: float, now: float) -> None:
        """Open or lock, and start counting anew. A break that lasts longer is not shortened."""
        if self._state in (BreakerState.OPEN, BreakerState.LOCKED):
            until = max(until, self._open_until)
        self._apply(signal)
        self._open_until = until
        self._outcomes = OutcomeWindow(self._policy, since=now)
        self.observations.failures.clear()  # the report of the break says more
        self._slow_finals = 0
        self._opened_for_slowness = False

    def _reset_backoff(self, now: float) -> None:
        """Take one doubling back for each `backoff_reset_after` of health."""
        if self._healthy_since is None:
            self._healthy_since = now
        while self._trips and now - self._healthy_since >= self._policy.backoff_reset_after:
            self._trips -= 1
            self._healthy_since += self._policy.backoff_reset_after

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self._jitter)

    def _rate_limit_wait(self, retry_after: float | None) -> float:
        """Seconds to stay open after `rate_limited`.

        A server may ask for anything. A sensible wait is obeyed within `min_retry_after` and
        `max_retry_after`, and jitter only adds to it.
        """
        if retry_after is None or not 0 < retry_after < math.inf:
            return self._jittered(self._policy.break_duration)
        wait = max(self._policy.min_retry_after, min(retry_after, self._policy.max_retry_after))
        return wait * (1 + abs(self._jitter))

    def _apply(self, signal: BreakerSignal) -> None:
        self._state = TRANSITIONS[self._state, signal]
