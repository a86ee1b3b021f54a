from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.breaker import BADNESS, TRANSITIONS, Breaker, Signal, State
from resilient_stt.core.inputs import ErrorKind
from resilient_stt.core.policy import BreakerPolicy

POLICY = BreakerPolicy()
CREDENTIALS = [ErrorKind.AUTH, ErrorKind.QUOTA]
COUNTED = [
    k for k in ErrorKind if k not in (*CREDENTIALS, ErrorKind.RATE_LIMITED, ErrorKind.BAD_REQUEST)
]


def tripped(at: float = 0.0, *, times: int = 1) -> Breaker:
    """A breaker that has just opened, after `times` trips in a row."""
    breaker = Breaker(POLICY)
    for _ in range(2 + times):
        breaker.failed(ErrorKind.SERVER, at)
    return breaker


@pytest.mark.parametrize(("state", "signal"), list(itertools.product(State, Signal)))
def test_every_signal_in_every_state_has_its_place(state: State, signal: Signal) -> None:
    """Any signal in any state is in the table; success closes, and only time half-opens."""
    after = TRANSITIONS[state, signal]
    assert (after is State.CLOSED) == (
        signal is Signal.SUCCESS or (state, signal) == (State.CLOSED, Signal.COOLED)
    )
    if signal is Signal.LOCK:
        assert after is State.LOCKED
    if state is State.LOCKED and signal is Signal.TRIP:
        assert after is State.LOCKED


def test_every_state_has_its_rank() -> None:
    """Closed and half-open providers come before open ones, locked ones last."""
    assert sorted(State, key=BADNESS.__getitem__)[2:] == [State.OPEN, State.LOCKED]
    assert BADNESS[State.CLOSED] == BADNESS[State.HALF_OPEN]


@pytest.mark.parametrize("kind", COUNTED)
def test_three_failures_in_a_row_open_it(kind: ErrorKind) -> None:
    """The third failure in a row within thirty seconds opens a breaker for five."""
    breaker = Breaker(POLICY)
    for at in (0.0, 14.0):
        breaker.failed(kind, at)
        assert breaker.admits(at)
    breaker.failed(kind, 29.0)
    assert breaker.state(29.0) is State.OPEN
    assert not breaker.admits(33.9)
    assert breaker.state(34.0) is State.HALF_OPEN
    assert breaker.admits(34.0)


def test_old_failures_do_not_count() -> None:
    """Failures more than thirty seconds apart do not open it."""
    breaker = Breaker(POLICY)
    for at in (0.0, 16.0, 32.0, 48.0, 64.0):
        breaker.failed(ErrorKind.DROPPED, at)
    assert breaker.state(64.0) is State.CLOSED


def test_success_ends_a_row_of_failures() -> None:
    """Text between failures makes the row begin again."""
    breaker = Breaker(POLICY)
    for at in range(10):
        breaker.failed(ErrorKind.DROPPED, at)
        breaker.failed(ErrorKind.DROPPED, at)
        breaker.succeeded(at)
    assert breaker.state(10) is State.CLOSED


def test_a_half_open_breaker_opens_at_one_failure() -> None:
    """A failure of a half-open breaker opens it for twice as long."""
    breaker = tripped()
    breaker.failed(ErrorKind.CONNECT, 5.0)
    assert breaker.state(14.9) is State.OPEN
    assert breaker.state(15.0) is State.HALF_OPEN


def test_it_stays_open_twice_as_long_each_time() -> None:
    """The time it stays open doubles from five to three hundred seconds."""
    breaker, at, times = tripped(), 0.0, []
    for _ in range(9):
        opened = at
        while not breaker.admits(at):
            at += 0.5
        times.append(at - opened)
        breaker.failed(ErrorKind.SERVER, at)
    assert times == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_health_takes_doublings_back() -> None:
    """Each healthy minute takes one doubling back; a failure begins the minute again."""
    breaker = tripped(times=4)  # would be open for 80 s next
    breaker.succeeded(100.0)
    breaker.succeeded(159.0)
    breaker.failed(ErrorKind.BAD_REQUEST, 159.5)
    breaker.succeeded(160.0)
    breaker.succeeded(280.0)
    for _ in range(3):
        breaker.failed(ErrorKind.SERVER, 300.0)
    assert not breaker.admits(319.9)
    assert breaker.admits(320.0)


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_refused_credentials_lock_it(kind: ErrorKind) -> None:
    """Refused credentials lock it at once; it is probed every three hundred seconds."""
    breaker = Breaker(POLICY)
    breaker.failed(kind, 0.0)
    assert breaker.state(299.9) is State.LOCKED
    assert breaker.state(300.0) is State.HALF_OPEN
    breaker.failed(kind, 300.0)
    assert breaker.state(599.0) is State.LOCKED
    breaker.succeeded(599.5)
    assert breaker.state(599.5) is State.CLOSED


@pytest.mark.parametrize(
    ("retry_after", "open_for"),
    [(None, 5), (12.5, 12.5), (0.0, 5), (-3.0, 5), (math.nan, 5), (math.inf, 5)],
)
def test_rate_limits_open_it_without_growing(retry_after: float | None, open_for: float) -> None:
    """A rate limit opens it for as long as the server says, if it says anything sensible."""
    breaker = Breaker(POLICY)
    at = 0.0
    for _ in range(4):
        breaker.failed(ErrorKind.RATE_LIMITED, at, retry_after)
        assert not breaker.admits(at + open_for - 0.01)
        at += open_for
        assert breaker.admits(at)


def test_a_bad_request_says_nothing_about_health() -> None:
    """Bad requests never open a breaker."""
    breaker = Breaker(POLICY)
    for _ in range(9):
        breaker.failed(ErrorKind.BAD_REQUEST, 0.0)
    assert breaker.state(0.0) is State.CLOSED


def test_it_shows_its_state() -> None:
    """The repr tells state, failures and until when."""
    assert repr(tripped(1.0)) == "Breaker(open, failures=3, until=6.0)"


signals = st.none() | st.tuples(st.sampled_from(ErrorKind), st.none() | st.floats(0, 500))


@given(st.lists(st.tuples(st.floats(0, 400), signals), max_size=60))
def test_no_provider_is_shut_out_for_ever(
    script: list[tuple[float, tuple[ErrorKind, float | None] | None]],
) -> None:
    """Whatever happened, text closes it at once, and time half-opens it within its bounds."""
    breaker, now, longest = Breaker(POLICY), 0.0, POLICY.open_max
    for later, failure in script:
        now += later
        if failure is None:
            breaker.succeeded(now)
            assert breaker.state(now) is State.CLOSED
        else:
            breaker.failed(failure[0], now, failure[1])
            longest = max(longest, failure[1] or 0.0)
        assert breaker.admits(now + longest + 1e-6) or not breaker.admits(now)
    assert breaker.admits(now + longest + 1e-6)
