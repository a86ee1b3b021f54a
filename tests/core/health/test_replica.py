"""What a process tells a fleet, and what it takes over; see `test_fleet` for many of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker, BreakerState
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.health.replica import HealthReplica
from resilient_stt.core.health.report import HealthReport, StoredReport
from resilient_stt.core.policy import BreakerPolicy

SERVER = ErrorKind.SERVER
TRIP = HealthReport(at=10.0, healthy=False, until=15.0, trips=1)
WELL = HealthReport(at=10.0, healthy=True)


def made(origin: str = "me") -> HealthReplica:
    """A process that has seen nothing."""
    return HealthReplica(ProviderHealth(Breaker(BreakerPolicy())), origin)


def stored(verdict: HealthReport, origin: str = "them", **of: int | float) -> StoredReport:
    """A verdict as it stands in a store whose clock is ours."""
    stamp = round(verdict.at * 1e6)
    given = {"stamp": stamp, "read": stamp, "within": 0.0, **of}
    return StoredReport(verdict, origin, int(given["stamp"]), int(given["read"]), given["within"])


def trip(member: HealthReplica, at: float) -> HealthReport:
    """Three failures."""
    for _ in range(3):
        member.health.breaker.record_failure(SERVER, at)
    found = member.health.breaker.observations.report
    assert found is not None
    return found


# --- what is told


def test_a_failure_is_no_verdict() -> None:
    """One that opened nothing is nobody else's business."""
    member = made()
    member.health.breaker.record_failure(SERVER, 1.0)
    member.health.breaker.record_failure(ErrorKind.BAD_REQUEST, 1.0)
    member.health.breaker.record_slow_final(1.0)
    assert member.unreported() is None


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (SERVER, HealthReport(at=1.0, healthy=False, until=6.0, trips=1)),
        (ErrorKind.RATE_LIMITED, HealthReport(at=1.0, healthy=False, until=31.0)),
        (ErrorKind.QUOTA, HealthReport(at=1.0, healthy=False, until=301.0, locked=True)),
    ],
)
def test_what_opens_it_is_told_once(kind: ErrorKind, found: HealthReport) -> None:
    """With how long, why, and how often it has; again if the store may have forgotten."""
    member = made()
    for _ in range(3 if kind is SERVER else 1):
        member.health.breaker.record_failure(kind, 1.0, 30.0)
    news = member.unreported()
    assert news == found
    member.mark_reported(news, kept=True)
    assert member.unreported() is None
    member.store_lost()
    assert member.unreported() == found


def test_slowness_is_told() -> None:
    """As such: text is no answer to it."""
    member = made()
    for _ in range(3):
        member.health.breaker.record_slow_final(1.0)
    assert member.unreported() == HealthReport(at=1.0, healthy=False, until=6.0, trips=1, slow=True)


def test_a_probe_that_passed_is_told() -> None:
    """So that two of a fleet are enough, whoever made them; of what never opened it is not."""
    member, other = made(), made("other")
    trip(member, 1.0)
    member.health.breaker.probe_passed(7.0)
    news = member.unreported()
    assert news == HealthReport(at=7.0, healthy=False, until=6.0, trips=1, passes=1)
    other.apply_stored(stored(news), 8.0)
    assert other.health.breaker.state(8.0) is BreakerState.HALF_OPEN
    other.health.breaker.probe_passed(9.0)
    assert other.health.breaker.is_proven()

    member = made()
    member.health.breaker.record_failure(SERVER, 1.0)
    member.health.breaker.probe_passed(7.0)
    assert member.unreported() is None


def test_health_is_told_where_it_is_news() -> None:
    """Text answers a verdict that is older, and nothing else."""
    member = made()
    member.health.breaker.record_text(20.0)
    assert member.unreported() is None
    member.apply_stored(stored(WELL), 21.0)
    assert member.unreported() is None
    member.apply_stored(stored(TRIP), 21.0)
    assert member.unreported() == replace(WELL, at=20.0)
    assert member.health.breaker.is_proven()


def test_a_doubtful_order_is_no_answer() -> None:
    """A verdict may be as much younger as the answer took: text is told that surely came after."""
    member = made()
    member.health.breaker.record_text(10.1)
    member.apply_stored(stored(TRIP, within=0.2), 10.2)
    assert member.unreported() is None
    member.health.breaker.record_text(10.3)
    assert member.unreported() == replace(WELL, at=10.3)


def test_our_own_verdict_is_answered_exactly() -> None:
    """We know when we found it, however long the store takes to answer."""
    member = made()
    found = trip(member, 10.0)
    member.mark_reported(found, kept=True)
    member.health.breaker.record_text(10.1)
    member.apply_stored(stored(replace(found, at=9.0), "me", within=1.5), 10.5)
    assert member.unreported() == replace(WELL, at=10.1)
    assert member.health.breaker.admits(10.5)


def test_an_answer_that_came_too_late_may_be_followed_by_another() -> None:
    """Of our clocks the store's alone counts."""
    member = made()
    found = trip(member, 10.0)
    member.mark_reported(found, kept=False)
    assert member.unreported() is None  # what is newer has been stored: it will be read
    member.health.breaker.record_text(10.1)
    member.apply_stored(stored(found, "me"), 10.2)
    answer = member.unreported()
    assert answer is not None
    member.mark_reported(answer, kept=False)
    assert member.unreported() == answer
    member.mark_reported(answer, kept=True)
    assert member.unreported() is None


def test_it_owes_what_it_has_not_said() -> None:
    """Verdicts, samples, and a lease that is not needed."""
    member = made()
    assert not member.has_updates(1.0)
    member.health.latency.add(0.4)
    assert member.has_updates(1.0)
    member.health.latency.mark_reported(1)
    assert not member.has_updates(1.0)
    member.store_connected()
    found = trip(member, 1.0)
    assert member.has_updates(1.0)
    member.mark_reported(found, kept=True)
    assert not member.health.breaker.acquire_probe(7.0)
    member.health.breaker.probe_lease.mark_requested()
    member.health.breaker.probe_lease.record_grant(7.0)
    assert member.health.breaker.acquire_probe(7.1)
    assert not member.has_updates(7.2)
    member.leave()
    assert member.has_updates(7.2)


# --- what is taken over


def test_a_trip_is_taken_over() -> None:
    """For as long as it lasts, with its doublings; it is not told as one's own."""
    member = made()
    member.apply_stored(stored(replace(TRIP, trips=3)), 11.0)
    breaker = member.health.breaker
    assert breaker.state(14.9) is BreakerState.OPEN
    assert breaker.state(15.0) is BreakerState.HALF_OPEN
    assert not breaker.is_proven()
    assert member.unreported() is None
    breaker.record_failure(SERVER, 15.0)
    assert breaker.probe_at(15.0) == 15.0 + 40.0


def test_a_lock_is_taken_over() -> None:
    """The same key is refused to all."""
    member = made()
    member.apply_stored(
        stored(HealthReport(at=10.0, healthy=False, until=310.0, locked=True)), 11.0
    )
    assert member.health.breaker.state(309.0) is BreakerState.LOCKED


def test_a_trip_of_long_ago_leaves_it_half_open() -> None:
    """Nobody has proved health since, so that it is probed first."""
    member = made()
    member.apply_stored(stored(TRIP), 500.0)
    assert member.health.breaker.state(500.0) is BreakerState.HALF_OPEN
    assert member.health.breaker.acquire_probe(500.0)


def test_what_is_longer_stays() -> None:
    """A trip of others does not shorten a lock of ours."""
    member = made()
    member.health.breaker.record_failure(ErrorKind.AUTH, 9.0)
    member.apply_stored(stored(TRIP), 11.0)
    assert member.health.breaker.state(300.0) is BreakerState.LOCKED


def test_health_is_taken_over() -> None:
    """It closes what was opened here, without being told as one's own."""
    member = made()
    trip(member, 8.0)
    member.apply_stored(stored(WELL), 11.0)
    assert member.health.breaker.is_proven()
    assert member.unreported() is None
    member.apply_stored(stored(replace(TRIP, at=12.0, until=17.0)), 13.0)
    assert member.health.breaker.state(13.0) is BreakerState.OPEN
    assert member.unreported() is None


def test_a_verdict_is_taken_over_once() -> None:
    """It comes with every answer of the store, and says nothing new."""
    member = made()
    member.apply_stored(stored(TRIP), 11.0)
    member.health.breaker.record_failure(SERVER, 15.0)
    member.apply_stored(stored(TRIP), 16.0)
    assert member.health.breaker.state(24.9) is BreakerState.OPEN
    member.apply_stored(None, 17.0)
    member.apply_stored(stored(WELL), 18.0)  # at the same time: the store keeps the first
    assert member.health.breaker.state(24.9) is BreakerState.OPEN


def test_one_s_own_is_not_taken_over() -> None:
    """What comes back is what was told."""
    member = made()
    member.apply_stored(stored(TRIP, "me"), 11.0)
    assert member.health.breaker.is_proven()


@pytest.mark.parametrize("seen", ["text", "trip", "pass"])
def test_what_was_seen_since_is_not_undone(seen: str) -> None:
    """An older verdict comes late: over a slow connection, or from who was cut off."""
    member = made()
    breaker = member.health.breaker
    if seen == "text":
        breaker.record_text(10.5)
    else:
        trip(member, 10.5 if seen == "trip" else 1.0)
    if seen == "pass":
        breaker.probe_passed(10.5)
    known = breaker.state(11.0), repr(breaker)
    member.apply_stored(stored(replace(TRIP, until=99.0)), 11.0)
    assert (breaker.state(11.0), repr(breaker)) == known
    assert breaker._passes == (1 if seen == "pass" else 0)


def test_failures_since_are_not_undone() -> None:
    """Health of before says nothing about them."""
    member = made()
    trip(member, 10.5)
    member.apply_stored(stored(WELL), 11.0)
    assert member.health.breaker.state(11.0) is BreakerState.OPEN


def test_a_failure_that_opened_nothing_does_not_speak_against_a_trip() -> None:
    """In an outage all processes fail at once."""
    member = made()
    member.health.breaker.record_failure(SERVER, 10.5)
    member.apply_stored(stored(TRIP), 11.0)
    assert member.health.breaker.state(11.0) is BreakerState.OPEN


def test_a_store_whose_clock_was_set_back_is_believed() -> None:
    """Stamps that are still to come are none."""
    member = made()
    member.apply_stored(stored(WELL, stamp=9_000_000, read=9_000_000), 11.0)
    member.apply_stored(stored(replace(TRIP, at=20.0, until=25.0), stamp=5000, read=5000), 21.0)
    assert member.health.breaker.state(21.0) is BreakerState.OPEN


# --- slowness

SLOW = replace(TRIP, slow=True)


def test_text_is_no_answer_to_slowness() -> None:
    """A final in time is; once it has cooled, text is enough, as within one process."""
    member = made()
    member.health.breaker.record_text(10.5)
    member.apply_stored(stored(SLOW), 11.0)
    breaker = member.health.breaker
    assert breaker.state(11.0) is BreakerState.OPEN
    breaker.record_text(11.5)
    assert breaker.state(11.5) is BreakerState.OPEN
    assert member.unreported() is None
    breaker.record_timely_final(12.0)
    assert breaker.admits(12.0)
    assert member.unreported() == HealthReport(at=12.0, healthy=True, slow=True)

    member = made()
    member.apply_stored(stored(SLOW), 11.0)
    member.health.breaker.record_text(15.5)
    assert member.unreported() == HealthReport(at=15.5, healthy=True)


@pytest.mark.parametrize("in_time", [True, False])
def test_slowness_is_closed_by_finals_in_time(in_time: bool) -> None:
    """Text of others does not close it while it is open, their finals in time do."""
    member = made()
    for _ in range(3):
        member.health.breaker.record_slow_final(8.0)
    member.apply_stored(stored(replace(WELL, slow=in_time)), 11.0)
    assert (member.health.breaker.state(11.0) is BreakerState.CLOSED) == in_time
    assert member.health.breaker.state(13.0) is (
        BreakerState.CLOSED if in_time else BreakerState.HALF_OPEN
    )


def test_a_final_in_time_speaks_against_slowness() -> None:
    """A process that has had one since goes on."""
    member = made()
    member.health.breaker.record_timely_final(10.5)
    member.apply_stored(stored(SLOW), 11.0)
    assert member.health.breaker.admits(11.0)


# --- latency


def test_samples_of_all_count() -> None:
    """Where they are more than our own; without the store our own are left."""
    latency = made().health.latency
    told = []
    for samples in ([1.0] * 4, [math.nan, -1.0, math.inf, *[1.0] * 5]):
        latency.share(samples)
        told.append(latency.p99)
    for _ in range(6):
        latency.add(0.5)
    told.append(latency.p99)
    for samples in ([2.0] * 200, []):
        latency.share(samples)
        told.append(latency.p99)
    assert told == [None, 1.0, 0.5, 2.0, 0.5]


def test_own_samples_are_told_once() -> None:
    """A bounded number: what was not told for long is forgotten."""
    member = made()
    latency = member.health.latency
    for n in range(150):
        latency.add(float(n))
    latency.share([7.0] * 9)
    assert latency.unreported == [float(n) for n in range(50, 150)]
    latency.mark_reported(99)
    assert latency.unreported == [149.0]
    latency.mark_reported(5)
    assert latency.unreported == []
    assert repr(member).startswith("HealthReplica(me, Breaker(closed")
