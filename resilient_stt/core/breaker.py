"""A provider's health as a transition table.

Belongs to `ResilientSTT`, not to a stream: LiveKit opens a new stream for every cleared turn, so
health that lived in a stream would be forgotten. What may go into the table: states and signals
only. Counting, times and thresholds are the methods' business.
"""

from __future__ import annotations

import math
from enum import StrEnum

from .inputs import ErrorKind
from .policy import BreakerPolicy


class State(StrEnum):
    """Whether a provider is given traffic."""

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

BADNESS = {State.CLOSED: 0, State.HALF_OPEN: 0, State.OPEN: 1, State.LOCKED: 2}
"""The order in which providers are preferred; within it, the route's."""

_CREDENTIALS = (ErrorKind.AUTH, ErrorKind.QUOTA)


class Breaker:
    """One provider's health. `now` is seconds on one clock of the caller's."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._state = State.CLOSED
        self._failures: list[float] = []
        self._trips = 0
        self._until = 0.0
        self._healthy_since: float | None = None

    def __repr__(self) -> str:
        return f"Breaker({self._state.value}, failures={len(self._failures)}, until={self._until})"

    def state(self, now: float) -> State:
        """The state at `now`; an open or locked breaker cools into a half-open one."""
        if self._state in (State.OPEN, State.LOCKED) and now >= self._until:
            self._go(Signal.COOLED)
        return self._state

    def admits(self, now: float) -> bool:
        """Whether the provider may be given traffic."""
        return BADNESS[self.state(now)] == 0

    def succeeded(self, now: float) -> None:
        """The provider gave text."""
        self.state(now)
        self._go(Signal.SUCCESS)
        self._failures.clear()
        self._forgive(now)

    def failed(self, kind: ErrorKind, now: float, retry_after: float | None = None) -> None:
        """A leg failed. A bad request says nothing about the provider's health."""
        state = self.state(now)
        self._healthy_since = None
        if kind is ErrorKind.BAD_REQUEST:
            return
        if kind in _CREDENTIALS:
            self._open(Signal.LOCK, now + self._policy.locked_for)
        elif kind is ErrorKind.RATE_LIMITED:
            self._open(Signal.TRIP, now + (_sane(retry_after) or self._policy.open_for))
        else:
            horizon = now - self._policy.window
            self._failures = [t for t in self._failures if t > horizon] + [now]
            if state is State.HALF_OPEN or len(self._failures) >= self._policy.failures:
                self._trip(now)

    def _trip(self, now: float) -> None:
        open_for = min(self._policy.open_max, self._policy.open_for * 2.0**self._trips)
        self._trips += 1
        self._open(Signal.TRIP, now + open_for)

    def _open(self, signal: Signal, until: float) -> None:
        self._go(signal)
        self._until = until

    def _forgive(self, now: float) -> None:
        if self._healthy_since is None:
            self._healthy_since = now
        while self._trips and now - self._healthy_since >= self._policy.forgive_after:
            self._trips -= 1
            self._healthy_since += self._policy.forgive_after

    def _go(self, signal: Signal) -> None:
        self._state = TRANSITIONS[self._state, signal]


def _sane(seconds: float | None) -> float | None:
    """What a server says may be anything."""
    return seconds if seconds is not None and 0 < seconds < math.inf else None
