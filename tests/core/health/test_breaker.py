from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.breaker import PREFERENCE, TRANSITIONS, Breaker, BreakerSignal
from resilient_stt.core.health.outcomes import MAX_OUTCOMES
from resilient_stt.core.health.report import HealthReport, OperatorLock
from resilient_stt.core.messages import ACCOUNT_ERRORS
from resilient_stt.core.policy import BreakerPolicy

POLICY = BreakerPolicy()
COUNTED = [
    k
    for k in ErrorKind
    if k not in (*ACCOUNT_ERRORS, ErrorKind.RATE_LIMITED, ErrorKind.BAD_REQUEST)
]
SERVER, BAD_REQUEST = ErrorKind.SERVER, ErrorKind.BAD_REQUEST
NONSENSE = [None, 0.0, -3.0, math.nan, math.inf, -math.inf]


def tripped(at: float = 0.0, *, times: int = 1, jitter: float = 0.0) -> Breaker:
    """A breaker that has just opened at `at`, for the `times`-th time in a row."""
    breaker = Breaker(POLICY, jitter)
    for _ in range(2):
        breaker.record_failure(SERVER, at)
    for _ in range(times):
        breaker.record_failure(SERVER, cooled(breaker, at))
    return breaker


def cooled(breaker: Breaker, now: float) -> float:
    """When its break is over; `now` if it has none."""
    at = breaker.probe_at(now)
    assert at is not None
    return at if breaker.state(now) in (BreakerState.OPEN, BreakerState.LOCKED) else now


def half_open() -> Breaker:
    """A breaker that is half-open from 5.0 on."""
    breaker = tripped()
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    return breaker


# --- the table ---


@pytest.mark.parametrize(("state", "signal"), list(itertools.product(BreakerState, BreakerSignal)))
def test_every_state_has_a_transition_for_every_signal(
    state: BreakerState, signal: BreakerSignal
) -> None:
    """Success always closes it, and only the end of a break makes it half-open."""
    after = TRANSITIONS[state, signal]
    assert (after is BreakerState.CLOSED) == (
        signal is BreakerSignal.SUCCESS
        or (state, signal) == (BreakerState.CLOSED, BreakerSignal.COOLED)
    )
    if signal is BreakerSignal.LOCK:
        assert after is BreakerState.LOCKED
    if state is BreakerState.LOCKED and signal is BreakerSignal.TRIP:
        assert after is BreakerState.LOCKED
    if signal is BreakerSignal.COOLED:
        assert (after is BreakerState.HALF_OPEN) == (state is not BreakerState.CLOSED)


def test_every_state_has_its_rank() -> None:
    """Closed providers come first, then those that may be probed; locked ones are last."""
    assert sorted(BreakerState, key=PREFERENCE.__getitem__) == [
        BreakerState.CLOSED,
        BreakerState.HALF_OPEN,
        BreakerState.OPEN,
        BreakerState.LOCKED,
    ]
    assert sorted(PREFERENCE.values()) == [0, 1, 2, 3]


# --- queries ---


def test_queries_change_nothing() -> None:
    """The state at a later time does not affect the state at an earlier one."""
    breaker = tripped()
    before = repr(breaker)
    assert breaker.state(99.0) is BreakerState.HALF_OPEN
    assert breaker.probe_at(99.0) == 99.0
    assert breaker.state(4.9) is BreakerState.OPEN
    assert repr(breaker) == before


# --- what opens it ---


@pytest.mark.parametrize("kind", COUNTED)
def test_three_failures_in_a_row_open_it(kind: ErrorKind) -> None:
    """The third failure in a row within thirty seconds opens a breaker for five."""
    breaker = Breaker(POLICY)
    for at in (0.0, 14.0):
        breaker.record_failure(kind, at)
        assert breaker.admits(at)
    breaker.record_failure(kind, 29.0)
    assert breaker.state(29.0) is BreakerState.OPEN
    assert breaker.state(33.9) is BreakerState.OPEN
    assert breaker.state(34.0) is BreakerState.HALF_OPEN
    assert not breaker.admits(34.0)


def test_old_failures_do_not_count() -> None:
    """Failures more than thirty seconds apart do not open it."""
    breaker = Breaker(POLICY)
    for at in (0.0, 16.0, 32.0, 48.0, 64.0):
        breaker.record_failure(ErrorKind.DROPPED, at)
    assert breaker.state(64.0) is BreakerState.CLOSED


@pytest.mark.parametrize("window", [30.0, 0.0])
def test_a_failure_counts_for_less_than_the_window(window: float) -> None:
    """With an empty window only the newest failure counts."""
    breaker = Breaker(BreakerPolicy(window=window))
    for at in (0.0, 1.0, window):
        breaker.record_failure(SERVER, at)
    assert breaker.admits(window)


def test_success_ends_a_row_of_failures() -> None:
    """Text between failures restarts the row, even if it does not count as an outcome."""
    breaker = Breaker(BreakerPolicy(minimum_calls=99))
    for at in range(10):
        for later in (0.0, 0.1):
            breaker.record_failure(ErrorKind.DROPPED, at + later)
        for later in (0.2, 0.3, 0.4):
            breaker.record_text(at + later)
        breaker.record_failure(ErrorKind.DROPPED, at + 0.5)
        breaker.record_text(at + 0.6)
    assert breaker.state(10) is BreakerState.CLOSED


def test_a_flapping_provider_opens_it() -> None:
    """Failures with text between them open it when they are half of five outcomes."""
    breaker = Breaker(POLICY)
    for at in (0.0, 10.0):
        breaker.record_failure(ErrorKind.DROPPED, at)
        breaker.record_text(at + 2.0)
        assert breaker.admits(at + 2.0)
    breaker.record_failure(ErrorKind.DROPPED, 20.0)
    assert breaker.state(20.0) is BreakerState.OPEN


@pytest.mark.parametrize(("every", "opens"), [(0.9, True), (1.2, False)])
def test_the_rate_is_failures_per_second_of_text(every: float, opens: bool) -> None:
    """Text of other streams, however much, counts as one success a second."""
    breaker, fails = Breaker(POLICY), 35.0
    for now in [n / 20 for n in range(100 * 20)]:
        if now >= fails:
            breaker.record_failure(ErrorKind.DROPPED, now)
            fails += every
        if not breaker.admits(now):
            break
        breaker.record_text(now)
    assert breaker.admits(now) is not opens


def test_text_counts_once_a_second() -> None:
    """Four failures and one second of text open it; two and four seconds of text do not."""
    breaker = Breaker(BreakerPolicy(consecutive_failures=99))
    for n in range(100):
        breaker.record_text(n / 100)
    for _ in range(3):
        breaker.record_failure(SERVER, 1.5)
    assert breaker.admits(1.5)  # of four outcomes
    breaker.record_failure(SERVER, 1.5)
    assert not breaker.admits(1.5)

    breaker = Breaker(BreakerPolicy(consecutive_failures=99))
    for at in (0.0, 1.0, 2.0, 2.9):
        breaker.record_text(at)
    for _ in range(2):
        breaker.record_failure(SERVER, 3.0)
    assert breaker.admits(3.0)  # two of five
    breaker.record_failure(SERVER, 3.0)
    assert not breaker.admits(3.0)  # three of six


def test_old_text_does_not_count() -> None:
    """Text from more than thirty seconds ago does not lower the rate of failures."""
    breaker = Breaker(BreakerPolicy(consecutive_failures=99))
    for text in range(20):
        breaker.record_text(text)
    for at in (44.0, 45.0):
        breaker.record_failure(SERVER, at)
    assert breaker.admits(45.0)  # two of six
    breaker.record_failure(SERVER, 46.0)
    assert not breaker.admits(46.0)  # three of six


def test_memory_is_bounded_by_any_policy() -> None:
    """If every text counts and nothing opens it, new outcomes replace the oldest."""
    breaker = Breaker(
        BreakerPolicy(
            success_interval=0,
            window=1e9,
            consecutive_failures=9**9,
            failure_rate_threshold=1.0,
            minimum_calls=3,
        )
    )
    for at in range(2 * MAX_OUTCOMES):
        breaker.record_text(at)
        breaker.record_failure(SERVER, at)
    assert len(breaker._outcomes._outcomes) == MAX_OUTCOMES
    assert breaker.admits(at)


def test_failures_count_for_one_opening_only() -> None:
    """After it has closed, three new failures in a row are needed."""
    breaker = tripped()
    breaker.record_text(1.0)
    for _ in range(2):
        breaker.record_failure(SERVER, 1.0)
    assert breaker.admits(1.0)
    breaker.record_failure(SERVER, 1.0)
    assert not breaker.admits(1.0)


def test_slow_finals_in_a_row_open_it() -> None:
    """The third slow final in a row opens it, at any distance, and with text between them."""
    breaker = Breaker(POLICY)
    for at in (0.0, 100.0):
        breaker.record_slow_final(at)
        breaker.record_text(at)
        assert breaker.is_proven()
    breaker.record_slow_final(200.0)
    assert breaker.state(204.9) is BreakerState.OPEN
    assert breaker.state(205.0) is BreakerState.HALF_OPEN


def test_a_timely_final_ends_a_row_of_slow_ones() -> None:
    """Slow finals with a timely one between them do not open it."""
    breaker = Breaker(POLICY)
    for at in range(10):
        breaker.record_slow_final(at)
        breaker.record_slow_final(at)
        breaker.record_timely_final(at)
    assert breaker.is_proven()


def test_text_does_not_end_a_break_for_slowness() -> None:
    """The slow connection goes on giving text; only a timely final closes the breaker."""
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.record_slow_final(0.0)
    breaker.record_text(0.1)
    breaker.record_failure(SERVER, 0.2)
    breaker.record_text(0.3)
    assert breaker.state(0.3) is BreakerState.OPEN
    breaker.record_timely_final(0.4)
    assert breaker.state(0.4) is BreakerState.CLOSED


def test_text_closes_it_after_a_break_for_slowness() -> None:
    """Once half-open it is closed by text; three more slow finals double the break."""
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.record_slow_final(0.0)
    breaker.record_text(5.0)
    assert breaker.is_proven()
    for _ in range(2):
        breaker.record_slow_final(6.0)
    assert breaker.admits(6.0)
    breaker.record_slow_final(6.0)
    assert breaker.state(15.9) is BreakerState.OPEN
    assert breaker.state(16.0) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, *ACCOUNT_ERRORS])
def test_a_refusal_replaces_slowness_as_the_reason(kind: ErrorKind) -> None:
    """If it is open for slowness and then refused, text closes it."""
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.record_slow_final(0.0)
    breaker.record_failure(kind, 1.0)
    breaker.record_text(2.0)
    assert breaker.is_proven()


def test_slow_finals_count_while_closed_only() -> None:
    """Late finals of old connections neither prolong a break nor begin a row."""
    breaker = tripped()
    for at in (1.0, 2.0, 3.0, 5.0, 6.0, 7.0):
        breaker.record_slow_final(at)
    assert breaker.state(7.0) is BreakerState.HALF_OPEN
    breaker.record_text(8.0)
    breaker.record_slow_final(8.0)
    breaker.record_slow_final(8.0)
    assert breaker.is_proven()


def test_a_row_of_slow_finals_ends_when_it_opens() -> None:
    """Slow finals from before an opening do not count after it."""
    breaker = Breaker(POLICY)
    for _ in range(2):
        breaker.record_slow_final(0.0)
    breaker.record_failure(ErrorKind.AUTH, 0.0)
    breaker.record_text(1.0)
    breaker.record_slow_final(1.0)
    assert breaker.is_proven()


def test_a_half_open_breaker_opens_at_one_failure() -> None:
    """A failure of a half-open breaker opens it for twice as long."""
    breaker = half_open()
    breaker.record_failure(ErrorKind.CONNECT, 5.0)
    assert breaker.state(14.9) is BreakerState.OPEN
    assert breaker.state(15.0) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("kind", COUNTED)
def test_a_failure_while_open_changes_nothing(kind: ErrorKind) -> None:
    """A hundred streams that lose their connections at once open it for five seconds only."""
    breaker = Breaker(POLICY)
    for at in range(100):
        breaker.record_failure(kind, at / 100)
    assert breaker.state(5.01) is BreakerState.OPEN
    assert breaker.state(5.02) is BreakerState.HALF_OPEN
    breaker.record_failure(kind, 6.0)
    assert breaker.state(15.9) is BreakerState.OPEN
    assert breaker.state(16.0) is BreakerState.HALF_OPEN


def test_a_bad_request_says_nothing_about_health() -> None:
    """Bad requests open nothing, end no row, and leave a proven breaker proven."""
    breaker = Breaker(POLICY)
    for _ in range(9):
        breaker.record_failure(BAD_REQUEST, 0.0)
    assert breaker.is_proven()
    breaker = half_open()
    breaker.record_failure(BAD_REQUEST, 5.0)
    assert breaker.state(5.0) is BreakerState.HALF_OPEN


# --- for how long ---


def test_it_stays_open_twice_as_long_each_time() -> None:
    """The time it stays open doubles from five to three hundred seconds."""
    breaker, at, times = tripped(), 0.0, []
    for _ in range(9):
        until = cooled(breaker, at)
        times.append(until - at)
        at = until
        breaker.record_failure(SERVER, at)
    assert times == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_doublings_end_at_the_longest_break() -> None:
    """After a long outage the backoff is forgiven as fast as after a short one."""
    breaker, now = tripped(times=2000), 1e6
    breaker.record_text(now)
    breaker.record_text(now + 60)
    for _ in range(3):
        breaker.record_failure(SERVER, now + 60)
    assert cooled(breaker, now + 60) == now + 60 + 160
    breaker.record_text(now + 100)
    breaker.record_text(now + 100 + 6 * 60)
    for _ in range(3):
        breaker.record_failure(SERVER, now + 500)
    assert cooled(breaker, now + 500) == now + 505


def test_health_takes_doublings_back() -> None:
    """Each healthy minute takes one doubling back; a failure restarts the minute."""
    breaker = tripped(times=4)  # would be open for 80 s next
    breaker.record_text(100.0)
    breaker.record_text(159.0)
    breaker.record_failure(ErrorKind.DROPPED, 159.5)
    breaker.record_text(160.0)
    breaker.record_text(219.9)
    breaker.record_failure(BAD_REQUEST, 219.9)
    breaker.record_text(280.0)
    for _ in range(3):
        breaker.record_failure(SERVER, 300.0)
    assert cooled(breaker, 300.0) == 320.0


def test_slowness_restarts_the_healthy_minute() -> None:
    """Time before and during a break for slowness does not count as healthy."""
    breaker = tripped(times=2)  # 20 s next
    breaker.record_text(100.0)
    for _ in range(3):
        breaker.record_slow_final(155.0)
    breaker.record_text(180.0)
    breaker.record_text(239.0)
    for _ in range(3):
        breaker.record_failure(SERVER, 239.0)
    assert cooled(breaker, 239.0) == 239.0 + 40.0


@pytest.mark.parametrize("kind", ACCOUNT_ERRORS)
def test_account_errors_lock_it(kind: ErrorKind) -> None:
    """It locks at once, and is probed every three hundred seconds."""
    breaker = Breaker(POLICY)
    breaker.record_failure(kind, 0.0)
    assert breaker.state(299.9) is BreakerState.LOCKED
    assert breaker.state(300.0) is BreakerState.HALF_OPEN
    breaker.record_failure(kind, 300.0)
    assert breaker.state(599.0) is BreakerState.LOCKED
    breaker.record_text(599.5)
    assert breaker.state(599.5) is BreakerState.CLOSED


@pytest.mark.parametrize("kind", [*COUNTED, ErrorKind.RATE_LIMITED])
def test_a_lock_is_not_shortened(kind: ErrorKind) -> None:
    """Failures of other kinds do not bring the next attempt forward."""
    breaker = Breaker(POLICY)
    breaker.record_failure(ErrorKind.AUTH, 0.0)
    for _ in range(5):
        breaker.record_failure(kind, 1.0)
    assert breaker.state(299.9) is BreakerState.LOCKED
    breaker.record_failure(ErrorKind.RATE_LIMITED, 299.9, 400.0)
    assert breaker.state(699.8) is BreakerState.LOCKED


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, *ACCOUNT_ERRORS])
def test_a_requested_wait_is_not_shortened(kind: ErrorKind) -> None:
    """A later refusal does not end a wait that the server asked for, but text does."""
    breaker = Breaker(POLICY)
    breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0, 1000.0)
    breaker.record_failure(kind, 1.0)
    assert cooled(breaker, 1.0) == 1000.0
    breaker.record_text(2.0)
    for _ in range(3):
        breaker.record_failure(SERVER, 3.0)
    assert cooled(breaker, 3.0) == 8.0


@pytest.mark.parametrize(
    ("retry_after", "break_duration"),
    [(12.5, 12.5), (0.5, 1.0), (1e-300, 1.0), (3600.0, 3600.0), (86400.0, 3600.0), (1e300, 3600.0)]
    + [(nonsense, 5.0) for nonsense in NONSENSE],
)
def test_rate_limits_open_it_without_growing(
    retry_after: float | None, break_duration: float
) -> None:
    """A rate limit opens it for as long as the server asks, if that is a sensible time."""
    breaker = Breaker(POLICY)
    at = 0.0
    for _ in range(4):
        breaker.record_failure(ErrorKind.RATE_LIMITED, at, retry_after)
        assert breaker.state(at + break_duration - 0.01) is BreakerState.OPEN
        at += break_duration
        assert breaker.state(at) is BreakerState.HALF_OPEN
    breaker.record_failure(SERVER, at)
    assert cooled(breaker, at) == at + 5.0


def test_retry_after_is_for_rate_limits() -> None:
    """A wait that comes with another kind of failure is ignored."""
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.record_failure(SERVER, 0.0, 99.0)
    assert cooled(breaker, 0.0) == 5.0


@pytest.mark.parametrize("jitter", [-1.0, -0.5, 0.0, 1.0])
def test_a_fleet_does_not_come_back_in_step(jitter: float) -> None:
    """Breaks are longer or shorter by the jitter; waits that a server or owner was promised are
    never shorter.
    """
    factor = 1 + 0.2 * jitter
    assert cooled(tripped(jitter=jitter), 0.0) == pytest.approx(5 * factor)
    for kind, retry_after, expected in [
        (SERVER, None, 5 * factor),
        (ErrorKind.AUTH, None, 300 * (1 + 0.2 * abs(jitter))),
        (ErrorKind.RATE_LIMITED, None, 5 * factor),
        (ErrorKind.RATE_LIMITED, 40.0, 40 * (1 + 0.2 * abs(jitter))),
    ]:
        breaker = Breaker(POLICY, jitter)
        breaker.record_failure(kind, 0.0, retry_after)
        assert breaker.probe_at(0.0) == pytest.approx(expected)
    breaker, now = tripped(jitter=jitter), 0.0
    for _ in range(9):
        last, now = now, cooled(breaker, now)
        breaker.record_failure(SERVER, now)
    assert now - last == pytest.approx(300 * factor)


@pytest.mark.parametrize("jitter", [-1.1, 1.1, math.nan])
def test_jitter_has_bounds(jitter: float) -> None:
    """A jitter outside of -1 to 1 is an error of the caller."""
    with pytest.raises(AssertionError, match="from -1 to 1"):
        Breaker(POLICY, jitter)


def test_every_break_takes_some_time() -> None:
    """Jitter must not take all of a break away."""
    with pytest.raises(ValueError, match=r"BreakerPolicy\.jitter must be less than 1"):
        BreakerPolicy(jitter=1)
    assert BreakerPolicy(jitter=0.99).jitter == 0.99


# --- probes ---


def test_a_proven_breaker_is_not_probed() -> None:
    """A new one is proven, and so is one whose last failure was followed by text."""
    breaker = Breaker(POLICY)
    assert breaker.is_proven()
    assert breaker.probe_at(0.0) is None
    assert not breaker.acquire_probe(0.0)
    breaker.record_failure(SERVER, 1.0)
    assert breaker.admits(1.0)
    assert not breaker.is_proven()
    breaker.record_text(2.0)
    assert breaker.is_proven()
    assert breaker.probe_at(100.0) is None


def test_a_closed_breaker_is_probed_after_a_failure() -> None:
    """The probe is due one break after the last failure."""
    breaker = Breaker(POLICY)
    breaker.record_failure(SERVER, 0.0)
    breaker.record_failure(SERVER, 3.0)
    assert breaker.probe_at(4.0) == 8.0
    assert not breaker.acquire_probe(7.9)
    assert breaker.probe_at(20.0) == 20.0
    assert breaker.acquire_probe(8.0)


@pytest.mark.parametrize(("kind", "until"), [(SERVER, 5.0), (ErrorKind.AUTH, 300.0)])
def test_an_open_breaker_is_probed_after_its_break(kind: ErrorKind, until: float) -> None:
    """The lease is refused during the break, and granted at once after it."""
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.record_failure(kind, 0.0)
    assert breaker.probe_at(1.0) == until
    assert not breaker.acquire_probe(until - 0.1)
    assert breaker.probe_at(until + 7) == until + 7
    assert breaker.acquire_probe(until + 7)


def test_one_probe_at_a_time() -> None:
    """While the lease is taken, the next probe waits for its result, or until it expires."""
    breaker = half_open()
    assert breaker.acquire_probe(6.0)
    assert not breaker.acquire_probe(6.0)
    assert breaker.probe_at(7.0) == 21.0
    assert not breaker.acquire_probe(20.9)
    assert breaker.acquire_probe(21.0)
    breaker.release_probe(22.0)
    assert breaker.state(22.0) is BreakerState.HALF_OPEN
    assert breaker.acquire_probe(22.0)
    breaker.probe_passed(23.0)
    assert breaker.acquire_probe(23.0)


def test_two_passes_close_it() -> None:
    """One pass may be luck, two are health; a bad request between them does not count."""
    breaker = half_open()
    assert breaker.acquire_probe(5.0)
    breaker.probe_passed(6.0)
    assert breaker.state(6.0) is BreakerState.HALF_OPEN
    assert breaker.acquire_probe(6.0)
    breaker.record_failure(BAD_REQUEST, 7.0)
    breaker.probe_passed(7.0)
    assert breaker.is_proven()


def test_two_passes_prove_a_closed_breaker() -> None:
    """Passes prove health after a failure that did not open it, and end the row."""
    breaker = Breaker(POLICY)
    for _ in range(2):
        breaker.record_failure(SERVER, 0.0)
    breaker.probe_passed(6.0)
    assert not breaker.is_proven()
    breaker.probe_passed(7.0)
    assert breaker.is_proven()
    breaker.record_failure(SERVER, 8.0)
    assert breaker.admits(8.0)
    breaker.probe_passed(9.0)
    assert not breaker.is_proven()  # passes before a proof are used up


@pytest.mark.parametrize("kind", [*COUNTED, *ACCOUNT_ERRORS, ErrorKind.RATE_LIMITED])
def test_a_failure_undoes_passes(kind: ErrorKind) -> None:
    """A failed probe, or a failure in traffic, makes the count of passes restart."""
    breaker = half_open()
    breaker.probe_passed(5.0)
    breaker.record_failure(kind, 6.0)
    at = cooled(breaker, 6.0)
    assert at > 6.0
    breaker.probe_passed(at)
    assert breaker.state(at) is BreakerState.HALF_OPEN
    breaker.probe_passed(at)
    assert breaker.is_proven()


def test_slowness_undoes_passes() -> None:
    """Opening for slowness makes the count of passes restart, too."""
    breaker = Breaker(POLICY)
    breaker.record_failure(SERVER, 0.0)
    breaker.probe_passed(5.0)
    for _ in range(3):
        breaker.record_slow_final(6.0)
    breaker.probe_passed(7.0)
    assert breaker.state(7.0) is BreakerState.OPEN
    breaker.probe_passed(8.0)
    assert breaker.is_proven()


def test_a_failed_probe_releases_the_lease() -> None:
    """The next probe waits for the breaker only; after a bad request it waits for the lease."""
    breaker = half_open()
    assert breaker.acquire_probe(5.0)
    breaker.record_failure(BAD_REQUEST, 5.5)
    assert breaker.probe_at(5.5) == 20.0
    breaker.record_failure(SERVER, 6.0)
    assert breaker.probe_at(6.0) == 16.0


def test_text_proves_health_in_any_state() -> None:
    """Text from traffic closes it at once, without further probes."""
    for breaker in (half_open(), tripped(), Breaker(POLICY)):
        breaker.acquire_probe(5.0)
        breaker.probe_passed(5.0)
        breaker.record_text(5.0)
        assert breaker.is_proven()
        breaker.record_failure(SERVER, 6.0)
        breaker.probe_passed(6.0)
        assert not breaker.is_proven()


def test_it_shows_its_state() -> None:
    """The repr shows the state, the trips and the end of the break."""
    assert repr(tripped(1.0)) == "Breaker(open, trips=1, open_until=6.0)"


# --- after any calls ---


@dataclass
class Naive:
    """The rules that open a closed breaker, over everything since it was last open."""

    failures: list[float] = field(default_factory=list)
    texts: list[float] = field(default_factory=list)
    row: list[float] = field(default_factory=list)

    def succeeded(self, now: float) -> None:
        self.row.clear()
        if not self.texts or now >= self.texts[-1] + 1.0:
            self.texts.append(now)

    def failed(self, now: float) -> bool:
        self.row.append(now)
        self.failures.append(now)
        in_row, failures, texts = (
            sum(at > now - 30.0 for at in times) for times in (self.row, self.failures, self.texts)
        )
        return in_row >= 3 or (failures + texts >= 5 and failures >= texts)


@given(st.lists(st.tuples(st.floats(0, 12) | st.just(0.1), st.booleans()), max_size=120))
@example([(0.5, n % 3 == 0) for n in range(120)])
@example([(2.0, n % 2 == 0) for n in range(8)])
def test_it_opens_by_its_rules(script: list[tuple[float, bool]]) -> None:
    """It opens exactly when a model that forgets nothing says so."""
    breaker, naive, now = Breaker(POLICY), Naive(), 0.0
    for later, fails in script:
        now += later
        if not fails:
            breaker.record_text(now)
            naive.succeeded(now)
        else:
            breaker.record_failure(SERVER, now)
            if naive.failed(now):
                assert breaker.state(now) is BreakerState.OPEN
                breaker, naive = Breaker(POLICY), Naive()
        assert breaker.admits(now)


Call = tuple[str, ErrorKind, float | None]

calls = st.tuples(
    st.sampled_from(
        [
            "record_text",
            "record_slow_final",
            "record_timely_final",
            "acquire_probe",
            "release_probe",
            "probe_passed",
        ]
    )
    | st.sampled_from(["record_failure", "acquire_probe", "probe_passed"]),
    st.sampled_from(ErrorKind),
    st.sampled_from([*NONSENSE, 1.0, 500.0, 1e9]) | st.floats(),
)
scripts = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 5.0]) | st.floats(0, 400), calls))
LONGEST = POLICY.max_retry_after * (1 + POLICY.jitter) + 1e-3


def do(breaker: Breaker, call: Call, now: float) -> object:
    """Make one call."""
    name, kind, retry_after = call
    args = (kind, now, retry_after) if name == "record_failure" else (now,)
    return getattr(breaker, name)(*args)


@given(scripts, st.floats(-1, 1), st.floats(-1e6, 1e6))
def test_a_probe_is_always_due_in_time(
    script: list[tuple[float, Call]], jitter: float, now: float
) -> None:
    """After any calls it is proven or a probe is due in time, and enough passes prove it."""
    breaker = Breaker(POLICY, jitter)
    for later, call in script:
        now += later
        do(breaker, call, now)
        at = breaker.probe_at(now)
        assert (at is None) == breaker.is_proven()
        assert at is None or now <= at <= now + LONGEST
    for _ in range(POLICY.success_threshold):
        if not breaker.is_proven():
            now = breaker.probe_at(now) or now
            assert breaker.state(now) in (BreakerState.CLOSED, BreakerState.HALF_OPEN)
            assert breaker.acquire_probe(now)
            breaker.probe_passed(now)
    assert breaker.is_proven()


@given(scripts)
def test_what_each_call_may_do(script: list[tuple[float, Call]]) -> None:
    """Only text, timely finals and passes improve it; only failures and slow finals worsen it.

    Nothing but time makes it half-open.
    """
    breaker, now = Breaker(POLICY), 0.0
    for later, call in script:
        now += later
        before, was_proven = breaker.state(now), breaker.is_proven()
        do(breaker, call, now)
        after = breaker.state(now)
        assert breaker.admits(now) is (after is BreakerState.CLOSED)
        if PREFERENCE[after] < PREFERENCE[before] or (breaker.is_proven() and not was_proven):
            assert call[0] in ("record_text", "record_timely_final", "probe_passed")
            assert breaker.is_proven()
        if PREFERENCE[after] > PREFERENCE[before] or (was_proven and not breaker.is_proven()):
            assert call[0] == "record_slow_final" or (
                call[0] == "record_failure" and call[1] is not BAD_REQUEST
            )
            assert after is not BreakerState.HALF_OPEN
        if call[0] == "record_failure" and call[1] is not BAD_REQUEST:
            assert not breaker.is_proven()


@given(scripts)
def test_leases_do_not_overlap(script: list[tuple[float, Call]]) -> None:
    """The lease is given if a probe is due, and not while another probe has it."""
    breaker, now, until = Breaker(POLICY), 0.0, -math.inf
    for later, call in script:
        now += later
        due = breaker.probe_at(now)
        closed = breaker.admits(now)
        given = do(breaker, call, now)
        if call[0] == "acquire_probe":
            assert given is (due == now)
            assert not (given and now < until)
            until = now + POLICY.probe_timeout if given else until
        failed = call[0] == "record_failure" and call[1] is not BAD_REQUEST
        opened = closed and not breaker.admits(now)
        if failed or opened or call[0] in ("release_probe", "probe_passed"):
            until = -math.inf
        at = breaker.probe_at(now)
        assert at is None or at >= until


# --- an operator's lock ---


def test_nothing_that_is_observed_ends_an_operator_s_lock() -> None:
    """Text, probes and reports count for the time after it; so do failures."""
    breaker = Breaker(POLICY)
    breaker.operator_lock = OperatorLock(60.0, 1)
    for act in (
        breaker.record_text,
        breaker.record_timely_final,
        breaker.probe_passed,
        lambda now: breaker.adopt(HealthReport(at=now, healthy=True), now),
    ):
        act(10.0)
        assert breaker.state(10.0) is BreakerState.LOCKED
        assert not breaker.admits(10.0)
    assert breaker.is_proven()
    assert breaker.probe_at(10.0) is None
    assert breaker.state(60.0) is BreakerState.CLOSED


def test_a_failure_before_an_operator_s_lock() -> None:
    """The provider is probed when the lock is over, not before."""
    breaker = tripped()
    breaker.operator_lock = OperatorLock(60.0, 1)
    assert breaker.probe_at(10.0) == 60.0
    assert not breaker.acquire_probe(10.0)
    breaker.record_text(20.0)
    assert breaker.probe_at(20.0) is None
    breaker.record_failure(ErrorKind.AUTH, 30.0)
    assert breaker.state(60.0) is BreakerState.LOCKED
    breaker.operator_lock = None
    assert breaker.state(30.0 + 2 * POLICY.auth_cooldown) is BreakerState.HALF_OPEN


# --- urgent probes


def test_an_urgent_probe_waits_for_no_break_that_grew() -> None:
    """While nothing as good works, a provider is probed every 5 s, and one pass proves it."""
    breaker = Breaker(BreakerPolicy(break_duration=5.0))
    for at in (0.0, 0.1, 0.2, 6.0, 17.0):
        breaker.record_failure(ErrorKind.SERVER, at)
    assert breaker.probe_at(17.0) == 37.0
    assert breaker.probe_at(17.0, urgent=True) == 22.0
    assert not breaker.acquire_probe(22.0)
    assert breaker.acquire_probe(22.0, urgent=True)
    breaker.probe_passed(23.0, urgent=True)
    assert breaker.is_proven()
    assert breaker.admits(23.0)


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, ErrorKind.AUTH])
def test_an_urgent_probe_waits_where_that_was_asked_for(kind: ErrorKind) -> None:
    """A server's own wait and the time after refused credentials are kept, also from others."""
    breaker = Breaker(BreakerPolicy(auth_cooldown=60.0))
    breaker.record_failure(kind, 0.0, 60.0)
    assert breaker.probe_at(1.0, urgent=True) == 60.0
    other = Breaker(BreakerPolicy())
    assert breaker.observations.report is not None
    other.adopt(breaker.observations.report, 0.0)
    assert other.probe_at(1.0, urgent=True) == 60.0
