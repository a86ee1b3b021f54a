"""What one process reports and adopts; see `test_fleet` for several of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.health.replica import HealthReplica
from resilient_stt.core.health.report import ClockSample, HealthReport, OperatorLock, StoredReport
from resilient_stt.core.policy import BreakerPolicy

SERVER = ErrorKind.SERVER
TRIP = HealthReport(at=10.0, healthy=False, until=15.0, trips=1)
WELL = HealthReport(at=10.0, healthy=True)


def made(origin: str = "me") -> HealthReplica:
    """A replica in a process that has observed nothing."""
    return HealthReplica(ProviderHealth(Breaker(BreakerPolicy())), origin)


def stored(report: HealthReport, origin: str = "them", **of: int | float) -> StoredReport:
    """A report as it stands in a store whose clock is ours."""
    stamp = round(report.at * 1e6)
    given = {"stamp": stamp, "read": stamp, "uncertainty": 0.0, **of}
    return StoredReport(
        report, origin, int(given["stamp"]), int(given["read"]), given["uncertainty"]
    )


def trip(replica: HealthReplica, at: float) -> HealthReport:
    """Record three failures, and return the report of them."""
    for _ in range(3):
        replica.health.breaker.record_failure(SERVER, at)
    found = replica.health.breaker.observations.report
    assert found is not None
    return found


# --- what is reported


def test_a_single_failure_is_not_reported() -> None:
    """A failure that opened nothing is no concern of other processes."""
    replica = made()
    replica.health.breaker.record_failure(SERVER, 1.0)
    replica.health.breaker.record_failure(ErrorKind.BAD_REQUEST, 1.0)
    replica.health.breaker.record_slow_final(1.0)
    assert replica.unreported() is None


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (SERVER, HealthReport(at=1.0, healthy=False, until=6.0, trips=1)),
        (ErrorKind.RATE_LIMITED, HealthReport(at=1.0, healthy=False, until=31.0)),
        (ErrorKind.QUOTA, HealthReport(at=1.0, healthy=False, until=301.0, locked=True)),
    ],
)
def test_an_opening_is_reported_once(kind: ErrorKind, found: HealthReport) -> None:
    """The report says how long and why; it is sent again if the store may have forgotten it."""
    replica = made()
    for _ in range(3 if kind is SERVER else 1):
        replica.health.breaker.record_failure(kind, 1.0, 30.0)
    report = replica.unreported()
    assert report == found
    replica.mark_reported(report, kept=True)
    assert replica.unreported() is None
    replica.store_lost()
    assert replica.unreported() == found


def test_slowness_is_reported() -> None:
    """The report says that it is slowness, because text does not refute that."""
    replica = made()
    for _ in range(3):
        replica.health.breaker.record_slow_final(1.0)
    assert replica.unreported() == HealthReport(
        at=1.0, healthy=False, until=6.0, trips=1, slow=True
    )


def test_a_passed_probe_is_reported() -> None:
    """Two passes in the whole fleet are enough; passes while closed are not reported."""
    replica, other = made(), made("other")
    trip(replica, 1.0)
    replica.health.breaker.probe_passed(7.0)
    report = replica.unreported()
    assert report == HealthReport(at=7.0, healthy=False, until=6.0, trips=1, passes=1)
    other.apply_stored(stored(report), 8.0)
    assert other.health.breaker.state(8.0) is BreakerState.HALF_OPEN
    other.health.breaker.probe_passed(9.0)
    assert other.health.breaker.is_proven()

    replica = made()
    replica.health.breaker.record_failure(SERVER, 1.0)
    replica.health.breaker.probe_passed(7.0)
    assert replica.unreported() is None


def test_health_is_reported_only_to_refute() -> None:
    """Text refutes an older report of failures, and is not reported otherwise."""
    replica = made()
    replica.health.breaker.record_text(20.0)
    assert replica.unreported() is None
    replica.apply_stored(stored(WELL), 21.0)
    assert replica.unreported() is None
    replica.apply_stored(stored(TRIP), 21.0)
    assert replica.unreported() == replace(WELL, at=20.0)
    assert replica.health.breaker.is_proven()


def test_text_of_uncertain_order_refutes_nothing() -> None:
    """A report may be younger by the uncertainty; only text that surely came later refutes it."""
    replica = made()
    replica.health.breaker.record_text(10.1)
    replica.apply_stored(stored(TRIP, uncertainty=0.2), 10.2)
    assert replica.unreported() is None
    replica.health.breaker.record_text(10.3)
    assert replica.unreported() == replace(WELL, at=10.3)


def test_our_own_report_is_dated_exactly() -> None:
    """Its time is known exactly, however long the store takes to answer."""
    replica = made()
    found = trip(replica, 10.0)
    replica.mark_reported(found, kept=True)
    replica.health.breaker.record_text(10.1)
    replica.apply_stored(stored(replace(found, at=9.0), "me", uncertainty=1.5), 10.5)
    assert replica.unreported() == replace(WELL, at=10.1)
    assert replica.health.breaker.admits(10.5)


def test_a_refutation_that_came_too_late_is_sent_again() -> None:
    """The order by the store's clock counts, not that by ours."""
    replica = made()
    found = trip(replica, 10.0)
    replica.mark_reported(found, kept=False)
    assert replica.unreported() is None  # what is newer has been stored: it will be read
    replica.health.breaker.record_text(10.1)
    replica.apply_stored(stored(found, "me"), 10.2)
    answer = replica.unreported()
    assert answer is not None
    replica.mark_reported(answer, kept=False)
    assert replica.unreported() == answer
    replica.mark_reported(answer, kept=True)
    assert replica.unreported() is None


def test_it_has_updates_until_they_are_sent() -> None:
    """Updates are reports, samples, and a lease that must be returned."""
    replica = made()
    assert not replica.has_updates(1.0)
    replica.health.latency.add(0.4)
    assert replica.has_updates(1.0)
    replica.health.latency.mark_reported(1)
    assert not replica.has_updates(1.0)
    replica.store_connected()
    found = trip(replica, 1.0)
    assert replica.has_updates(1.0)
    replica.mark_reported(found, kept=True)
    assert not replica.health.breaker.acquire_probe(7.0)
    replica.health.breaker.probe_lease.mark_requested()
    replica.health.breaker.probe_lease.record_grant(7.0)
    assert replica.health.breaker.acquire_probe(7.1)
    assert not replica.has_updates(7.2)
    replica.leave()
    assert replica.has_updates(7.2)


# --- what is adopted


def test_a_trip_is_adopted() -> None:
    """It lasts as long as there, with its doublings, and is not reported as our own."""
    replica = made()
    replica.apply_stored(stored(replace(TRIP, trips=3)), 11.0)
    breaker = replica.health.breaker
    assert breaker.state(14.9) is BreakerState.OPEN
    assert breaker.state(15.0) is BreakerState.HALF_OPEN
    assert not breaker.is_proven()
    assert replica.unreported() is None
    breaker.record_failure(SERVER, 15.0)
    assert breaker.probe_at(15.0) == 15.0 + 40.0


def test_a_lock_is_adopted() -> None:
    """The same account is refused to every process."""
    replica = made()
    replica.apply_stored(
        stored(HealthReport(at=10.0, healthy=False, until=310.0, locked=True)), 11.0
    )
    assert replica.health.breaker.state(309.0) is BreakerState.LOCKED


def test_an_old_trip_makes_it_half_open() -> None:
    """Health was not proved since, so the provider is probed first."""
    replica = made()
    replica.apply_stored(stored(TRIP), 500.0)
    assert replica.health.breaker.state(500.0) is BreakerState.HALF_OPEN
    assert replica.health.breaker.acquire_probe(500.0)


def test_a_longer_break_stays() -> None:
    """A trip of another process does not shorten our own lock."""
    replica = made()
    replica.health.breaker.record_failure(ErrorKind.AUTH, 9.0)
    replica.apply_stored(stored(TRIP), 11.0)
    assert replica.health.breaker.state(300.0) is BreakerState.LOCKED


def test_health_is_adopted() -> None:
    """It closes what was opened here, and is not reported as our own."""
    replica = made()
    trip(replica, 8.0)
    replica.apply_stored(stored(WELL), 11.0)
    assert replica.health.breaker.is_proven()
    assert replica.unreported() is None
    replica.apply_stored(stored(replace(TRIP, at=12.0, until=17.0)), 13.0)
    assert replica.health.breaker.state(13.0) is BreakerState.OPEN
    assert replica.unreported() is None


def test_a_report_is_adopted_once() -> None:
    """It comes with every answer of the store, and has no effect the second time."""
    replica = made()
    replica.apply_stored(stored(TRIP), 11.0)
    replica.health.breaker.record_failure(SERVER, 15.0)
    replica.apply_stored(stored(TRIP), 16.0)
    assert replica.health.breaker.state(24.9) is BreakerState.OPEN
    replica.apply_stored(None, 17.0)
    replica.apply_stored(stored(WELL), 18.0)  # at the same time: the store keeps the first
    assert replica.health.breaker.state(24.9) is BreakerState.OPEN


def test_our_own_report_is_not_adopted() -> None:
    """A report that comes back has no effect."""
    replica = made()
    replica.apply_stored(stored(TRIP, "me"), 11.0)
    assert replica.health.breaker.is_proven()


@pytest.mark.parametrize("seen", ["text", "trip", "pass"])
def test_later_observations_are_not_undone(seen: str) -> None:
    """An older report may come late, over a slow connection or from a process that was cut off."""
    replica = made()
    breaker = replica.health.breaker
    if seen == "text":
        breaker.record_text(10.5)
    else:
        trip(replica, 10.5 if seen == "trip" else 1.0)
    if seen == "pass":
        breaker.probe_passed(10.5)
    known = breaker.state(11.0), repr(breaker)
    replica.apply_stored(stored(replace(TRIP, until=99.0)), 11.0)
    assert (breaker.state(11.0), repr(breaker)) == known
    assert breaker._passes == (1 if seen == "pass" else 0)


def test_later_failures_are_not_undone() -> None:
    """An older report of health does not refute them."""
    replica = made()
    trip(replica, 10.5)
    replica.apply_stored(stored(WELL), 11.0)
    assert replica.health.breaker.state(11.0) is BreakerState.OPEN


def test_a_single_failure_does_not_refute_a_trip() -> None:
    """In an outage all processes fail at once, so the trip is adopted."""
    replica = made()
    replica.health.breaker.record_failure(SERVER, 10.5)
    replica.apply_stored(stored(TRIP), 11.0)
    assert replica.health.breaker.state(11.0) is BreakerState.OPEN


def test_a_store_may_set_its_clock_back() -> None:
    """A stamp in the store's future is from before that, and does not count as newer."""
    replica = made()
    replica.apply_stored(stored(WELL, stamp=9_000_000, read=9_000_000), 11.0)
    replica.apply_stored(stored(replace(TRIP, at=20.0, until=25.0), stamp=5000, read=5000), 21.0)
    assert replica.health.breaker.state(21.0) is BreakerState.OPEN


# --- slowness

SLOW = replace(TRIP, slow=True)


def test_text_does_not_refute_slowness() -> None:
    """A timely final does; after the break text is enough, as within one process."""
    replica = made()
    replica.health.breaker.record_text(10.5)
    replica.apply_stored(stored(SLOW), 11.0)
    breaker = replica.health.breaker
    assert breaker.state(11.0) is BreakerState.OPEN
    breaker.record_text(11.5)
    assert breaker.state(11.5) is BreakerState.OPEN
    assert replica.unreported() is None
    breaker.record_timely_final(12.0)
    assert breaker.admits(12.0)
    assert replica.unreported() == HealthReport(at=12.0, healthy=True, slow=True)

    replica = made()
    replica.apply_stored(stored(SLOW), 11.0)
    replica.health.breaker.record_text(15.5)
    assert replica.unreported() == HealthReport(at=15.5, healthy=True)


@pytest.mark.parametrize("in_time", [True, False])
def test_a_report_of_timely_finals_ends_slowness(in_time: bool) -> None:
    """Another process's text does not end a break for slowness, its timely finals do."""
    replica = made()
    for _ in range(3):
        replica.health.breaker.record_slow_final(8.0)
    replica.apply_stored(stored(replace(WELL, slow=in_time)), 11.0)
    assert (replica.health.breaker.state(11.0) is BreakerState.CLOSED) == in_time
    assert replica.health.breaker.state(13.0) is (
        BreakerState.CLOSED if in_time else BreakerState.HALF_OPEN
    )


def test_a_timely_final_refutes_slowness() -> None:
    """A process that has had one since does not adopt the report."""
    replica = made()
    replica.health.breaker.record_timely_final(10.5)
    replica.apply_stored(stored(SLOW), 11.0)
    assert replica.health.breaker.admits(11.0)


# --- latency


def test_samples_of_all_processes_count() -> None:
    """They are used if they are more than our own; without a store our own are left."""
    latency = made().health.latency
    p99s = []
    for samples in ([1.0] * 4, [math.nan, -1.0, math.inf, *[1.0] * 5]):
        latency.share(samples)
        p99s.append(latency.p99)
    for _ in range(6):
        latency.add(0.5)
    p99s.append(latency.p99)
    for samples in ([2.0] * 200, []):
        latency.share(samples)
        p99s.append(latency.p99)
    assert p99s == [None, 1.0, 0.5, 2.0, 0.5]


def test_own_samples_are_reported_once() -> None:
    """Their number is bounded: samples that are not reported for long are dropped."""
    replica = made()
    latency = replica.health.latency
    for n in range(150):
        latency.add(float(n))
    latency.share([7.0] * 9)
    assert latency.unreported == [float(n) for n in range(50, 150)]
    latency.mark_reported(99)
    assert latency.unreported == [149.0]
    latency.mark_reported(5)
    assert latency.unreported == []
    assert repr(replica).startswith("HealthReplica(me, Breaker(closed")


# --- an operator's lock


def test_an_operator_s_lock_is_news_once() -> None:
    """The store's answer is dated anew with each round trip; its stamp says that it is the same."""
    replica = made()
    breaker = replica.health.breaker
    assert not replica.apply_lock(None)
    first = OperatorLock(60.0, 60_000_000, "maintenance")
    assert replica.apply_lock(first)
    assert not replica.apply_lock(replace(first, until=59.9))
    assert breaker.operator_lock is first
    replica.store_lost()
    assert breaker.state(1.0) is BreakerState.LOCKED
    assert replica.apply_lock(replace(first, stamp=90_000_000))
    assert replica.apply_lock(None)
    assert breaker.state(1.0) is BreakerState.CLOSED


def test_the_end_of_a_lock_is_rather_too_early_than_too_late() -> None:
    """It is dated from when the store was asked, not from when its answer came."""
    clock = ClockSample(10_000_000, sent=5.0, received=5.4)
    assert clock.to_deadline(12_000_000) == 7.0
