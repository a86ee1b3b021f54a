"""What a process tells a fleet, and what it takes over; see `test_fleet` for many of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from resilient_stt.core.breaker import Breaker, State
from resilient_stt.core.health import Health
from resilient_stt.core.inputs import ErrorKind
from resilient_stt.core.member import Member, Stored
from resilient_stt.core.policy import BreakerPolicy
from resilient_stt.core.verdict import Verdict

SERVER = ErrorKind.SERVER
TRIP = Verdict(at=10.0, well=False, until=15.0, trips=1)
WELL = Verdict(at=10.0, well=True)


def made(origin: str = "me") -> Member:
    """A process that has seen nothing."""
    return Member(Health(Breaker(BreakerPolicy())), origin)


def stored(verdict: Verdict, origin: str = "them", **of: int | float) -> Stored:
    """A verdict as it stands in a store whose clock is ours."""
    stamp = round(verdict.at * 1e6)
    given = {"stamp": stamp, "read": stamp, "within": 0.0, **of}
    return Stored(verdict, origin, int(given["stamp"]), int(given["read"]), given["within"])


def trip(member: Member, at: float) -> Verdict:
    """Three failures."""
    for _ in range(3):
        member.health.breaker.failed(SERVER, at)
    found = member.health.breaker.seen.verdict
    assert found is not None
    return found


# --- what is told


def test_a_failure_is_no_verdict() -> None:
    """One that opened nothing is nobody else's business."""
    member = made()
    member.health.breaker.failed(SERVER, 1.0)
    member.health.breaker.failed(ErrorKind.BAD_REQUEST, 1.0)
    member.health.breaker.slow(1.0)
    assert member.news() is None


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (SERVER, Verdict(at=1.0, well=False, until=6.0, trips=1)),
        (ErrorKind.RATE_LIMITED, Verdict(at=1.0, well=False, until=31.0)),
        (ErrorKind.QUOTA, Verdict(at=1.0, well=False, until=301.0, locked=True)),
    ],
)
def test_what_opens_it_is_told_once(kind: ErrorKind, found: Verdict) -> None:
    """With how long, why, and how often it has; again if the store may have forgotten."""
    member = made()
    for _ in range(3 if kind is SERVER else 1):
        member.health.breaker.failed(kind, 1.0, 30.0)
    news = member.news()
    assert news == found
    member.told(news, kept=True)
    assert member.news() is None
    member.alone()
    assert member.news() == found


def test_slowness_is_told() -> None:
    """As such: text is no answer to it."""
    member = made()
    for _ in range(3):
        member.health.breaker.slow(1.0)
    assert member.news() == Verdict(at=1.0, well=False, until=6.0, trips=1, slow=True)


def test_a_probe_that_passed_is_told() -> None:
    """So that two of a fleet are enough, whoever made them; of what never opened it is not."""
    member, other = made(), made("other")
    trip(member, 1.0)
    member.health.breaker.passed(7.0)
    news = member.news()
    assert news == Verdict(at=7.0, well=False, until=6.0, trips=1, passes=1)
    other.read(stored(news), 8.0)
    assert other.health.breaker.state(8.0) is State.HALF_OPEN
    other.health.breaker.passed(9.0)
    assert other.health.breaker.sound(9.0)

    member = made()
    member.health.breaker.failed(SERVER, 1.0)
    member.health.breaker.passed(7.0)
    assert member.news() is None


def test_health_is_told_where_it_is_news() -> None:
    """Text answers a verdict that is older, and nothing else."""
    member = made()
    member.health.breaker.succeeded(20.0)
    assert member.news() is None
    member.read(stored(WELL), 21.0)
    assert member.news() is None
    member.read(stored(TRIP), 21.0)
    assert member.news() == replace(WELL, at=20.0)
    assert member.health.breaker.sound(21.0)


def test_a_doubtful_order_is_no_answer() -> None:
    """A verdict may be as much younger as the answer took: text is told that surely came after."""
    member = made()
    member.health.breaker.succeeded(10.1)
    member.read(stored(TRIP, within=0.2), 10.2)
    assert member.news() is None
    member.health.breaker.succeeded(10.3)
    assert member.news() == replace(WELL, at=10.3)


def test_our_own_verdict_is_answered_exactly() -> None:
    """We know when we found it, however long the store takes to answer."""
    member = made()
    found = trip(member, 10.0)
    member.told(found, kept=True)
    member.health.breaker.succeeded(10.1)
    member.read(stored(replace(found, at=9.0), "me", within=1.5), 10.5)
    assert member.news() == replace(WELL, at=10.1)
    assert member.health.breaker.admits(10.5)


def test_an_answer_that_came_too_late_may_be_followed_by_another() -> None:
    """Of our clocks the store's alone counts."""
    member = made()
    found = trip(member, 10.0)
    member.told(found, kept=False)
    assert member.news() is None  # what is newer has been stored: it will be read
    member.health.breaker.succeeded(10.1)
    member.read(stored(found, "me"), 10.2)
    answer = member.news()
    assert answer is not None
    member.told(answer, kept=False)
    assert member.news() == answer
    member.told(answer, kept=True)
    assert member.news() is None


def test_it_owes_what_it_has_not_said() -> None:
    """Verdicts, samples, and a lease that is not needed."""
    member = made()
    assert not member.owes(1.0)
    member.health.latency.add(0.4)
    assert member.owes(1.0)
    member.health.latency.told(1)
    assert not member.owes(1.0)
    member.together()
    found = trip(member, 1.0)
    assert member.owes(1.0)
    member.told(found, kept=True)
    assert not member.health.breaker.lease(7.0)
    member.health.breaker.probes.claimed()
    member.health.breaker.probes.granted(7.0)
    assert member.health.breaker.lease(7.1)
    assert not member.owes(7.2)
    member.leave()
    assert member.owes(7.2)


# --- what is taken over


def test_a_trip_is_taken_over() -> None:
    """For as long as it lasts, with its doublings; it is not told as one's own."""
    member = made()
    member.read(stored(replace(TRIP, trips=3)), 11.0)
    breaker = member.health.breaker
    assert breaker.state(14.9) is State.OPEN
    assert breaker.state(15.0) is State.HALF_OPEN
    assert not breaker.sound(15.0)
    assert member.news() is None
    breaker.failed(SERVER, 15.0)
    assert breaker.probe_at(15.0) == 15.0 + 40.0


def test_a_lock_is_taken_over() -> None:
    """The same key is refused to all."""
    member = made()
    member.read(stored(Verdict(at=10.0, well=False, until=310.0, locked=True)), 11.0)
    assert member.health.breaker.state(309.0) is State.LOCKED


def test_a_trip_of_long_ago_leaves_it_half_open() -> None:
    """Nobody has proved health since, so that it is probed first."""
    member = made()
    member.read(stored(TRIP), 500.0)
    assert member.health.breaker.state(500.0) is State.HALF_OPEN
    assert member.health.breaker.lease(500.0)


def test_what_is_longer_stays() -> None:
    """A trip of others does not shorten a lock of ours."""
    member = made()
    member.health.breaker.failed(ErrorKind.AUTH, 9.0)
    member.read(stored(TRIP), 11.0)
    assert member.health.breaker.state(300.0) is State.LOCKED


def test_health_is_taken_over() -> None:
    """It closes what was opened here, without being told as one's own."""
    member = made()
    trip(member, 8.0)
    member.read(stored(WELL), 11.0)
    assert member.health.breaker.sound(11.0)
    assert member.news() is None
    member.read(stored(replace(TRIP, at=12.0, until=17.0)), 13.0)
    assert member.health.breaker.state(13.0) is State.OPEN
    assert member.news() is None


def test_a_verdict_is_taken_over_once() -> None:
    """It comes with every answer of the store, and says nothing new."""
    member = made()
    member.read(stored(TRIP), 11.0)
    member.health.breaker.failed(SERVER, 15.0)
    member.read(stored(TRIP), 16.0)
    assert member.health.breaker.state(24.9) is State.OPEN
    member.read(None, 17.0)
    member.read(stored(WELL), 18.0)  # at the same time: the store keeps the first
    assert member.health.breaker.state(24.9) is State.OPEN


def test_one_s_own_is_not_taken_over() -> None:
    """What comes back is what was told."""
    member = made()
    member.read(stored(TRIP, "me"), 11.0)
    assert member.health.breaker.sound(11.0)


@pytest.mark.parametrize("seen", ["text", "trip", "pass"])
def test_what_was_seen_since_is_not_undone(seen: str) -> None:
    """An older verdict comes late: over a slow connection, or from who was cut off."""
    member = made()
    breaker = member.health.breaker
    if seen == "text":
        breaker.succeeded(10.5)
    else:
        trip(member, 10.5 if seen == "trip" else 1.0)
    if seen == "pass":
        breaker.passed(10.5)
    known = breaker.state(11.0), repr(breaker)
    member.read(stored(replace(TRIP, until=99.0)), 11.0)
    assert (breaker.state(11.0), repr(breaker)) == known
    assert breaker._passes == (1 if seen == "pass" else 0)


def test_failures_since_are_not_undone() -> None:
    """Health of before says nothing about them."""
    member = made()
    trip(member, 10.5)
    member.read(stored(WELL), 11.0)
    assert member.health.breaker.state(11.0) is State.OPEN


def test_a_failure_that_opened_nothing_does_not_speak_against_a_trip() -> None:
    """In an outage all processes fail at once."""
    member = made()
    member.health.breaker.failed(SERVER, 10.5)
    member.read(stored(TRIP), 11.0)
    assert member.health.breaker.state(11.0) is State.OPEN


def test_a_store_whose_clock_was_set_back_is_believed() -> None:
    """Stamps that are still to come are none."""
    member = made()
    member.read(stored(WELL, stamp=9_000_000, read=9_000_000), 11.0)
    member.read(stored(replace(TRIP, at=20.0, until=25.0), stamp=5000, read=5000), 21.0)
    assert member.health.breaker.state(21.0) is State.OPEN


# --- slowness

SLOW = replace(TRIP, slow=True)


def test_text_is_no_answer_to_slowness() -> None:
    """A final in time is; once it has cooled, text is enough, as within one process."""
    member = made()
    member.health.breaker.succeeded(10.5)
    member.read(stored(SLOW), 11.0)
    breaker = member.health.breaker
    assert breaker.state(11.0) is State.OPEN
    breaker.succeeded(11.5)
    assert breaker.state(11.5) is State.OPEN
    assert member.news() is None
    breaker.in_time(12.0)
    assert breaker.admits(12.0)
    assert member.news() == Verdict(at=12.0, well=True, slow=True)

    member = made()
    member.read(stored(SLOW), 11.0)
    member.health.breaker.succeeded(15.5)
    assert member.news() == Verdict(at=15.5, well=True)


@pytest.mark.parametrize("in_time", [True, False])
def test_slowness_is_closed_by_finals_in_time(in_time: bool) -> None:
    """Text of others does not close it while it is open, their finals in time do."""
    member = made()
    for _ in range(3):
        member.health.breaker.slow(8.0)
    member.read(stored(replace(WELL, slow=in_time)), 11.0)
    assert (member.health.breaker.state(11.0) is State.CLOSED) == in_time
    assert member.health.breaker.state(13.0) is (State.CLOSED if in_time else State.HALF_OPEN)


def test_a_final_in_time_speaks_against_slowness() -> None:
    """A process that has had one since goes on."""
    member = made()
    member.health.breaker.in_time(10.5)
    member.read(stored(SLOW), 11.0)
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
    assert latency.news == [float(n) for n in range(50, 150)]
    latency.told(99)
    assert latency.news == [149.0]
    latency.told(5)
    assert latency.news == []
    assert repr(member).startswith("Member(me, Breaker(closed")
